// What Grafana loads: the datasource and its editors.
import { DataSourcePlugin } from '@grafana/data';
import { ConfigEditor } from './components/ConfigEditor';
import { QueryEditor } from './components/QueryEditor';
import { StatlineDatasource } from './datasource';
import { type StatlineOptions, type StatlineQuery, type StatlineSecureOptions } from './types';

export const plugin = new DataSourcePlugin<StatlineDatasource, StatlineQuery, StatlineOptions, StatlineSecureOptions>(
  StatlineDatasource
)
  .setConfigEditor(ConfigEditor)
  .setQueryEditor(QueryEditor);
