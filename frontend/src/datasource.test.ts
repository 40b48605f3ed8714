import { type DataSourceApi, FieldType, toDataFrame } from '@grafana/data';
import { type DataQuery } from '@grafana/schema';
import { firstValueFrom, lastValueFrom } from 'rxjs';
import { ianaTimezone } from './datasource';
import { backendAnswering, requestFor } from './testing/backend';
import { templateSrvWith } from './testing/templateSrv';
import { type StatlineQuery } from './types';
import { type StatlineVariableSupport } from './variables';

const graphite = (target: string): StatlineQuery => ({ refId: 'A', queryType: 'graphite', target });
const sql = (rawSql: string): StatlineQuery => ({ refId: 'B', queryType: 'sql', rawSql, format: 'table' });

describe('a query on its way to the backend', () => {
  async function sent(targets: StatlineQuery[], timezone: string) {
    const templateSrv = templateSrvWith({ channel: ['python', 'off_topic'] });
    const { asked, datasource } = backendAnswering(undefined, templateSrv);
    await lastValueFrom(datasource.query(requestFor(targets, { timezone })));
    expect(asked).toHaveLength(1);
    expect(asked[0].url).toContain('/api/ds/query');
    return asked[0].data!.queries;
  }

  test('each query carries the time zone of the panel', async () => {
    const queries = await sent([graphite('a.b'), sql('SELECT 1')], 'Europe/Berlin');
    expect(queries.map((query) => query.timezone)).toEqual(['Europe/Berlin', 'Europe/Berlin']);
  });

  test("the browser's zone has a name by the time it is sent", async () => {
    const resolved = jest
      .spyOn(Intl.DateTimeFormat.prototype, 'resolvedOptions')
      .mockReturnValue({ timeZone: 'Asia/Tokyo' } as Intl.ResolvedDateTimeFormatOptions);
    try {
      const [query] = await sent([graphite('a.b')], 'browser');
      expect(query.timezone).toBe('Asia/Tokyo');
      expect(ianaTimezone(undefined)).toBe('Asia/Tokyo');
      expect(ianaTimezone('')).toBe('Asia/Tokyo');
    } finally {
      resolved.mockRestore();
    }
  });

  test('utc stays utc', async () => {
    const [query] = await sent([graphite('a.b')], 'utc');
    expect(query.timezone).toBe('utc');
  });

  test('the request of the panel is not changed', async () => {
    const query = graphite('stats_counts.bot.channels.$channel');
    await sent([query], 'utc');
    expect(query).toEqual(graphite('stats_counts.bot.channels.$channel'));
  });

  test('variables are written as each language wants them', async () => {
    const queries = await sent([graphite('stats.$channel'), sql('SELECT 1 WHERE name IN ($channel)')], 'utc');
    expect(queries[0].target).toBe('stats.{python,off_topic}');
    expect(queries[1].rawSql).toBe("SELECT 1 WHERE name IN ('python','off_topic')");
  });

  test("the tags of events are a tag for each of a variable's values", async () => {
    const events: StatlineQuery = {
      refId: 'A',
      queryType: 'events',
      tags: ['deploy', 'channel:$channel'],
      matchAny: true,
    };
    const [query] = await sent([events], 'utc');
    expect(query).toMatchObject({
      queryType: 'events',
      tags: ['deploy', 'channel:python', 'channel:off_topic'],
      matchAny: true,
    });
    expect(events.tags).toEqual(['deploy', 'channel:$channel']);
  });

  test('a query without a queryType is Graphite, and keeps what it has', async () => {
    const old = { refId: 'A', target: 'stats.$channel', textEditor: true } as StatlineQuery;
    const [query] = await sent([old], 'utc');
    expect(query).toMatchObject({ refId: 'A', target: 'stats.{python,off_topic}', textEditor: true });
  });
});

