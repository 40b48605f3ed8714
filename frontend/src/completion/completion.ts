// What a completion is, whatever the language and whatever the editor.

export type CompletionKind =
  'function' | 'series' | 'branch' | 'tag' | 'value' | 'keyword' | 'macro' | 'table' | 'column';

export interface Completion {
  label: string;
  kind: CompletionKind;
  /** Where the text to replace begins; it ends at the cursor. */
  from: number;
  insertText: string;
  /** `insertText` has `$0` where the cursor goes, with `\$` for a dollar sign. */
  isSnippet?: boolean;
  detail?: string;
  documentation?: string;
  /** More completions follow at once, such as the next level of a path. */
  continues?: boolean;
}

/** Answers what fits at a place in a text. */
export type Complete = (text: string, offset: number) => Promise<Completion[]>;
