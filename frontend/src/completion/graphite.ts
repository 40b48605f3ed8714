// Completion of Graphite expressions: functions, metric paths level by level, and the tags of seriesByTag.
import { type GraphiteFunction, type MetricNode } from '../types';
import { type Completion } from './completion';

export interface GraphiteSources {
  find(pattern: string): Promise<MetricNode[]>;
  functions(): Promise<GraphiteFunction[]>;
  tags(): Promise<string[]>;
  tagValues(tag: string, prefix: string): Promise<string[]>;
}

export type GraphitePlace =
  /** In a path: `pattern` finds the names that fit, and `from` is where the level being written begins. */
  | { kind: 'path'; pattern: string; from: number; functionPrefix?: string }
  | { kind: 'tag'; prefix: string; from: number }
  | { kind: 'tagValue'; tag: string; prefix: string; from: number };

/** What is being written at `offset`; undefined in a string literal that is not about tags. */
export function graphitePlace(text: string, offset: number): GraphitePlace | undefined {
  const scan = scanUpTo(text, offset);

  if (scan.quote !== undefined) {
    return scan.functions.at(-1) === 'seriesByTag' ? tagPlace(text, scan.literalStart, offset) : undefined;
  }

  const levels = text.slice(scan.wordStart, scan.levelStart);
  const typed = text.slice(scan.nameStart, offset);
  return {
    kind: 'path',
    pattern: levels + (typed.endsWith('*') ? typed : `${typed}*`),
    from: scan.nameStart,
    functionPrefix: scan.nameStart === scan.wordStart ? typed : undefined,
  };
}

interface Scan {
  quote?: string;
  literalStart: number;
  /** Where the path or the function's name begins. */
  wordStart: number;
  /** Where the last level of the path begins. */
  levelStart: number;
  /** Where the name being written begins: the level, or one alternative inside of `{…}`. */
  nameStart: number;
  /** The functions whose parentheses are open, the innermost last. */
  functions: string[];
}

function scanUpTo(text: string, offset: number): Scan {
  const scan: Scan = { literalStart: 0, wordStart: 0, levelStart: 0, nameStart: 0, functions: [] };
  let braces = 0;
  const startWord = (index: number) => {
    scan.wordStart = scan.levelStart = scan.nameStart = index;
  };

  for (let index = 0; index < offset; index++) {
    const character = text[index];
    if (character === '\\') {
      index++;
    } else if (scan.quote !== undefined) {
      if (character === scan.quote) {
        scan.quote = undefined;
        startWord(index + 1);
      }
    } else if (character === '"' || character === "'") {
      scan.quote = character;
      scan.literalStart = index + 1;
    } else if (character === '{') {
      braces++;
      scan.nameStart = index + 1;
    } else if (character === '}') {
      braces = Math.max(0, braces - 1);
    } else if (braces > 0) {
      scan.nameStart = character === ',' ? index + 1 : scan.nameStart;
    } else if (character === '.') {
      scan.levelStart = scan.nameStart = index + 1;
    } else if (character === '(') {
      scan.functions.push(text.slice(scan.wordStart, index).trim());
      startWord(index + 1);
    } else if (character === ')') {
      scan.functions.pop();
      startWord(index + 1);
    } else if (/[\s,=|]/.test(character)) {
      startWord(index + 1);
    }
  }
  return scan;
}

function tagPlace(text: string, literalStart: number, offset: number): GraphitePlace {
  const literal = text.slice(literalStart, offset);
  const operator = /!?=~?/.exec(literal);
  if (!operator) {
    return { kind: 'tag', prefix: literal, from: literalStart };
  }
  const valueStart = operator.index + operator[0].length;
  return {
    kind: 'tagValue',
    tag: literal.slice(0, operator.index),
    prefix: literal.slice(valueStart),
    from: literalStart + valueStart,
  };
}

export async function completeGraphite(text: string, offset: number, sources: GraphiteSources): Promise<Completion[]> {
  const place = graphitePlace(text, offset);
  switch (place?.kind) {
    case 'path': {
      const [functions, nodes] = await Promise.all([
        place.functionPrefix === undefined ? [] : sources.functions(),
        sources.find(place.pattern),
      ]);
      const prefix = (place.functionPrefix ?? '').toLowerCase();
      return [
        ...nodes.map((node) => completeNode(node, place.from)),
        ...functions
          .filter(({ name }) => name.toLowerCase().startsWith(prefix))
          .map((described) => completeFunction(described, place.from)),
      ];
    }
    case 'tag': {
      const tags = await sources.tags();
      return tags
        .filter((tag) => tag.startsWith(place.prefix))
        .map((tag) => ({ label: tag, kind: 'tag', from: place.from, insertText: `${tag}=`, continues: true }));
    }
    case 'tagValue': {
      const values = await sources.tagValues(place.tag, place.prefix);
      return values.map((value) => ({ label: value, kind: 'value', from: place.from, insertText: value }));
    }
    case undefined:
      return [];
  }
}

function completeNode(node: MetricNode, from: number): Completion {
  const goesOn = node.expandable && !node.leaf;
  return {
    label: node.text,
    kind: node.leaf ? 'series' : 'branch',
    from,
    insertText: goesOn ? `${node.text}.` : node.text,
    detail: node.id,
    continues: goesOn,
  };
}

function completeFunction(described: GraphiteFunction, from: number): Completion {
  return {
    label: described.name,
    kind: 'function',
    from,
    insertText: `${described.name}($0)`,
    isSnippet: true,
    detail: signature(described),
    documentation: described.description,
    continues: true,
  };
}

/** `movingAverage(seriesList, windowSize, xFilesFactor?)` */
export function signature({ name, params = [] }: GraphiteFunction): string {
  const written = params.map((parameter) => {
    const spread = parameter.multiple ? '…' : '';
    return `${spread}${parameter.name}${parameter.required ? '' : '?'}`;
  });
  return `${name}(${written.join(', ')})`;
}
