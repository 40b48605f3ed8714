// The editor of a query for events: the tags that they are found by. Grafana shows the answer as annotations, or as a
// table in a panel.
import { InlineField, InlineSwitch, TagsInput } from '@grafana/ui';
import { type StatlineQuery } from '../types';
import { LABEL_WIDTH } from './layout';

interface Props {
  id: string;
  query: StatlineQuery;
  onChange: (query: StatlineQuery) => void;
}

export function EventsEditor({ id, query, onChange }: Props) {
  return (
    <>
      <InlineField
        label="Tags"
        labelWidth={LABEL_WIDTH}
        htmlFor={`${id}-tags`}
        tooltip="Events that have every one of these tags, such as deploy, host:web1 or env:$env; all events without any."
        grow
      >
        <TagsInput
          id={`${id}-tags`}
          tags={query.tags}
          placeholder="All events; a tag and Enter for fewer"
          addOnBlur
          onChange={(tags) => onChange({ ...query, tags })}
        />
      </InlineField>
      <InlineField
        label="Match any"
        labelWidth={LABEL_WIDTH}
        htmlFor={`${id}-match-any`}
        tooltip="Events that have at least one of the tags."
      >
        <InlineSwitch
          id={`${id}-match-any`}
          value={query.matchAny ?? false}
          onChange={(event) => onChange({ ...query, matchAny: event.currentTarget.checked })}
        />
      </InlineField>
    </>
  );
}
