import { type GraphiteFunction, type MetricNode } from '../types';
import { completeGraphite, graphitePlace, type GraphiteSources, signature } from './graphite';

/** `|` is the cursor. */
function at(marked: string): [string, number] {
  const offset = marked.indexOf('|');
  return [marked.slice(0, offset) + marked.slice(offset + 1), offset];
}

describe('the place of the cursor', () => {
  test.each([
    ['|', '*', 0, ''],
    ['sta|', 'sta*', 0, 'sta'],
    ['stats.|', 'stats.*', 6, undefined],
    ['stats.bot.he|lp', 'stats.bot.he*', 10, undefined],
    ['stats.bot.he*|', 'stats.bot.he*', 10, undefined],
    ['scale(sta|', 'sta*', 6, 'sta'],
    ['sumSeries(a.b, stats.b|)', 'stats.b*', 21, undefined],
    ['stats.{bot,te|', 'stats.te*', 11, undefined],
    ['stats.{bot,test}.he|', 'stats.{bot,test}.he*', 17, undefined],
    ["group(alias(a.b, 'x, y'), sca|", 'sca*', 26, 'sca'],
  ])('%p is in a path', (marked, pattern, from, functionPrefix) => {
    expect(graphitePlace(...at(marked))).toEqual({ kind: 'path', pattern, from, functionPrefix });
  });

  test.each([
    ["seriesByTag('|", { kind: 'tag', prefix: '', from: 13 }],
    ['sum(seriesByTag("name=a", "cha|', { kind: 'tag', prefix: 'cha', from: 27 }],
    ["seriesByTag('channel=|", { kind: 'tagValue', tag: 'channel', prefix: '', from: 21 }],
    ["seriesByTag('channel!=~py|", { kind: 'tagValue', tag: 'channel', prefix: 'py', from: 23 }],
  ])('%p is about a tag', (marked, place) => {
    expect(graphitePlace(...at(marked))).toEqual(place);
  });

  test.each(["alias(a.b, 'na|", "alias(seriesByTag('a=b'), 'na|", "alias(a, 'it\\'s |"])(
    '%p is a text of its own',
    (marked) => {
      expect(graphitePlace(...at(marked))).toBeUndefined();
    }
  );
});

describe('completions', () => {
  const nodes: MetricNode[] = [
    { text: 'bot', id: 'stats.bot', leaf: false, expandable: true },
    { text: 'uptime', id: 'stats.uptime', leaf: true, expandable: false },
  ];
  const functions: GraphiteFunction[] = [
    {
      name: 'summarize',
      description: 'Summarizes.',
      params: [
        { name: 'seriesList', type: 'seriesList', required: true },
        { name: 'func', type: 'string' },
      ],
    },
    { name: 'alias' },
  ];
  const sources = (): jest.Mocked<GraphiteSources> => ({
    find: jest.fn().mockResolvedValue(nodes),
    functions: jest.fn().mockResolvedValue(functions),
    tags: jest.fn().mockResolvedValue(['channel', 'name']),
    tagValues: jest.fn().mockResolvedValue(['python']),
  });

  test('below a path only names are offered, and a branch leads on to the next level', async () => {
    const asked = sources();
    const found = await completeGraphite(...at('scale(stats.|'), asked);
    expect(asked.find).toHaveBeenCalledWith('stats.*');
    expect(asked.functions).not.toHaveBeenCalled();
    expect(found).toMatchObject([
      { label: 'bot', kind: 'branch', insertText: 'bot.', from: 12, continues: true },
      { label: 'uptime', kind: 'series', insertText: 'uptime', from: 12, continues: false },
    ]);
  });

  test('at the start of a word functions are offered too, whatever the case', async () => {
    const found = await completeGraphite(...at('SUM|'), sources());
    const offered = found.filter(({ kind }) => kind === 'function');
    expect(offered).toMatchObject([
      { label: 'summarize', insertText: 'summarize($0)', isSnippet: true, detail: 'summarize(seriesList, func?)' },
    ]);
  });

  test('tags and their values are offered in seriesByTag', async () => {
    expect(await completeGraphite(...at("seriesByTag('ch|"), sources())).toMatchObject([
      { label: 'channel', insertText: 'channel=' },
    ]);
    const asked = sources();
    expect(await completeGraphite(...at("seriesByTag('channel=p|"), asked)).toMatchObject([{ insertText: 'python' }]);
    expect(asked.tagValues).toHaveBeenCalledWith('channel', 'p');
  });

  test('a signature shows what is optional and what repeats', () => {
    const params = [
      { name: 'seriesLists', type: 'seriesList', required: true, multiple: true },
      { name: 'total', type: 'any' },
    ];
    expect(signature({ name: 'sumSeries', params })).toBe('sumSeries(…seriesLists, total?)');
  });
});
