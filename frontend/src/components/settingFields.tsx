// The controls that settings are made of, each with its label and an id.
import { Field, Input, SecretInput, SecretTextArea } from '@grafana/ui';
import { type StatlineSecureOptions } from '../types';
import { SETTING_WIDTH } from './layout';

export type SecretKey = keyof StatlineSecureOptions;

/** The secrets of a datasource: what was saved can be replaced and reset, and never comes back to the browser. */
export interface SecretSettings {
  isConfigured: (key: SecretKey) => boolean;
  /** What was typed since the last save. */
  value: (key: SecretKey) => string;
  onChange: (key: SecretKey, value: string) => void;
  onReset: (key: SecretKey) => void;
}

interface SettingProps {
  id: string;
  label: string;
  description?: string;
  placeholder?: string;
}

interface TextSettingProps extends SettingProps {
  value?: string;
  /** What is wrong with the value. */
  error?: string;
  onChange: (value: string) => void;
}

export function TextSetting({ id, label, description, placeholder, value, error, onChange }: TextSettingProps) {
  return (
    <Field label={label} description={description} invalid={error !== undefined} error={error}>
      <Input
        id={id}
        width={SETTING_WIDTH}
        value={value ?? ''}
        placeholder={placeholder}
        spellCheck={false}
        onChange={(event) => onChange(event.currentTarget.value)}
      />
    </Field>
  );
}

interface NumberSettingProps extends SettingProps {
  value?: number;
  onChange: (value: number | undefined) => void;
}

/** A whole number of at least one; left empty it is absent, and the backend's default holds. */
export function NumberSetting({ id, label, description, placeholder, value, onChange }: NumberSettingProps) {
  return (
    <Field label={label} description={description}>
      <Input
        id={id}
        type="number"
        min={1}
        step={1}
        width={SETTING_WIDTH / 3}
        value={value ?? ''}
        placeholder={placeholder}
        onChange={(event) => {
          const written = Math.trunc(event.currentTarget.valueAsNumber);
          onChange(written >= 1 ? written : undefined);
        }}
      />
    </Field>
  );
}

interface SecretSettingProps extends SettingProps {
  name: SecretKey;
  secrets: SecretSettings;
}

export function SecretSetting({ id, label, description, placeholder, name, secrets }: SecretSettingProps) {
  return (
    <Field label={label} description={description}>
      <SecretInput
        id={id}
        data-testid={id}
        width={SETTING_WIDTH}
        autoComplete="new-password"
        placeholder={placeholder}
        isConfigured={secrets.isConfigured(name)}
        value={secrets.value(name)}
        onChange={(event) => secrets.onChange(name, event.currentTarget.value)}
        onReset={() => secrets.onReset(name)}
      />
    </Field>
  );
}

export function SecretTextSetting({ id, label, description, placeholder, name, secrets }: SecretSettingProps) {
  return (
    <Field label={label} description={description}>
      <SecretTextArea
        id={id}
        data-testid={id}
        cols={SETTING_WIDTH}
        rows={3}
        placeholder={placeholder}
        isConfigured={secrets.isConfigured(name)}
        value={secrets.value(name)}
        onChange={(event) => secrets.onChange(name, event.currentTarget.value)}
        onReset={() => secrets.onReset(name)}
      />
    </Field>
  );
}

const CERTIFICATE_BEGINS = '-----BEGIN CERTIFICATE-----';
const PRIVATE_KEY_BEGINS = '-----BEGIN PRIVATE KEY-----';

interface TlsSettingsProps {
  id: string;
  secrets: SecretSettings;
  caCert: SecretKey;
  clientCert: SecretKey;
  clientKey: SecretKey;
}

/** The certificates of one end, as PEM text. */
export function TlsSettings({ id, secrets, caCert, clientCert, clientKey }: TlsSettingsProps) {
  return (
    <>
      <SecretTextSetting
        id={`${id}-tls-ca-cert`}
        label="CA certificate"
        description="Signs the server's certificate. Empty: the certificates that the system trusts."
        placeholder={CERTIFICATE_BEGINS}
        name={caCert}
        secrets={secrets}
      />
      <SecretTextSetting
        id={`${id}-tls-client-cert`}
        label="Client certificate"
        description="With its key, for a server that asks clients for one."
        placeholder={CERTIFICATE_BEGINS}
        name={clientCert}
        secrets={secrets}
      />
      <SecretTextSetting
        id={`${id}-tls-client-key`}
        label="Client key"
        placeholder={PRIVATE_KEY_BEGINS}
        name={clientKey}
        secrets={secrets}
      />
    </>
  );
}
