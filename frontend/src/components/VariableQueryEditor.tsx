// The editor of a query variable: the same two languages, where Graphite's text is a pattern of names.
import { type QueryEditorProps } from '@grafana/data';
import { InlineField, RadioButtonGroup, Stack } from '@grafana/ui';
import type { StatlineDatasource } from '../datasource';
import { queryMode, type QueryMode, type StatlineOptions, type StatlineQuery } from '../types';
import { toVariableQuery } from '../variables';
import { GraphiteEditor } from './GraphiteEditor';
import { LABEL_WIDTH } from './layout';
import { SqlEditor } from './SqlEditor';

type Props = QueryEditorProps<StatlineDatasource, StatlineQuery, StatlineOptions>;

const MODES: Array<{ value: QueryMode; label: string }> = [
  { value: 'graphite', label: 'Graphite' },
  { value: 'sql', label: 'SQL' },
];

export function VariableQueryEditor({ datasource, query: stored, range, onChange }: Props) {
  const query = toVariableQuery(stored);
  const id = 'statline-variable';

  return (
    <Stack direction="column" gap={0.5}>
      <InlineField label="Language" labelWidth={LABEL_WIDTH} htmlFor={`${id}-language`}>
        <RadioButtonGroup
          id={`${id}-language`}
          options={MODES}
          value={queryMode(query)}
          onChange={(queryType) => onChange({ ...query, queryType })}
        />
      </InlineField>
      {queryMode(query) === 'graphite' ? (
        <GraphiteEditor
          id={id}
          resources={datasource.resources}
          query={query}
          range={range}
          label="Pattern"
          tooltip="Names at the last level of a pattern, such as stats.gauges.bot.*; or tags(), or tag_values(tag)."
          onChange={onChange}
        />
      ) : (
        <SqlEditor id={id} resources={datasource.resources} query={query} onlyTable onChange={onChange} />
      )}
    </Stack>
  );
}
