// The editor of a panel's query: a language, and that language's own editor. Each language keeps its text while the
// other is shown.
import { type QueryEditorProps, type SelectableValue } from '@grafana/data';
import { InlineField, RadioButtonGroup, Stack } from '@grafana/ui';
import { type StatlineDatasource } from '../datasource';
import { queryMode, type QueryMode, queryText, type StatlineOptions, type StatlineQuery } from '../types';
import { GraphiteEditor } from './GraphiteEditor';
import { LABEL_WIDTH } from './layout';
import { SqlEditor } from './SqlEditor';

export type Props = QueryEditorProps<StatlineDatasource, StatlineQuery, StatlineOptions>;

const MODES: Array<SelectableValue<QueryMode>> = [
  { value: 'graphite', label: 'Graphite', description: 'Metrics, from the sidecar' },
  { value: 'sql', label: 'SQL', description: 'Rows, from PostgreSQL' },
];

export function QueryEditor({ datasource, query, range, onChange, onRunQuery }: Props) {
  const mode = queryMode(query);
  const id = `statline-${query.refId}`;

  const change = (changed: StatlineQuery) => {
    onChange(changed);
    onRunQuery();
  };

  const changeMode = (queryType: QueryMode) => {
    const changed: StatlineQuery = { ...query, queryType };
    if (queryType === 'sql' && !changed.rawSql) {
      changed.format ??= 'time_series';
    }
    onChange(changed);
    if (queryText(changed).trim() !== '') {
      onRunQuery();
    }
  };

  return (
    <Stack direction="column" gap={0.5}>
      <InlineField label="Language" labelWidth={LABEL_WIDTH} htmlFor={`${id}-language`}>
        <RadioButtonGroup id={`${id}-language`} options={MODES} value={mode} onChange={changeMode} />
      </InlineField>
      {mode === 'graphite' ? (
        <GraphiteEditor id={id} resources={datasource.resources} query={query} range={range} onChange={change} />
      ) : (
        <SqlEditor id={id} resources={datasource.resources} query={query} onChange={change} />
      )}
    </Stack>
  );
}
