// How to reach the sidecar, which answers Graphite queries.
import { Field, FieldSet, Switch } from '@grafana/ui';
import { type SidecarOptions } from '../types';
import { type SecretSettings, SecretSetting, TextSetting, TlsSettings } from './settingFields';

interface Props {
  sidecar: SidecarOptions;
  secrets: SecretSettings;
  onChange: (change: Partial<SidecarOptions>) => void;
}

export function SidecarSettings({ sidecar, secrets, onChange }: Props) {
  return (
    <FieldSet label="Statline sidecar" data-testid="statline-sidecar">
      <TextSetting
        id="statline-sidecar-address"
        label="Address"
        description="Where statlined answers Arrow Flight; https:// for TLS. Empty: no Graphite queries."
        placeholder="http://127.0.0.1:8815"
        value={sidecar.address}
        error={addressError(sidecar.address)}
        onChange={(address) => onChange({ address })}
      />
      <SecretSetting
        id="statline-sidecar-token"
        label="Token"
        description="Sent with every question, when the sidecar asks for one."
        name="sidecarToken"
        secrets={secrets}
      />
      <TextSetting
        id="statline-sidecar-tls-server-name"
        label="TLS server name"
        description="The name in the server's certificate, when it differs from the address."
        value={sidecar.tlsServerName}
        onChange={(tlsServerName) => onChange({ tlsServerName })}
      />
      <Field label="Skip TLS verification" description="Takes any certificate. Only for trying things out.">
        <Switch
          id="statline-sidecar-tls-skip-verify"
          value={sidecar.tlsSkipVerify ?? false}
          onChange={(event) => onChange({ tlsSkipVerify: event.currentTarget.checked })}
        />
      </Field>
      <TlsSettings
        id="statline-sidecar"
        secrets={secrets}
        caCert="sidecarTlsCaCert"
        clientCert="sidecarTlsClientCert"
        clientKey="sidecarTlsClientKey"
      />
    </FieldSet>
  );
}

function addressError(address: string | undefined): string | undefined {
  if (!address || /^https?:\/\/[^/\s]+\/?$/.test(address)) {
    return undefined;
  }
  return 'Write it as http://host:port, or https://host:port for TLS.';
}
