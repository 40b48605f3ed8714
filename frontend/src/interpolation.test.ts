import { addTagFilters, interpolateGraphite, interpolateSql, interpolateTags, splitGraphite } from './interpolation';
import { templateSrvWith } from './testing/templateSrv';

const templateSrv = templateSrvWith({
  one: 'cpu',
  pattern: 'servers.*.cpu',
  single: ['cpu'],
  many: ['cpu', 'memory'],
  odd: ['a,b', 'c(d)', 'e f'],
  dotted: ['a.b', 'c|d'],
  quoted: "it's",
  quotedMany: ["it's", 'plain'],
});

describe('variables in SQL', () => {
  const sql = (text: string) => interpolateSql(text, undefined, templateSrv);

  test.each([
    ['several values are quoted literals', 'name IN ($many)', "name IN ('cpu','memory')"],
    ['the only chosen one of several is quoted too', 'name IN ($single)', "name IN ('cpu')"],
    ['a single value is bare', "name = '$one'", "name = 'cpu'"],
    ['a quote in a single value cannot end a literal', "name = '$quoted'", "name = 'it''s'"],
    ['a quote in one of several is doubled', 'name IN (${quotedMany})', "name IN ('it''s','plain')"],
    ['a written format wins', "name = '${many:csv}'", "name = 'cpu,memory'"],
    ['macros are left to the backend', 'WHERE $__timeFilter(created_at)', 'WHERE $__timeFilter(created_at)'],
  ])('%s', (_, text, expected) => {
    expect(sql(text)).toBe(expected);
  });

  test('a scoped value, such as the interval, goes before a dashboard variable', () => {
    const scopedVars = { __interval: { text: '10s', value: '10s' }, one: { text: 'disk', value: 'disk' } };
    expect(interpolateSql("$__timeGroup(t, '$__interval') -- $one", scopedVars, templateSrv)).toBe(
      "$__timeGroup(t, '10s') -- disk"
    );
  });
});

describe("variables in events' tags", () => {
  test.each([
    ['a tag without a variable stays', ['deploy', 'env:live'], ['deploy', 'env:live']],
    ['a single value stands where its variable stood', ['host:$one:1'], ['host:cpu:1']],
    ['several values are a tag each', ['host:$many'], ['host:cpu', 'host:memory']],
    ['two variables are every pair', ['$many-$many'], ['cpu-cpu', 'cpu-memory', 'memory-cpu', 'memory-memory']],
    ['a written format wins', ['host:${many:csv}'], ['host:cpu,memory']],
    ['what is empty or there already is dropped', [' ', 'cpu', '$one', '$single'], ['cpu']],
  ])('%s', (_, tags, expected) => {
    expect(interpolateTags(tags, undefined, templateSrv)).toEqual(expected);
  });

  test('no number of values makes a question without a bound', () => {
    const values = Array.from({ length: 100 }, (_, value) => String(value));
    expect(interpolateTags(['$a$a$a'], undefined, templateSrvWith({ a: values }))).toHaveLength(64);
  });
});

describe('variables in Graphite', () => {
  const graphite = (text: string) => interpolateGraphite(text, undefined, templateSrv);

  test.each([
    ['several values are alternatives', 'servers.$many.load', 'servers.{cpu,memory}.load'],
    ['the only chosen one of several needs no braces', 'servers.$single.load', 'servers.cpu.load'],
    ['a single value may be a pattern', 'sumSeries($pattern)', 'sumSeries(servers.*.cpu)'],
    ['what would be syntax in an alternative is escaped', 'a.$odd', 'a.{a\\,b,c\\(d\\),e\\ f}'],
    [
      'several values in a tag regex are a group, to the letter',
      "seriesByTag('n=~$dotted')",
      "seriesByTag('n=~(a\\.b|c\\|d)')",
    ],
    ['so they are in a negated one', 'seriesByTag("n!=~^$many$")', 'seriesByTag("n!=~^(cpu|memory)$")'],
    ['in other literals several values are alternatives', "seriesByTag('n=$many')", "seriesByTag('n={cpu,memory}')"],
    ['a quote in a value cannot end its literal', "alias(a.b, '$quoted')", "alias(a.b, 'it\\'s')"],
    ['the other kind of quote needs no escape', 'alias(a.b, "$quoted")', 'alias(a.b, "it\'s")'],
    ['a written format wins', 'a.${many:csv}', 'a.cpu,memory'],
    ['an unknown name stays', 'a.$nobody', 'a.$nobody'],
  ])('%s', (_, text, expected) => {
    expect(graphite(text)).toBe(expected);
  });

  test.each(['', 'a', `alias(a.b, 'x\\'y')`, `f("a'b", 'c"d', e)`, `broken('`])(
    'cutting %p into pieces loses nothing',
    (text) => {
      expect(
        splitGraphite(text)
          .map((piece) => piece.text)
          .join('')
      ).toBe(text);
    }
  );
});

describe('ad hoc filters', () => {
  const filter = (operator: string, value = 'python', values?: string[]) => [
    { key: 'channel', operator, value, values },
  ];

  test.each([
    ['=', "seriesByTag('name=messages', 'channel=python')"],
    ['!=', "seriesByTag('name=messages', 'channel!=python')"],
    ['=~', "seriesByTag('name=messages', 'channel=~python')"],
    ['!~', "seriesByTag('name=messages', 'channel!=~python')"],
  ])('%s is one more condition of seriesByTag', (operator, expected) => {
    expect(addTagFilters("seriesByTag('name=messages')", filter(operator))).toBe(expected);
  });

  test('one of several values is an anchored regular expression', () => {
    expect(addTagFilters("seriesByTag('name=m')", filter('=|', '', ['a.b', 'c']))).toBe(
      "seriesByTag('name=m', 'channel=~^(a\\.b|c)$')"
    );
  });

  test('every seriesByTag of an expression is filtered, and nothing else is touched', () => {
    const target = 'sumSeries(seriesByTag( \'name=a)\' ), scale(b.c, 2), seriesByTag("name=d"))';
    expect(addTagFilters(target, filter('='))).toBe(
      "sumSeries(seriesByTag( 'name=a)', 'channel=python' ), scale(b.c, 2), seriesByTag(\"name=d\", 'channel=python'))"
    );
  });

  test.each([
    ['a path', 'stats.bot.messages', filter('=')],
    ['an operator that tags do not have', "seriesByTag('name=m')", filter('<')],
    ['no filter', "seriesByTag('name=m')", undefined],
  ])('%s leaves the target as it is', (_, target, filters) => {
    expect(addTagFilters(target, filters)).toBe(target);
  });
});
