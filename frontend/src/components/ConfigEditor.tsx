// The page of a datasource's settings: the sidecar and PostgreSQL, each of which may be left empty.
import { type DataSourcePluginOptionsEditorProps, updateDatasourcePluginResetOption } from '@grafana/data';
import { type PostgresOptions, type SidecarOptions, type StatlineOptions, type StatlineSecureOptions } from '../types';
import { PostgresSettings } from './PostgresSettings';
import { type SecretKey, type SecretSettings } from './settingFields';
import { SidecarSettings } from './SidecarSettings';

export type Props = DataSourcePluginOptionsEditorProps<StatlineOptions, StatlineSecureOptions>;

export function ConfigEditor(props: Props) {
  const { options, onOptionsChange } = props;
  const { jsonData, secureJsonData, secureJsonFields } = options;
  const { sidecar = {}, postgres = {} } = jsonData;

  const changeSidecar = (change: Partial<SidecarOptions>) =>
    onOptionsChange({ ...options, jsonData: { ...jsonData, sidecar: { ...sidecar, ...change } } });
  const changePostgres = (change: Partial<PostgresOptions>) =>
    onOptionsChange({ ...options, jsonData: { ...jsonData, postgres: { ...postgres, ...change } } });

  const secrets: SecretSettings = {
    isConfigured: (key: SecretKey) => Boolean(secureJsonFields?.[key]),
    value: (key: SecretKey) => secureJsonData?.[key] ?? '',
    onChange: (key: SecretKey, value: string) =>
      onOptionsChange({ ...options, secureJsonData: { ...secureJsonData, [key]: value } }),
    onReset: (key: SecretKey) => updateDatasourcePluginResetOption(props, key),
  };

  return (
    <>
      <SidecarSettings sidecar={sidecar} secrets={secrets} onChange={changeSidecar} />
      <PostgresSettings postgres={postgres} secrets={secrets} onChange={changePostgres} />
    </>
  );
}
