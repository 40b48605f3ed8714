// The shapes that the browser, Grafana's storage and the plugin's backend share: a query, a datasource's settings, and
// what the backend's resources answer. A key that is not named here belongs to someone else and is kept as it is.
import { type DataSourceJsonData } from '@grafana/data';
import { type DataQuery } from '@grafana/schema';

export type QueryMode = 'graphite' | 'sql' | 'events';

export type SqlFormat = 'time_series' | 'table';

export interface StatlineQuery extends DataQuery {
  /** Absent in a query means `graphite`. */
  queryType?: QueryMode;
  /** The Graphite expression. */
  target?: string;
  /** The SQL text, with the macros of Grafana's PostgreSQL datasource. */
  rawSql?: string;
  /** SQL only. Absent means `time_series`. */
  format?: SqlFormat;
  /** Events only: the tags that they have. None, or absent, means all events. */
  tags?: string[];
  /** Events only: one of the tags is enough. */
  matchAny?: boolean;
  /** The panel's time zone, an IANA name or `utc`; written by `query()` at every run, never stored. */
  timezone?: string;
}

export type SslMode = 'disable' | 'require' | 'verify-ca' | 'verify-full';

export interface SidecarOptions {
  /** `http://host:port`, or `https://host:port` for TLS. */
  address?: string;
  tlsSkipVerify?: boolean;
  tlsServerName?: string;
}

export interface PostgresOptions {
  /** `host:port`, or the directory of a unix socket. */
  host?: string;
  database?: string;
  user?: string;
  sslmode?: SslMode;
  maxOpenConns?: number;
  statementTimeoutSeconds?: number;
  rowLimit?: number;
}

export interface StatlineOptions extends DataSourceJsonData {
  sidecar?: SidecarOptions;
  postgres?: PostgresOptions;
}

export interface StatlineSecureOptions {
  sidecarToken?: string;
  sidecarTlsCaCert?: string;
  sidecarTlsClientCert?: string;
  sidecarTlsClientKey?: string;
  postgresPassword?: string;
  postgresTlsCaCert?: string;
  postgresTlsClientCert?: string;
  postgresTlsClientKey?: string;
}

/** One name at one level of the metric tree. */
export interface MetricNode {
  /** The name at its own level, such as `cpu`. */
  text: string;
  /** The whole path, such as `servers.cpu`. */
  id: string;
  /** A series has this path. */
  leaf: boolean;
  /** More names follow below it. */
  expandable: boolean;
}

export interface FunctionParameter {
  name: string;
  type: string;
  required?: boolean;
  multiple?: boolean;
  default?: string | number | boolean | null;
  options?: Array<string | number>;
}

export interface GraphiteFunction {
  name: string;
  group?: string;
  description?: string;
  params?: FunctionParameter[];
}

export interface SqlTable {
  schema: string;
  name: string;
}

export interface SqlColumn {
  name: string;
  type: string;
}

/** The language that a query is in; the one place that knows what an absent `queryType` means. */
export function queryMode(query: Partial<StatlineQuery>): QueryMode {
  return query.queryType === 'sql' || query.queryType === 'events' ? query.queryType : 'graphite';
}

/** The text of the language that a query is in. */
export function queryText(query: Partial<StatlineQuery>): string {
  switch (queryMode(query)) {
    case 'sql':
      return query.rawSql ?? '';
    case 'events':
      return ['events', ...(query.tags ?? [])].join(' ');
    case 'graphite':
      return query.target ?? '';
  }
}

/** Whether a query asks for anything. Without tags, all events are asked for. */
export function isComplete(query: Partial<StatlineQuery>): boolean {
  return queryText(query).trim() !== '';
}