describe('which queries run', () => {
  const { datasource } = backendAnswering();
  test.each<[string, StatlineQuery, boolean]>([
    ['an expression', graphite('a.b'), true],
    ['an expression without a queryType', { refId: 'A', target: 'a.b' }, true],
    ['a statement', sql('SELECT 1'), true],
    ['events with no tags, which are all', { refId: 'A', queryType: 'events' }, true],
    ['an empty expression', graphite(' \n'), false],
    ['nothing at all', { refId: 'A' }, false],
    ['SQL whose statement is empty, whatever the other text', { ...graphite('a.b'), queryType: 'sql' }, false],
    [
      'Graphite whose expression is empty, whatever the other text',
      { ...sql('SELECT 1'), queryType: 'graphite' },
      false,
    ],
    ['a hidden query', { ...graphite('a.b'), hide: true }, false],
  ])('%s: %#', (_, query, runs) => {
    expect(datasource.filterQuery(query)).toBe(runs);
  });
});

describe('what the rest of Grafana asks of the datasource', () => {
  test('a query is shown by the text of its language', () => {
    const { datasource } = backendAnswering();
    expect(datasource.getQueryDisplayText({ ...sql('SELECT 1'), target: 'a.b' })).toBe('SELECT 1');
    expect(datasource.getQueryDisplayText({ refId: 'A', rawSql: 'SELECT 1', target: 'a.b' })).toBe('a.b');
    expect(datasource.getQueryDisplayText({ refId: 'A', queryType: 'events', tags: ['bot', 'b'] })).toBe(
      'events bot b'
    );
  });

  test('Explore gets queries with their variables filled in, and this datasource', () => {
    const { datasource } = backendAnswering(undefined, templateSrvWith({ name: 'cpu' }));
    const filters = [{ key: 'host', operator: '=', value: 'a' }];
    expect(datasource.interpolateVariablesInQueries([graphite("seriesByTag('name=$name')")], {}, filters)).toEqual([
      {
        refId: 'A',
        queryType: 'graphite',
        target: "seriesByTag('name=cpu', 'host=a')",
        datasource: { type: 'statline-stats-datasource', uid: 'statline' },
      },
    ]);
  });

  test('queries of the built-in datasources keep their text when a panel moves here', async () => {
    const { datasource } = backendAnswering();
    const foreign: Array<DataQuery & Record<string, unknown>> = [
      { refId: 'A', target: 'a.b', textEditor: true },
      { refId: 'B', rawSql: 'SELECT 1', format: 1, editorMode: 'code' },
      { refId: 'C', expr: 'up' },
    ];
    expect(await datasource.importQueries(foreign, {} as DataSourceApi)).toMatchObject([
      { refId: 'A', queryType: 'graphite', target: 'a.b' },
      { refId: 'B', queryType: 'sql', rawSql: 'SELECT 1', format: 'table' },
      { refId: 'C', queryType: 'graphite', target: '' },
    ]);
  });

  test('tags and their values are offered for ad hoc filters', async () => {
    const { asked, datasource } = backendAnswering(({ url }) =>
      url.endsWith('/tags') ? ['channel'] : ['python', 'help']
    );
    expect(await datasource.getTagKeys()).toEqual([{ text: 'channel', value: 'channel' }]);
    expect(await datasource.getTagValues({ key: 'channel', filters: [], timeRange: requestFor([]).range })).toEqual([
      { text: 'python', value: 'python' },
      { text: 'help', value: 'help' },
    ]);
    expect(asked[1].params).toMatchObject({
      tag: 'channel',
      from: String(Date.parse('2026-11-22T10:00:00Z')),
      until: String(Date.parse('2026-11-22T11:01:00Z')),
    });
  });

  test('a new annotation asks for all events', () => {
    const { datasource } = backendAnswering();
    const query = { refId: 'Anno', ...datasource.annotations.getDefaultQuery?.() };
    expect(query).toMatchObject({ queryType: 'events', tags: [] });
    expect(datasource.filterQuery(query)).toBe(true);
  });
});

