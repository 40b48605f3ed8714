import { MACROS } from '../macros';
import { type SqlTable } from '../types';
import { completeSql, tablesNamedIn } from './sql';

const TABLES: SqlTable[] = [
  { schema: 'public', name: 'api_infraction' },
  { schema: 'public', name: 'Odd Name' },
  { schema: 'metricity', name: 'messages' },
];
const COLUMNS: Record<string, string[]> = {
  api_infraction: ['id', 'inserted_at'],
  messages: ['author_id', 'Created'],
};

function complete(marked: string) {
  const offset = marked.indexOf('|');
  const text = marked.slice(0, offset) + marked.slice(offset + 1);
  return completeSql(text, offset, {
    tables: async () => TABLES,
    columns: async ({ name }) => COLUMNS[name].map((column) => ({ name: column, type: 'text' })),
  });
}

const labels = async (marked: string) => (await complete(marked)).map(({ label }) => label);

test('after FROM and JOIN only tables are offered, written so that SQL finds them', async () => {
  const expected = ['api_infraction', '"Odd Name"', 'metricity.messages'];
  expect((await complete('SELECT * FROM |')).map(({ insertText }) => insertText)).toEqual(expected);
  expect((await complete('SELECT * FROM a JOIN mes|')).map(({ insertText }) => insertText)).toEqual(expected);
});

test('columns of the named tables come first, then macros, tables and keywords', async () => {
  const offered = await labels('SELECT | FROM api_infraction i JOIN metricity.messages ON true');
  expect(offered.slice(0, 4)).toEqual(['id', 'inserted_at', 'author_id', 'Created']);
  expect(offered).toEqual(expect.arrayContaining(['$__timeFilter', 'api_infraction', 'WHERE']));
});

test.each([
  ['SELECT i.| FROM api_infraction i', ['id', 'inserted_at']],
  ['SELECT i.| FROM api_infraction AS i', ['id', 'inserted_at']],
  ['SELECT api_infraction.in| FROM api_infraction', ['id', 'inserted_at']],
  ['SELECT * FROM metricity.|', ['messages']],
  ['SELECT x.| FROM api_infraction i', []],
])('%p completes the name before the dot', async (marked, expected) => {
  expect(await labels(marked)).toEqual(expected);
});

test('a dollar sign asks for macros alone, which replace it', async () => {
  const offered = await complete('SELECT 1 WHERE $__ti|');
  expect(offered.map(({ label }) => label)).toEqual(MACROS.map(({ name }) => name));
  expect(offered[0]).toMatchObject({
    label: '$__timeFilter',
    from: 15,
    insertText: '\\$__timeFilter($0)',
    isSnippet: true,
  });
});

test('the dollar sign of a macro among the arguments of another is text, not a place for the cursor', async () => {
  const alias = (await complete('$|')).find(({ label }) => label === '$__timeGroupAlias');
  expect(alias?.insertText).toBe('\\$__timeGroupAlias($0, \\$__interval)');
});

test.each(["SELECT 'a|'", 'SELECT 1 -- a|', 'SELECT /* a|', "SELECT 'it''s |"])(
  'nothing is offered in %p',
  async (marked) => {
    expect(await labels(marked)).toEqual([]);
  }
);

test('a literal or comment that has ended is behind', async () => {
  expect(await labels("SELECT 'a', /* b */ |")).toContain('FROM');
});

test('a keyword after a table is no alias', () => {
  expect(tablesNamedIn('SELECT 1 FROM a WHERE b IN (SELECT 1 FROM "B"."C" c)')).toEqual([
    { schema: undefined, name: 'a', alias: undefined },
    { schema: 'B', name: 'C', alias: 'c' },
  ]);
});
