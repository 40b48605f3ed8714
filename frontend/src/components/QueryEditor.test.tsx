import { type CodeEditor } from '@grafana/ui';
import { fireEvent, render, screen } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { type ComponentProps, useState } from 'react';
import { backendAnswering } from '../testing/backend';
import { type StatlineQuery } from '../types';
import { QueryEditor } from './QueryEditor';
import { VariableQueryEditor } from './VariableQueryEditor';

// Monaco is loaded by Grafana itself and needs a real browser; a text area stands for its box here.
jest.mock('@grafana/ui', () => ({
  ...jest.requireActual('@grafana/ui'),
  CodeEditor: function Box({ value, monacoOptions, onBlur, onSave }: ComponentProps<typeof CodeEditor>) {
    return (
      <textarea
        aria-label={monacoOptions?.ariaLabel}
        defaultValue={value}
        onBlur={(event) => onBlur?.(event.currentTarget.value)}
        onKeyDown={(event) => event.key === 's' && event.ctrlKey && onSave?.(event.currentTarget.value)}
      />
    );
  },
}));

function show(initial: StatlineQuery, Editor: typeof QueryEditor = QueryEditor, annotation?: object) {
  const { datasource } = backendAnswering();
  const onRunQuery = jest.fn();
  const shown = { query: initial, onRunQuery };
  function Panel() {
    const [query, setQuery] = useState(initial);
    shown.query = query;
    return (
      <Editor
        datasource={datasource}
        query={query}
        onChange={setQuery}
        onRunQuery={onRunQuery}
        annotation={annotation}
      />
    );
  }
  render(<Panel />);
  return shown;
}

const graphiteBox = () => screen.getByRole('textbox', { name: 'Graphite expression' });
const sqlBox = () => screen.getByRole('textbox', { name: 'SQL statement' });
const choose = (name: string) => userEvent.click(screen.getByRole('radio', { name }));

test('a query without a language is Graphite', () => {
  show({ refId: 'A', target: 'a.b' });
  expect(screen.getByRole('radio', { name: 'Graphite' })).toBeChecked();
  expect(graphiteBox()).toHaveValue('a.b');
});

test('each language keeps its text, and what the editor does not know stays', async () => {
  const initial = { refId: 'A', target: 'a.b', datasource: { uid: 'x' }, later: 1 } as StatlineQuery;
  const shown = show(initial);

  await choose('SQL');
  expect(shown.query).toEqual({ ...initial, queryType: 'sql', format: 'time_series' });
  await userEvent.type(sqlBox(), 'SELECT 1');
  await userEvent.tab();
  expect(shown.query).toMatchObject({ target: 'a.b', rawSql: 'SELECT 1' });

  await choose('Graphite');
  expect(graphiteBox()).toHaveValue('a.b');
  expect(shown.query).toEqual({ ...initial, queryType: 'graphite', format: 'time_series', rawSql: 'SELECT 1' });

  await choose('SQL');
  expect(sqlBox()).toHaveValue('SELECT 1');
});

test('changing the language runs a query that has a text, and no other', async () => {
  const shown = show({ refId: 'A', queryType: 'graphite', target: 'a.b' });
  await choose('SQL');
  expect(shown.onRunQuery).not.toHaveBeenCalled();
  await choose('Graphite');
  expect(shown.onRunQuery).toHaveBeenCalledTimes(1);
});

test('leaving the box runs a text that changed, and only then', async () => {
  const shown = show({ refId: 'A', queryType: 'graphite', target: 'a.b' });
  graphiteBox().focus();
  await userEvent.tab();
  expect(shown.onRunQuery).not.toHaveBeenCalled();

  await userEvent.type(graphiteBox(), '.c');
  expect(shown.onRunQuery).not.toHaveBeenCalled();
  await userEvent.tab();
  expect(shown.query.target).toBe('a.b.c');
  expect(shown.onRunQuery).toHaveBeenCalledTimes(1);
});

test('Ctrl+S runs a text that did not change, too', () => {
  const shown = show({ refId: 'A', queryType: 'sql', rawSql: 'SELECT 1', format: 'table' });
  fireEvent.keyDown(sqlBox(), { key: 's', ctrlKey: true });
  expect(shown.query).toEqual({ refId: 'A', queryType: 'sql', rawSql: 'SELECT 1', format: 'table' });
  expect(shown.onRunQuery).toHaveBeenCalledTimes(1);
});

test('the format is written and run when chosen; a stored statement without one is a time series', async () => {
  const shown = show({ refId: 'A', queryType: 'sql', rawSql: 'SELECT 1' });
  expect(screen.getByRole('radio', { name: 'Time series' })).toBeChecked();
  await choose('Table');
  expect(shown.query).toEqual({ refId: 'A', queryType: 'sql', rawSql: 'SELECT 1', format: 'table' });
  expect(shown.onRunQuery).toHaveBeenCalledTimes(1);
});

test('events are found by tags, all of them or any', async () => {
  const shown = show({ refId: 'A', queryType: 'graphite', target: 'a.b' });
  await choose('Events');
  expect(shown.onRunQuery).toHaveBeenCalledTimes(1);
  await userEvent.type(screen.getByLabelText('Tags'), 'deploy{Enter}env:$env{Enter}');
  expect(shown.query).toEqual({ refId: 'A', queryType: 'events', target: 'a.b', tags: ['deploy', 'env:$env'] });
  await userEvent.click(screen.getByRole('button', { name: 'Remove tag: deploy' }));
  await userEvent.click(screen.getByRole('switch', { name: 'Match any' }));
  expect(shown.query).toMatchObject({ tags: ['env:$env'], matchAny: true });
  expect(shown.onRunQuery).toHaveBeenCalledTimes(5);
});

test("an annotation's statement is a table", async () => {
  const shown = show({ refId: 'Anno', queryType: 'events', tags: [] }, QueryEditor, { name: 'Deployments' });
  await choose('SQL');
  expect(shown.query).toMatchObject({ queryType: 'sql', format: 'table' });
});

test('the macros are explained on demand', async () => {
  show({ refId: 'A', queryType: 'sql', rawSql: '' });
  expect(screen.queryByText('$__timeFilter(column)')).not.toBeInTheDocument();
  await userEvent.click(screen.getByRole('button', { name: /Macros/ }));
  expect(screen.getByText('$__timeFilter(column)')).toBeVisible();
});

test('a variable of an older dashboard is read, and stored as a query', async () => {
  const shown = show('stats.*' as unknown as StatlineQuery, VariableQueryEditor);
  expect(graphiteBox()).toHaveValue('stats.*');
  await userEvent.type(graphiteBox(), '.x');
  await userEvent.tab();
  expect(shown.query).toMatchObject({ queryType: 'graphite', target: 'stats.*.x' });
  await choose('SQL');
  expect(shown.query).toMatchObject({ queryType: 'sql', target: 'stats.*.x' });
  expect(screen.queryByRole('radio', { name: 'Table' })).not.toBeInTheDocument();
});