describe('query variables', () => {
  const nodes = [
    { text: 'python', id: 'stats.bot.python', leaf: true, expandable: false },
    { text: 'help', id: 'stats.bot.help', leaf: false, expandable: true },
    { text: 'help', id: 'stats.bot.help', leaf: true, expandable: false },
  ];

  test.each<[string, StatlineQuery | string]>([
    ['the editor', graphite('stats.$who.*')],
    ['an older dashboard', 'stats.$who.*'],
    ['an older dashboard, in an object', { refId: 'A', query: 'stats.$who.*' } as StatlineQuery],
  ])('a pattern from %s gives the names at its last level, each once', async (_, query) => {
    const { asked, datasource } = backendAnswering(() => nodes, templateSrvWith({ who: 'bot' }));
    const { range } = requestFor([]);
    const options = await datasource.metricFindQuery(query, { range });
    expect(options.map(({ text }) => text)).toEqual(['python', 'help']);
    expect(asked[0].url).toMatch(/\/resources\/find$/);
    expect(asked[0].params).toMatchObject({
      query: 'stats.bot.*',
      from: String(Date.parse('2026-11-22T10:00:00Z')),
      until: String(Date.parse('2026-11-22T11:01:00Z')),
    });
  });

  test.each([
    ['tags()', 'tags', {}],
    ['tag_values(channel)', 'tags/values', { tag: 'channel', prefix: '' }],
    ["tag_values('channel', py)", 'tags/values', { tag: 'channel', prefix: 'py' }],
  ])('%s asks for tags', async (text, path, params) => {
    const { asked, datasource } = backendAnswering(() => ['python']);
    expect(await datasource.metricFindQuery(graphite(text))).toEqual([{ text: 'python', value: 'python' }]);
    expect(asked[0].url.endsWith(`/resources/${path}`)).toBe(true);
    expect(asked[0].params).toEqual(params);
  });

  const frameAnswer = (frame: { fields: Array<{ name: string; type: FieldType; values: unknown[] }> }) => {
    const { fields } = toDataFrame(frame);
    return {
      results: {
        B: {
          status: 200,
          frames: [
            {
              schema: { refId: 'B', fields: fields.map(({ name, type }) => ({ name, type })) },
              data: { values: fields.map(({ values }) => values) },
            },
          ],
        },
      },
    };
  };

  test('SQL with __text and __value gives an option a row, run as a table with the zone', async () => {
    const answer = frameAnswer({
      fields: [
        { name: '__text', type: FieldType.string, values: ['Python', 'Help'] },
        { name: '__value', type: FieldType.number, values: [1, 2] },
      ],
    });
    const { asked, datasource } = backendAnswering(() => answer, templateSrvWith({ staff: 'true' }));
    const query: StatlineQuery = { ...sql('SELECT 1 WHERE is_staff = $staff'), format: 'time_series' };
    const request = requestFor([query], { timezone: 'Europe/Berlin' });

    const response = await firstValueFrom((datasource.variables as StatlineVariableSupport).query(request));
    expect(response.data).toEqual([
      { text: 'Python', value: '1' },
      { text: 'Help', value: '2' },
    ]);
    expect(asked[0].data!.queries[0]).toMatchObject({
      format: 'table',
      rawSql: 'SELECT 1 WHERE is_staff = true',
      timezone: 'Europe/Berlin',
    });
  });

  test('SQL with other columns gives every value once, and no null', async () => {
    const answer = frameAnswer({
      fields: [{ name: 'name', type: FieldType.string, values: ['a', null, 'b', 'a'] }],
    });
    const { datasource } = backendAnswering(() => answer);
    expect(await datasource.metricFindQuery(sql('SELECT name FROM t'))).toEqual([
      { text: 'a', value: 'a' },
      { text: 'b', value: 'b' },
    ]);
  });

  test("a statement's error is the variable's error", async () => {
    const { datasource } = backendAnswering(() => ({
      results: { B: { status: 400, error: 'relation "t" does not exist', frames: [] } },
    }));
    await expect(datasource.metricFindQuery(sql('SELECT name FROM t'))).rejects.toThrow('relation "t" does not exist');
  });

  test('events are no variable', async () => {
    const { asked, datasource } = backendAnswering();
    expect(await datasource.metricFindQuery({ refId: 'A', queryType: 'events' })).toEqual([]);
    expect(asked).toEqual([]);
  });

  test('an empty query asks nothing', async () => {
    const { asked, datasource } = backendAnswering();
    expect(await datasource.metricFindQuery('')).toEqual([]);
    expect(asked).toEqual([]);
  });
});
