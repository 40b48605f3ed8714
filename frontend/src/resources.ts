// What the backend's resources know, asked for once and remembered for a while: completion asks the same question at
// every key, and the answers change slowly. A question that failed is forgotten, so that it can be asked again.
import { type TimeRange } from '@grafana/data';
import { type GraphiteFunction, type MetricNode, type SqlColumn, type SqlTable } from './types';

type GetResource = (path: string, params?: Record<string, string>) => Promise<unknown>;

const MINUTE_MS = 60_000;
const REMEMBERED_ANSWERS = 500;

export class Resources {
  private readonly answers = new Map<string, { until: number; answer: Promise<unknown> }>();

  constructor(private readonly getResource: GetResource) {}

  /** The names that match a Graphite pattern in the range, at the pattern's last level. */
  find(pattern: string, range?: TimeRange): Promise<MetricNode[]> {
    return this.ask<MetricNode[]>('find', { query: pattern, ...span(range) });
  }

  async functions(): Promise<GraphiteFunction[]> {
    const { functions } = await this.ask<{ functions: Record<string, GraphiteFunction> }>('functions');
    return Object.entries(functions).map(([name, description]) => ({ ...description, name }));
  }

  /** The tags of the series that have points in the range. */
  tags(range?: TimeRange): Promise<string[]> {
    return this.ask<string[]>('tags', span(range));
  }

  tagValues(tag: string, prefix: string, range?: TimeRange): Promise<string[]> {
    return this.ask<string[]>('tags/values', { tag, prefix, ...span(range) });
  }

  tables(): Promise<SqlTable[]> {
    return this.ask<SqlTable[]>('tables');
  }

  columns(table: SqlTable): Promise<SqlColumn[]> {
    return this.ask<SqlColumn[]>('columns', { schema: table.schema, table: table.name });
  }

  private ask<T>(path: string, params?: Record<string, string>): Promise<T> {
    const key = JSON.stringify([path, params]);
    const remembered = this.answers.get(key);
    if (remembered && Date.now() < remembered.until) {
      return remembered.answer as Promise<T>;
    }

    const answer = this.getResource(path, params) as Promise<T>;
    const entry = { until: Date.now() + MINUTE_MS, answer };
    this.answers.delete(key);
    this.answers.set(key, entry);
    this.forgetOldest();
    answer.catch(() => {
      if (this.answers.get(key) === entry) {
        this.answers.delete(key);
      }
    });
    return answer;
  }

  private forgetOldest() {
    for (const key of this.answers.keys()) {
      if (this.answers.size <= REMEMBERED_ANSWERS) {
        return;
      }
      this.answers.delete(key);
    }
  }
}

/** Whole minutes, so that a range that slides with the clock asks the same question for a while. */
function span(range: TimeRange | undefined): Record<string, string> {
  if (!range) {
    return {};
  }
  return {
    from: String(Math.floor(range.from.valueOf() / MINUTE_MS) * MINUTE_MS),
    until: String(Math.ceil(range.to.valueOf() / MINUTE_MS) * MINUTE_MS),
  };
}
