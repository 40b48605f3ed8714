// Dashboard variables on their way into a query. Each language has its own way to write several values and its own
// way to keep a value from being read as syntax, and in Graphite that depends on where the variable stands.
// A format that the query's author wrote out, as in `${name:csv}`, wins over all of this: Grafana applies it itself.
import { type AdHocVariableFilter, type ScopedVars } from '@grafana/data';
import { type TemplateSrv } from '@grafana/runtime';

type VariableValue = string | number | Array<string | number>;

export function interpolateSql(text: string, scopedVars: ScopedVars | undefined, templateSrv: TemplateSrv): string {
  return templateSrv.replace(text, scopedVars, formatForSql);
}

/**
 * Several values become quoted literals, for `IN ($name)`. A single one stays bare, for `= '$name'` as well as for a
 * table's name, with its quotes doubled so that it cannot end a literal it stands in.
 */
export function formatForSql(value: VariableValue): string {
  if (Array.isArray(value)) {
    return value.map((each) => `'${doubleQuotes(String(each))}'`).join(',');
  }
  return typeof value === 'string' ? doubleQuotes(value) : String(value);
}

function doubleQuotes(value: string): string {
  return value.replace(/'/g, "''");
}

/** No text that is typed holds these: they part a variable's values, and what stands between variables. */
const VARIABLE = '\u0001';
const VALUE = '\u0002';

/** The most tags that one tag with variables of several values becomes. */
const MOST_TAGS = 64;

/** Tags of events. One that holds a variable of several values becomes a tag for each of them. */
export function interpolateTags(
  tags: string[],
  scopedVars: ScopedVars | undefined,
  templateSrv: TemplateSrv
): string[] {
  const format = (value: VariableValue) => `${VARIABLE}${[value].flat().join(VALUE)}${VARIABLE}`;
  const filled = tags.flatMap((tag) => {
    const pieces = templateSrv.replace(tag, scopedVars, format).split(VARIABLE);
    return pieces.reduce(
      (begun, piece) => begun.flatMap((start) => piece.split(VALUE).map((value) => start + value)).slice(0, MOST_TAGS),
      ['']
    );
  });
  return [...new Set(filled.map((tag) => tag.trim()).filter((tag) => tag !== ''))];
}

export function interpolateGraphite(
  text: string,
  scopedVars: ScopedVars | undefined,
  templateSrv: TemplateSrv
): string {
  return splitGraphite(text)
    .map((piece) => templateSrv.replace(piece.text, scopedVars, formatterOf(piece)))
    .join('');
}

interface Piece {
  text: string;
  /** The quote that a string literal is written with; absent outside of literals. */
  quote?: string;
}

/** Cuts an expression at its string literals, each of which keeps its quotes. The pieces joined are the expression. */
export function splitGraphite(text: string): Piece[] {
  const pieces: Piece[] = [];
  let start = 0;
  let quote: string | undefined;

  for (let index = 0; index < text.length; index++) {
    const character = text[index];
    if (quote === undefined && (character === '"' || character === "'")) {
      pieces.push({ text: text.slice(start, index) });
      start = index;
      quote = character;
    } else if (character === '\\') {
      index++;
    } else if (character === quote) {
      pieces.push({ text: text.slice(start, index + 1), quote });
      start = index + 1;
      quote = undefined;
    }
  }
  pieces.push({ text: text.slice(start), quote });
  return pieces.filter((piece) => piece.text !== '');
}

const TAG_REGEX_LITERAL = /^["'][^=!~]+!?=~/;

function formatterOf({ text, quote }: Piece): (value: VariableValue) => string {
  if (quote === undefined) {
    return formatForPath;
  }
  if (TAG_REGEX_LITERAL.test(text)) {
    return (value) => escapeInLiteral(formatForRegex(value), quote);
  }
  return (value) =>
    escapeInLiteral(
      formatAsGlob(value, (each) => each),
      quote
    );
}

/** Several values become `{a,b}`. A single one stays as it is, so that a variable can hold a pattern or a whole path. */
export function formatForPath(value: VariableValue): string {
  return formatAsGlob(value, escapeInPath);
}

function formatAsGlob(value: VariableValue, escape: (value: string) => string): string {
  if (!Array.isArray(value)) {
    return String(value);
  }
  const values = value.map(String);
  return values.length === 1 ? values[0] : `{${values.map(escape).join(',')}}`;
}

/** Several values become `(a|b)`, each matched to the letter. A single one may be a regular expression itself. */
export function formatForRegex(value: VariableValue): string {
  return Array.isArray(value) ? `(${value.map((each) => escapeRegex(String(each))).join('|')})` : String(value);
}

function escapeInPath(value: string): string {
  return value.replace(/[\\(){},'"|\s]/g, '\\$&');
}

function escapeRegex(value: string): string {
  return value.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&');
}

function escapeInLiteral(value: string, quote: string): string {
  return value.replaceAll(quote, `\\${quote}`);
}

/**
 * Adds ad hoc filters to every `seriesByTag(…)` of an expression. A path has no tags to filter by: a target without
 * `seriesByTag` comes back unchanged.
 */
export function addTagFilters(target: string, filters: AdHocVariableFilter[] | undefined): string {
  const conditions = (filters ?? []).flatMap(tagCondition).map((condition) => `, ${quoteLiteral(condition)}`);
  if (conditions.length === 0) {
    return target;
  }

  let insideSeriesByTag = false;
  return splitGraphite(target)
    .map((piece) => {
      if (piece.quote !== undefined) {
        return piece.text;
      }
      let rest = piece.text;
      let done = '';
      while (rest !== '') {
        const found = insideSeriesByTag ? /\s*\)/.exec(rest) : /\bseriesByTag\s*\(/.exec(rest);
        if (!found) {
          break;
        }
        done += rest.slice(0, found.index) + (insideSeriesByTag ? conditions.join('') : '') + found[0];
        rest = rest.slice(found.index + found[0].length);
        insideSeriesByTag = !insideSeriesByTag;
      }
      return done + rest;
    })
    .join('');
}

function tagCondition({ key, operator, value, values }: AdHocVariableFilter): string[] {
  const oneOf = `^${formatForRegex(values ?? [value])}$`;
  switch (operator) {
    case '=':
    case '!=':
    case '=~':
      return [`${key}${operator}${value}`];
    case '!~':
      return [`${key}!=~${value}`];
    case '=|':
      return [`${key}=~${oneOf}`];
    case '!=|':
      return [`${key}!=~${oneOf}`];
    default:
      return [];
  }
}

function quoteLiteral(value: string): string {
  return `'${escapeInLiteral(value, "'")}'`;
}
