import { type Monaco, type monacoTypes } from '@grafana/ui';
import { type Completion } from './completion';
import { GRAPHITE_LANGUAGE, offerCompletions, prepareLanguage, provide } from './monaco';

type Model = monacoTypes.editor.ITextModel;
type Position = monacoTypes.Position;

/** One line of text, in the few words of Monaco that completion uses. */
function modelOf(text: string): Model {
  return {
    getValue: () => text,
    getOffsetAt: ({ column }: Position) => column - 1,
    getPositionAt: (offset: number) => ({ lineNumber: 1, column: offset + 1 }),
  } as unknown as Model;
}

function monacoWith(): jest.Mocked<Monaco['languages']> & { monaco: Monaco } {
  const languages = {
    register: jest.fn(),
    setLanguageConfiguration: jest.fn(),
    setMonarchTokensProvider: jest.fn(),
    registerCompletionItemProvider: jest.fn(),
    CompletionItemKind: { Folder: 18, Function: 1 },
    CompletionItemInsertTextRule: { InsertAsSnippet: 4 },
  };
  return { ...languages, monaco: { languages } } as unknown as ReturnType<typeof monacoWith>;
}

const token = (isCancellationRequested = false) => ({ isCancellationRequested }) as monacoTypes.CancellationToken;
const end = (text: string) => ({ lineNumber: 1, column: text.length + 1 }) as Position;

beforeEach(() => jest.useFakeTimers());
afterEach(() => jest.useRealTimers());

async function provided(model: Model, text: string, cancel = token()) {
  const { monaco } = monacoWith();
  const answer = provide(monaco, model, end(text), cancel);
  await jest.advanceTimersByTimeAsync(1000);
  return answer;
}

const BRANCH: Completion = { label: 'bot', kind: 'branch', from: 6, insertText: 'bot.', continues: true };

test('what is offered replaces the text from where the completion begins up to the cursor', async () => {
  const model = modelOf('stats.b');
  const complete = jest.fn().mockResolvedValue([BRANCH]);
  offerCompletions(model, complete);

  const list = await provided(model, 'stats.b');
  expect(complete).toHaveBeenCalledWith('stats.b', 7);
  expect(list?.suggestions).toMatchObject([
    {
      label: 'bot',
      kind: 18,
      insertText: 'bot.',
      range: { startLineNumber: 1, startColumn: 7, endLineNumber: 1, endColumn: 8 },
      command: { id: 'editor.action.triggerSuggest' },
    },
  ]);
});

test('a key that follows at once cancels the question before it is asked', async () => {
  const model = modelOf('stats.b');
  const complete = jest.fn().mockResolvedValue([BRANCH]);
  offerCompletions(model, complete);
  expect(await provided(model, 'stats.b', token(true))).toBeUndefined();
  expect(complete).not.toHaveBeenCalled();
});

test("other editors of the language, and one's own after it is gone, are left alone", async () => {
  const model = modelOf('a');
  expect(await provided(modelOf('a'), 'a')).toBeUndefined();
  offerCompletions(model, async () => [BRANCH])();
  expect(await provided(model, 'a')).toBeUndefined();
});

test('a backend that cannot answer offers nothing and breaks nothing', async () => {
  const model = modelOf('a');
  offerCompletions(model, () => Promise.reject(new Error('away')));
  expect((await provided(model, 'a'))?.suggestions).toEqual([]);
});

test('a language is registered once for each Monaco', () => {
  const { monaco, ...languages } = monacoWith();
  prepareLanguage(monaco, GRAPHITE_LANGUAGE);
  prepareLanguage(monaco, GRAPHITE_LANGUAGE);
  prepareLanguage(monaco, 'sql');
  expect(languages.register.mock.calls).toEqual([[{ id: GRAPHITE_LANGUAGE }]]);
  expect(languages.registerCompletionItemProvider.mock.calls.map(([language]) => language)).toEqual([
    GRAPHITE_LANGUAGE,
    'sql',
  ]);
});
