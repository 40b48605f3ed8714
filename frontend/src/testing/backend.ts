// A backend that answers what a test tells it to and remembers what it was asked, behind Grafana's own client code:
// DataSourceWithBackend builds the requests and reads the answers as it does in Grafana.
import { dateTime, type DataQueryRequest, type DataSourceInstanceSettings, PluginType } from '@grafana/data';
import {
  type BackendSrv,
  type BackendSrvRequest,
  type DataSourceSrv,
  setBackendSrv,
  setDataSourceSrv,
  type TemplateSrv,
} from '@grafana/runtime';
import { of } from 'rxjs';
import { StatlineDatasource } from '../datasource';
import { type StatlineOptions, type StatlineQuery } from '../types';
import { templateSrvWith } from './templateSrv';

export const SETTINGS: DataSourceInstanceSettings<StatlineOptions> = {
  id: 7,
  uid: 'statline',
  type: 'statline-stats-datasource',
  name: 'Statline',
  access: 'proxy',
  readOnly: false,
  jsonData: {},
  meta: {
    id: 'statline-stats-datasource',
    name: 'Statline',
    type: PluginType.datasource,
    module: '',
    baseUrl: '',
    info: {
      author: { name: 'Statline' },
      description: '',
      links: [],
      logos: { small: '', large: '' },
      screenshots: [],
      updated: '',
      version: '',
    },
  },
};

/** What was asked, without the parts that only Grafana reads. */
export interface Asked {
  url: string;
  params?: unknown;
  data?: { queries: StatlineQuery[] };
}

export interface Backend {
  asked: Asked[];
  datasource: StatlineDatasource;
}

/** `answer` gets a request and returns the body of its answer. */
export function backendAnswering(
  answer: (request: Asked) => unknown = () => ({ results: {} }),
  templateSrv: TemplateSrv = templateSrvWith({})
): Backend {
  const asked: Asked[] = [];
  const fetch = (request: BackendSrvRequest) => {
    const { url, params, data } = request;
    asked.push({ url, params, data });
    return of({ data: answer({ url, params, data }), ok: true, status: 200, statusText: 'OK' });
  };
  setBackendSrv({ fetch } as unknown as BackendSrv);
  setDataSourceSrv({ getInstanceSettings: () => SETTINGS } as unknown as DataSourceSrv);
  return { asked, datasource: new StatlineDatasource(SETTINGS, templateSrv) };
}

export function requestFor(
  targets: StatlineQuery[],
  rest: Partial<DataQueryRequest<StatlineQuery>> = {}
): DataQueryRequest<StatlineQuery> {
  const from = dateTime('2026-11-22T10:00:30Z');
  const to = dateTime('2026-11-22T11:00:30Z');
  return {
    app: 'dashboard',
    requestId: 'Q1',
    interval: '10s',
    intervalMs: 10_000,
    range: { from, to, raw: { from, to } },
    scopedVars: {},
    startTime: 0,
    timezone: 'utc',
    targets,
    ...rest,
  };
}
