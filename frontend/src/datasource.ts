// The datasource as Grafana knows it in the browser. Every query is answered by the plugin's backend; what happens here
// is what only the browser can do: put the dashboard's variables, ad hoc filters and time zone into the query.
import {
  type AdHocVariableFilter,
  type AnnotationSupport,
  type DataFrame,
  type DataQueryRequest,
  type DataQueryResponse,
  type DataSourceApi,
  type DataSourceGetTagKeysOptions,
  type DataSourceGetTagValuesOptions,
  type DataSourceInstanceSettings,
  getDefaultTimeRange,
  type LegacyMetricFindQueryOptions,
  type MetricFindValue,
  type ScopedVars,
  type TimeRange,
} from '@grafana/data';
import { DataSourceWithBackend, getTemplateSrv, type TemplateSrv } from '@grafana/runtime';
import { type DataQuery } from '@grafana/schema';
import { lastValueFrom, type Observable } from 'rxjs';
import { addTagFilters, interpolateGraphite, interpolateSql, interpolateTags } from './interpolation';
import { Resources } from './resources';
import { isComplete, queryMode, queryText, type StatlineOptions, type StatlineQuery } from './types';
import {
  optionsFromFrames,
  optionsFromTexts,
  parseGraphiteVariableQuery,
  StatlineVariableSupport,
  toVariableQuery,
} from './variables';

/** The part of a request, or of the older options of a variable's query, that finding a variable's options needs. */
interface FindContext {
  range?: TimeRange;
  scopedVars?: ScopedVars;
  timezone?: string;
}

/** What the queries of Grafana's own datasources have in common with ours. */
interface ForeignQuery extends DataQuery {
  target?: unknown;
  rawSql?: unknown;
  format?: unknown;
}

export class StatlineDatasource extends DataSourceWithBackend<StatlineQuery, StatlineOptions> {
  readonly resources = new Resources((path, params) => this.getResource(path, params));

  annotations: AnnotationSupport<StatlineQuery> = {
    getDefaultQuery: () => ({ queryType: 'events', tags: [] }),
  };

  constructor(
    instanceSettings: DataSourceInstanceSettings<StatlineOptions>,
    private readonly templateSrv: TemplateSrv = getTemplateSrv()
  ) {
    super(instanceSettings);
    this.variables = new StatlineVariableSupport(this);
  }

  query(request: DataQueryRequest<StatlineQuery>): Observable<DataQueryResponse> {
    const timezone = ianaTimezone(request.timezone);
    return super.query({ ...request, targets: request.targets.map((query) => ({ ...query, timezone })) });
  }

  filterQuery(query: StatlineQuery): boolean {
    return !query.hide && isComplete(query);
  }

  getDefaultQuery(): Partial<StatlineQuery> {
    return { queryType: 'graphite', target: '' };
  }

  getQueryDisplayText(query: StatlineQuery): string {
    return queryText(query);
  }

  applyTemplateVariables(query: StatlineQuery, scopedVars: ScopedVars, filters?: AdHocVariableFilter[]): StatlineQuery {
    switch (queryMode(query)) {
      case 'sql':
        return { ...query, rawSql: interpolateSql(query.rawSql ?? '', scopedVars, this.templateSrv) };
      case 'events':
        return { ...query, tags: interpolateTags(query.tags ?? [], scopedVars, this.templateSrv) };
      case 'graphite': {
        const target = interpolateGraphite(query.target ?? '', scopedVars, this.templateSrv);
        return { ...query, target: addTagFilters(target, filters) };
      }
    }
  }

  interpolateVariablesInQueries(
    queries: StatlineQuery[],
    scopedVars: ScopedVars,
    filters?: AdHocVariableFilter[]
  ): StatlineQuery[] {
    return queries.map((query) => ({
      ...this.applyTemplateVariables(query, scopedVars, filters),
      datasource: this.getRef(),
    }));
  }

  /** Keeps the text of queries when a panel moves here from Grafana's Graphite or PostgreSQL datasource. */
  async importQueries(queries: DataQuery[], _origin: DataSourceApi): Promise<StatlineQuery[]> {
    return queries.map((query: ForeignQuery) => {
      const { refId, hide, target, rawSql, format } = query;
      const common = { refId, hide, datasource: this.getRef() };
      return typeof rawSql === 'string' && rawSql !== ''
        ? { ...common, queryType: 'sql', rawSql, format: format === 'table' || format === 1 ? 'table' : 'time_series' }
        : { ...common, queryType: 'graphite', target: typeof target === 'string' ? target : '' };
    });
  }

  /** The options of a query variable. */
  async metricFindQuery(
    stored: StatlineQuery | string,
    options?: FindContext | LegacyMetricFindQueryOptions
  ): Promise<MetricFindValue[]> {
    const context: FindContext = options ?? {};
    const query = toVariableQuery(stored);
    if (!this.filterQuery({ ...query, hide: false })) {
      return [];
    }
    switch (queryMode(query)) {
      case 'sql':
        return this.sqlOptions(query, context);
      case 'graphite':
        return this.graphiteOptions(query, context);
      case 'events':
        // No variable's editor writes such a query.
        return [];
    }
  }

  async getTagKeys(options?: DataSourceGetTagKeysOptions<StatlineQuery>): Promise<MetricFindValue[]> {
    return optionsFromTexts(await this.resources.tags(options?.timeRange));
  }

  async getTagValues({ key, timeRange }: DataSourceGetTagValuesOptions<StatlineQuery>): Promise<MetricFindValue[]> {
    return optionsFromTexts(await this.resources.tagValues(key, '', timeRange));
  }

  private async graphiteOptions(query: StatlineQuery, context: FindContext): Promise<MetricFindValue[]> {
    const text = interpolateGraphite(query.target ?? '', context.scopedVars, this.templateSrv);
    const question = parseGraphiteVariableQuery(text);
    switch (question.kind) {
      case 'tags':
        return optionsFromTexts(await this.resources.tags(context.range));
      case 'tagValues':
        return optionsFromTexts(await this.resources.tagValues(question.tag, question.prefix, context.range));
      case 'find': {
        const nodes = await this.resources.find(question.pattern, context.range);
        return optionsFromTexts(nodes.map((node) => node.text));
      }
    }
  }

  private async sqlOptions(query: StatlineQuery, context: FindContext): Promise<MetricFindValue[]> {
    const range = context.range ?? getDefaultTimeRange();
    const response = await lastValueFrom(
      this.query({
        app: 'dashboard',
        requestId: `statline-variable-${query.refId}`,
        interval: '1m',
        intervalMs: 60_000,
        startTime: Date.now(),
        timezone: context.timezone ?? 'browser',
        range,
        scopedVars: context.scopedVars ?? {},
        targets: [{ ...query, hide: false, format: 'table', datasource: this.getRef() }],
      })
    );
    const error = response.errors?.[0];
    if (error) {
      throw new Error(error.message ?? 'the query of the variable failed');
    }
    const frames: DataFrame[] = response.data;
    return optionsFromFrames(frames);
  }
}

/** The name that a backend can look up: `browser`, or nothing, stands for the zone that the browser is in. */
export function ianaTimezone(timezone: string | undefined): string {
  if (timezone && timezone !== 'browser') {
    return timezone;
  }
  return Intl.DateTimeFormat().resolvedOptions().timeZone || 'utc';
}
