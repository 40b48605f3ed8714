// Grafana's template service lives in Grafana itself, in no package. This one knows `$name`, `${name}`,
// `${name:format}` and `[[name]]`, and hands values to a datasource's formatter the way Grafana does.
import { type ScopedVars } from '@grafana/data';
import { type TemplateSrv } from '@grafana/runtime';

type Value = string | string[];
type Formatter = (value: Value, variable: object, fallback: object) => string;

export function templateSrvWith(variables: Record<string, Value>): TemplateSrv {
  const replace = (text = '', scopedVars: ScopedVars = {}, format?: string | Formatter) =>
    text.replace(/\$(\w+)|\$\{(\w+)(?::(\w+))?\}|\[\[(\w+)\]\]/g, (match, bare, braced, written, bracketed) => {
      const name: string = bare ?? braced ?? bracketed;
      const value: Value | undefined = scopedVars[name]?.value ?? variables[name];
      if (value === undefined) {
        return match;
      }
      if (written === 'csv' || typeof format !== 'function') {
        return String(value);
      }
      return format(value, { name, multi: Array.isArray(value) }, {});
    });

  return {
    replace,
    getVariables: () => [],
    containsTemplate: (text) => replace(text) !== text,
    updateTimeRange: () => undefined,
  };
}
