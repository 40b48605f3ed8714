// Where completions meet Monaco. A provider belongs to a language and is shared by every editor on the page, Grafana's
// own among them; so each is registered once, and answers only for the models that were entrusted to it.
import { type Monaco, type monacoTypes } from '@grafana/ui';
import { type Complete, type Completion, type CompletionKind } from './completion';

export const GRAPHITE_LANGUAGE = 'statline-graphite';

/** How long the cursor rests before anything is asked of the backend. */
const REST_MS = 100;

const completionsOfModel = new WeakMap<monacoTypes.editor.ITextModel, Complete>();
const preparedLanguages = new WeakMap<Monaco, Set<string>>();

/** Gives an editor's text its completions, and returns what takes them away. */
export function offerCompletions(model: monacoTypes.editor.ITextModel, complete: Complete): () => void {
  completionsOfModel.set(model, complete);
  return () => {
    completionsOfModel.delete(model);
  };
}

/** Makes a language known to Monaco, with completion; the second time it does nothing. */
export function prepareLanguage(monaco: Monaco, language: string): void {
  const prepared = preparedLanguages.get(monaco) ?? new Set();
  preparedLanguages.set(monaco, prepared);
  if (prepared.has(language)) {
    return;
  }
  prepared.add(language);
  if (language === GRAPHITE_LANGUAGE) {
    defineGraphite(monaco);
  }
  monaco.languages.registerCompletionItemProvider(language, {
    triggerCharacters: ['.', '(', ',', '{', '=', '$', '"', "'"],
    provideCompletionItems: (model, position, _context, token) => provide(monaco, model, position, token),
  });
}

export async function provide(
  monaco: Monaco,
  model: monacoTypes.editor.ITextModel,
  position: monacoTypes.Position,
  token: monacoTypes.CancellationToken
): Promise<monacoTypes.languages.CompletionList | undefined> {
  const complete = completionsOfModel.get(model);
  if (!complete) {
    return undefined;
  }
  await new Promise((resolve) => setTimeout(resolve, REST_MS));
  if (token.isCancellationRequested) {
    return undefined;
  }
  // Without its completions a text can still be written: a backend that cannot answer is no error here.
  const completions = await complete(model.getValue(), model.getOffsetAt(position)).catch(() => []);
  // The list is for this place alone: after the next key, the next level or prefix has to be asked for.
  return {
    incomplete: true,
    suggestions: completions.map((each, order) => toItem(monaco, model, position, each, order)),
  };
}

function toItem(
  monaco: Monaco,
  model: monacoTypes.editor.ITextModel,
  position: monacoTypes.Position,
  completion: Completion,
  order: number
): monacoTypes.languages.CompletionItem {
  const start = model.getPositionAt(completion.from);
  const { InsertAsSnippet } = monaco.languages.CompletionItemInsertTextRule;
  return {
    label: completion.label,
    kind: monaco.languages.CompletionItemKind[ICONS[completion.kind]],
    insertText: completion.insertText,
    insertTextRules: completion.isSnippet ? InsertAsSnippet : undefined,
    detail: completion.detail,
    documentation: completion.documentation,
    sortText: String(order).padStart(5, '0'),
    range: {
      startLineNumber: start.lineNumber,
      startColumn: start.column,
      endLineNumber: position.lineNumber,
      endColumn: position.column,
    },
    command: completion.continues ? { id: 'editor.action.triggerSuggest', title: 'complete' } : undefined,
  };
}

const ICONS: Record<CompletionKind, keyof typeof monacoTypes.languages.CompletionItemKind> = {
  function: 'Function',
  series: 'Value',
  branch: 'Folder',
  tag: 'Property',
  value: 'Constant',
  keyword: 'Keyword',
  macro: 'Snippet',
  table: 'Struct',
  column: 'Field',
};

function defineGraphite(monaco: Monaco): void {
  monaco.languages.register({ id: GRAPHITE_LANGUAGE });
  monaco.languages.setLanguageConfiguration(GRAPHITE_LANGUAGE, {
    // A word is one level of a path, so that a completion replaces that level.
    wordPattern: /[^\s.,(){}'"=|]+/,
    brackets: [
      ['(', ')'],
      ['{', '}'],
      ['[', ']'],
    ],
    autoClosingPairs: [
      { open: '(', close: ')' },
      { open: '{', close: '}' },
      { open: "'", close: "'" },
      { open: '"', close: '"' },
    ],
  });
  monaco.languages.setMonarchTokensProvider(GRAPHITE_LANGUAGE, {
    tokenizer: {
      root: [
        [/\$\{[^}]*\}|\$\w+|\[\[[^\]]*\]\]/, 'variable'],
        [/[A-Za-z_]\w*(?=\s*\()/, 'keyword'],
        [/"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'/, 'string'],
        [/\b(?:true|false|null|inf)\b(?![.\w])/, 'constant'],
        [/-?\d+(?:\.\d+)?(?:e[+-]?\d+)?(?![\w.*-])/, 'number'],
        [/[(){},=|]/, 'delimiter'],
        [/[^\s(){},=|'"$]+/, 'identifier'],
      ],
    },
  });
}
