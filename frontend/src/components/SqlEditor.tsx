// The SQL half of the query editor: one statement, the form of its answer, and help with the macros.
import { type SelectableValue } from '@grafana/data';
import { InlineField, RadioButtonGroup } from '@grafana/ui';
import { completeSql } from '../completion/sql';
import { type Resources } from '../resources';
import { type SqlFormat, type StatlineQuery } from '../types';
import { ExpressionEditor } from './ExpressionEditor';
import { LABEL_WIDTH } from './layout';
import { MacroHelp } from './MacroHelp';

interface Props {
  id: string;
  resources: Resources;
  query: StatlineQuery;
  /** Rows as they are is all that makes sense, as for a variable: no choice of a format. */
  onlyTable?: boolean;
  onChange: (query: StatlineQuery) => void;
}

const DEFAULT_FORMAT: SqlFormat = 'time_series';

const FORMATS: Array<SelectableValue<SqlFormat>> = [
  {
    value: 'time_series',
    label: 'Time series',
    description: 'A column "time", numbers, and texts that name the series',
  },
  { value: 'table', label: 'Table', description: 'The rows as they are' },
];

export function SqlEditor({ id, resources, query, onlyTable = false, onChange }: Props) {
  return (
    <>
      <InlineField
        label="Statement"
        labelWidth={LABEL_WIDTH}
        tooltip="One SQL statement that reads. Ctrl+Space completes, Ctrl+Enter runs."
        grow
      >
        <ExpressionEditor
          id={`${id}-sql`}
          label="SQL statement"
          language="sql"
          value={query.rawSql ?? ''}
          height={160}
          complete={(text, offset) =>
            completeSql(text, offset, {
              tables: () => resources.tables(),
              columns: (table) => resources.columns(table),
            })
          }
          onCommit={(rawSql) => onChange({ ...query, rawSql })}
        />
      </InlineField>
      {!onlyTable && (
        <InlineField label="Format" labelWidth={LABEL_WIDTH} htmlFor={`${id}-format`}>
          <RadioButtonGroup
            id={`${id}-format`}
            options={FORMATS}
            value={query.format ?? DEFAULT_FORMAT}
            onChange={(format) => onChange({ ...query, format })}
          />
        </InlineField>
      )}
      <MacroHelp />
    </>
  );
}
