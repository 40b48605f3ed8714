// Completion of SQL: macros, keywords, tables, and the columns of the tables that the statement names. It reads the
// statement with a few patterns, not with a parser: a text that is being written seldom parses.
import { MACROS } from '../macros';
import { type SqlColumn, type SqlTable } from '../types';
import { type Completion } from './completion';

export interface SqlSources {
  tables(): Promise<SqlTable[]>;
  columns(table: SqlTable): Promise<SqlColumn[]>;
}

const KEYWORDS = (
  'SELECT FROM WHERE AND OR NOT IN IS NULL LIKE ILIKE BETWEEN CASE WHEN THEN ELSE END AS DISTINCT COUNT SUM AVG MIN ' +
  'MAX COALESCE JOIN LEFT RIGHT INNER OUTER ON USING GROUP ORDER BY HAVING ASC DESC LIMIT OFFSET UNION ALL WITH ' +
  'FILTER OVER PARTITION INTERVAL TRUE FALSE FULL CROSS NATURAL LATERAL'
).split(' ');

/** A table's name after FROM or JOIN, with the alias that may follow it. */
const TABLE_REFERENCE = new RegExp(
  String.raw`\b(?:from|join)\s+(?:("[^"]+"|\w+)\s*\.\s*)?("[^"]+"|\w+)(?:\s+(?:as\s+)?("[^"]+"|\w+))?`,
  'gi'
);

export interface TableReference {
  schema?: string;
  name: string;
  alias?: string;
}

export function tablesNamedIn(text: string): TableReference[] {
  return [...text.matchAll(TABLE_REFERENCE)].map(([, schema, name, alias]) => ({
    schema: schema && unquote(schema),
    name: unquote(name),
    alias: alias && !KEYWORDS.includes(alias.toUpperCase()) ? unquote(alias) : undefined,
  }));
}

export async function completeSql(text: string, offset: number, sources: SqlSources): Promise<Completion[]> {
  const before = text.slice(0, offset);
  if (isInLiteralOrComment(before)) {
    return [];
  }

  const macro = /\$\w*$/.exec(before);
  if (macro) {
    return completeMacros(macro.index);
  }

  const qualified = /("[^"]+"|\w+)\s*\.\s*("?\w*)$/.exec(before);
  if (qualified) {
    const from = offset - qualified[2].length;
    return completeQualified(unquote(qualified[1]), from, text, sources);
  }

  const from = offset - (/"?\w*$/.exec(before)?.[0].length ?? 0);
  if (/\b(?:from|join)\s+$/i.test(text.slice(0, from))) {
    return (await sources.tables()).map((table) => completeTable(table, from));
  }

  const [tables, columns] = await Promise.all([sources.tables(), columnsNamedIn(text, sources)]);
  return [
    ...columns.map((column) => completeColumn(column, from)),
    ...completeMacros(from),
    ...tables.map((table) => completeTable(table, from)),
    ...KEYWORDS.map((word): Completion => ({ label: word, kind: 'keyword', from, insertText: word })),
  ];
}

function isInLiteralOrComment(before: string): boolean {
  const rest = before.replace(/'(?:[^']|'')*'|"[^"]*"|--[^\n]*\n|\/\*[\s\S]*?\*\//g, ' ');
  return rest.includes("'") || rest.includes('--') || rest.includes('/*');
}

/** After `name.`: the columns of the table or alias of that name, or else the tables of that schema. */
async function completeQualified(
  qualifier: string,
  from: number,
  text: string,
  sources: SqlSources
): Promise<Completion[]> {
  const tables = await sources.tables();
  const reference = tablesNamedIn(text).find(({ name, alias }) => alias === qualifier || name === qualifier);
  const table = reference && findTable(reference, tables);
  if (table) {
    return (await sources.columns(table)).map((column) => completeColumn(column, from));
  }
  return tables
    .filter(({ schema }) => schema === qualifier)
    .map(({ name, schema }) => ({ label: name, kind: 'table', from, insertText: identifier(name), detail: schema }));
}

async function columnsNamedIn(text: string, sources: SqlSources): Promise<SqlColumn[]> {
  const references = tablesNamedIn(text);
  if (references.length === 0) {
    return [];
  }
  const tables = await sources.tables();
  const named = references.map((reference) => findTable(reference, tables)).filter((table) => table !== undefined);
  const columns = (await Promise.all([...new Set(named)].map((table) => sources.columns(table)))).flat();
  return [...new Map(columns.map((column) => [column.name, column])).values()];
}

function findTable({ schema, name }: TableReference, tables: SqlTable[]): SqlTable | undefined {
  const found = tables.filter((table) => table.name === name && (schema === undefined || table.schema === schema));
  return found.find((table) => table.schema === 'public') ?? found[0];
}

function completeMacros(from: number): Completion[] {
  return MACROS.map(({ name, example, meaning }) => {
    const takesColumn = example.startsWith('(column');
    const call = takesColumn ? example.replace('column', '$0') : example;
    return {
      label: name,
      kind: 'macro',
      from,
      insertText: `\\${name}${takesColumn ? call.replace('$__', '\\$__') : call}`,
      isSnippet: true,
      detail: `${name}${example}`,
      documentation: meaning,
      continues: takesColumn,
    };
  });
}

function completeTable({ schema, name }: SqlTable, from: number): Completion {
  const written = schema === 'public' ? identifier(name) : `${identifier(schema)}.${identifier(name)}`;
  return { label: name, kind: 'table', from, insertText: written, detail: schema };
}

function completeColumn({ name, type }: SqlColumn, from: number): Completion {
  return { label: name, kind: 'column', from, insertText: identifier(name), detail: type };
}

/** A name as SQL wants it: bare when PostgreSQL would read it back the same, quoted otherwise. */
function identifier(name: string): string {
  return /^[a-z_][a-z0-9_]*$/.test(name) ? name : `"${name.replace(/"/g, '""')}"`;
}

function unquote(name: string): string {
  return name.replace(/^"(.*)"$/, '$1');
}
