// Query variables: a Graphite pattern answered by the metric tree or by tags, or an SQL statement. The stored query is
// a StatlineQuery whose `target` holds the pattern; a bare string, as Graphite dashboards have it, is a pattern too.
import {
  CustomVariableSupport,
  type DataFrame,
  type DataQueryRequest,
  type DataQueryResponse,
  type MetricFindValue,
} from '@grafana/data';
import { from, map, type Observable } from 'rxjs';
import { VariableQueryEditor } from './components/VariableQueryEditor';
import type { StatlineDatasource } from './datasource';
import { type StatlineQuery } from './types';

const VARIABLE_REF_ID = 'StatlineVariable';

export class StatlineVariableSupport extends CustomVariableSupport<StatlineDatasource, StatlineQuery> {
  editor = VariableQueryEditor;

  constructor(private readonly datasource: StatlineDatasource) {
    super();
  }

  query = (request: DataQueryRequest<StatlineQuery>): Observable<DataQueryResponse> => {
    const [query] = request.targets;
    return from(this.datasource.metricFindQuery(query, request)).pipe(map((data) => ({ data })));
  };

  getDefaultQuery(): Partial<StatlineQuery> {
    return { queryType: 'graphite', target: '' };
  }
}

/** Reads every form in which a variable's query may be stored. */
export function toVariableQuery(stored: unknown): StatlineQuery {
  if (typeof stored === 'string') {
    return { refId: VARIABLE_REF_ID, queryType: 'graphite', target: stored };
  }
  const query: Partial<StatlineQuery> & { query?: unknown } = stored && typeof stored === 'object' ? stored : {};
  const target = query.target ?? (typeof query.query === 'string' ? query.query : undefined);
  return { ...query, refId: query.refId || VARIABLE_REF_ID, target };
}

export type GraphiteVariableQuery =
  { kind: 'find'; pattern: string } | { kind: 'tags' } | { kind: 'tagValues'; tag: string; prefix: string };

/** `tags()` and `tag_values(tag[, prefix])` are questions about tags; anything else is a pattern. */
export function parseGraphiteVariableQuery(text: string): GraphiteVariableQuery {
  const trimmed = text.trim();
  if (/^tags\(\s*\)$/.test(trimmed)) {
    return { kind: 'tags' };
  }
  const values = /^tag_values\(\s*([^\s,()]+)\s*(?:,\s*([^\s,()]*)\s*)?\)$/.exec(trimmed);
  if (values) {
    return { kind: 'tagValues', tag: unquote(values[1]), prefix: unquote(values[2] ?? '') };
  }
  return { kind: 'find', pattern: trimmed };
}

function unquote(text: string): string {
  return text.replace(/^(["'])(.*)\1$/, '$2');
}

/**
 * The options that an SQL statement's rows give: columns `__text` and `__value` when there are both, as in Grafana's
 * SQL datasources, and otherwise every value of every column. An option appears once.
 */
export function optionsFromFrames(frames: DataFrame[]): MetricFindValue[] {
  const options = frames.flatMap((frame) => {
    const texts = frame.fields.find((field) => field.name === '__text');
    const values = frame.fields.find((field) => field.name === '__value');
    if (texts && values) {
      return Array.from({ length: frame.length }, (_, row) => toOption(texts.values[row], values.values[row]));
    }
    return frame.fields.flatMap((field) => field.values.map((value) => toOption(value, value)));
  });
  return onceEach(options.filter((option) => option !== undefined));
}

export function optionsFromTexts(texts: string[]): MetricFindValue[] {
  return onceEach(texts.map((text) => ({ text, value: text })));
}

function toOption(text: unknown, value: unknown): MetricFindValue | undefined {
  if (text === null || text === undefined) {
    return undefined;
  }
  return { text: String(text), value: String(value ?? text) };
}

function onceEach(options: MetricFindValue[]): MetricFindValue[] {
  return [...new Map(options.map((option) => [option.text, option])).values()];
}
