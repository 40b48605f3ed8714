// The Graphite half of the query editor: one expression, completed from the sidecar's metrics and functions.
import { type TimeRange } from '@grafana/data';
import { InlineField } from '@grafana/ui';
import { completeGraphite } from '../completion/graphite';
import { GRAPHITE_LANGUAGE } from '../completion/monaco';
import { type Resources } from '../resources';
import { type StatlineQuery } from '../types';
import { ExpressionEditor } from './ExpressionEditor';
import { LABEL_WIDTH } from './layout';

interface Props {
  id: string;
  resources: Resources;
  query: StatlineQuery;
  /** Completion offers the names and tags of series that have points in this range. */
  range?: TimeRange;
  label?: string;
  tooltip?: string;
  onChange: (query: StatlineQuery) => void;
}

export function GraphiteEditor({
  id,
  resources,
  query,
  range,
  label = 'Target',
  tooltip = 'A Graphite expression. Ctrl+Space completes, Ctrl+Enter runs.',
  onChange,
}: Props) {
  return (
    <InlineField label={label} labelWidth={LABEL_WIDTH} tooltip={tooltip} grow>
      <ExpressionEditor
        id={`${id}-target`}
        label="Graphite expression"
        language={GRAPHITE_LANGUAGE}
        value={query.target ?? ''}
        height={64}
        complete={(text, offset) =>
          completeGraphite(text, offset, {
            find: (pattern) => resources.find(pattern, range),
            functions: () => resources.functions(),
            tags: () => resources.tags(range),
            tagValues: (tag, prefix) => resources.tagValues(tag, prefix, range),
          })
        }
        onCommit={(target) => onChange({ ...query, target })}
      />
    </InlineField>
  );
}
