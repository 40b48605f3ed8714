// What an icon is under Jest: its name, and no file to fetch.
import { type SVGProps } from 'react';

interface Props extends SVGProps<SVGSVGElement> {
  src: string;
}

export default function InlineSvg({ src, id, className }: Props) {
  return <svg id={id} className={className} data-src={src} />;
}
