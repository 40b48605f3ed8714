// The editor of a panel's or an annotation's query: a language, and that language's own editor. Each language keeps its
// text while another is shown.
import { type QueryEditorProps, type SelectableValue } from '@grafana/data';
import { InlineField, RadioButtonGroup, Stack } from '@grafana/ui';
import { type StatlineDatasource } from '../datasource';
import { isComplete, queryMode, type QueryMode, type StatlineOptions, type StatlineQuery } from '../types';
import { EventsEditor } from './EventsEditor';
import { GraphiteEditor } from './GraphiteEditor';
import { LABEL_WIDTH } from './layout';
import { SqlEditor } from './SqlEditor';

export interface Props extends QueryEditorProps<StatlineDatasource, StatlineQuery, StatlineOptions> {
  /** Grafana passes it where the query is an annotation's. */
  annotation?: unknown;
}

const MODES: Array<SelectableValue<QueryMode>> = [
  { value: 'graphite', label: 'Graphite', description: 'Metrics, from the sidecar' },
  { value: 'sql', label: 'SQL', description: 'Rows, from PostgreSQL' },
  { value: 'events', label: 'Events', description: 'Deployments, checks and the like, from the sidecar' },
];

export function QueryEditor({ datasource, query, range, annotation, onChange, onRunQuery }: Props) {
  const mode = queryMode(query);
  const id = `statline-${query.refId}`;

  const change = (changed: StatlineQuery) => {
    onChange(changed);
    onRunQuery();
  };

  const changeMode = (queryType: QueryMode) => {
    const changed: StatlineQuery = { ...query, queryType };
    if (queryType === 'sql' && !changed.rawSql) {
      // Annotations are made of rows.
      changed.format ??= annotation ? 'table' : 'time_series';
    }
    onChange(changed);
    if (isComplete(changed)) {
      onRunQuery();
    }
  };

  return (
    <Stack direction="column" gap={0.5}>
      <InlineField label="Language" labelWidth={LABEL_WIDTH} htmlFor={`${id}-language`}>
        <RadioButtonGroup id={`${id}-language`} options={MODES} value={mode} onChange={changeMode} />
      </InlineField>
      {mode === 'graphite' && (
        <GraphiteEditor id={id} resources={datasource.resources} query={query} range={range} onChange={change} />
      )}
      {mode === 'sql' && <SqlEditor id={id} resources={datasource.resources} query={query} onChange={change} />}
      {mode === 'events' && <EventsEditor id={id} query={query} onChange={change} />}
    </Stack>
  );
}
