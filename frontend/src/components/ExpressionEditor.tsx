// A box to write an expression in: Monaco with our completions. Leaving the box hands the text over when it changed;
// Ctrl+Enter (Cmd+Enter) and Ctrl+S hand it over in any case, since they are how one asks for a run.
import { CodeEditor, type Monaco, type MonacoEditor } from '@grafana/ui';
import { useEffect, useRef } from 'react';
import { type Complete } from '../completion/completion';
import { offerCompletions, prepareLanguage } from '../completion/monaco';

export interface ExpressionEditorProps {
  id: string;
  /** What a screen reader calls the box. */
  label: string;
  language: string;
  value: string;
  height: number;
  complete: Complete;
  /** The text is finished: written and left, or run. */
  onCommit: (text: string) => void;
}

export function ExpressionEditor({ id, label, language, value, height, complete, onCommit }: ExpressionEditorProps) {
  // Monaco keeps the functions it got when it was mounted; these read what the latest render brought.
  const latest = useRef({ complete, onCommit });
  useEffect(() => {
    latest.current = { complete, onCommit };
  });
  const withdraw = useRef<() => void>(undefined);
  useEffect(() => () => withdraw.current?.(), []);

  const onMount = (editor: MonacoEditor, monaco: Monaco) => {
    const model = editor.getModel();
    if (model) {
      withdraw.current = offerCompletions(model, (text, offset) => latest.current.complete(text, offset));
    }
    editor.addAction({
      id: 'statline-run',
      label: 'Run query',
      keybindings: [monaco.KeyMod.CtrlCmd | monaco.KeyCode.Enter],
      run: () => latest.current.onCommit(editor.getValue()),
    });
  };

  return (
    <div id={id} data-testid={id} style={{ flexGrow: 1, minWidth: 0 }}>
      <CodeEditor
        language={language}
        value={value}
        height={height}
        width="100%"
        showMiniMap={false}
        showLineNumbers={false}
        wordWrap
        monacoOptions={{
          ariaLabel: label,
          fontSize: 14,
          lineNumbersMinChars: 0,
          overviewRulerLanes: 0,
          // In strings too, for the tags of seriesByTag; the words of the text are no suggestions.
          quickSuggestions: { other: true, strings: true, comments: false },
          renderLineHighlight: 'none',
          scrollBeyondLastLine: false,
          wordBasedSuggestions: false,
        }}
        onBeforeEditorMount={(monaco) => prepareLanguage(monaco, language)}
        onEditorDidMount={onMount}
        onBlur={(text) => {
          if (text !== value) {
            onCommit(text);
          }
        }}
        onSave={onCommit}
      />
    </div>
  );
}
