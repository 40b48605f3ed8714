// How to reach PostgreSQL, which answers SQL queries, and how much one query may take.
import { Combobox, type ComboboxOption, Field, FieldSet } from '@grafana/ui';
import { type PostgresOptions, type SslMode } from '../types';
import { SETTING_WIDTH } from './layout';
import { NumberSetting, SecretSetting, type SecretSettings, TextSetting, TlsSettings } from './settingFields';

interface Props {
  postgres: PostgresOptions;
  secrets: SecretSettings;
  onChange: (change: Partial<PostgresOptions>) => void;
}

const DEFAULT_SSL_MODE: SslMode = 'verify-full';

const SSL_MODES: Array<ComboboxOption<SslMode>> = [
  { value: 'disable', label: 'disable', description: 'No TLS' },
  { value: 'require', label: 'require', description: 'TLS, whatever the certificate' },
  { value: 'verify-ca', label: 'verify-ca', description: 'TLS, with a certificate that the CA signed' },
  { value: 'verify-full', label: 'verify-full', description: "The same, and in the host's name" },
];

export function PostgresSettings({ postgres, secrets, onChange }: Props) {
  return (
    <FieldSet label="PostgreSQL" data-testid="statline-postgres">
      <TextSetting
        id="statline-postgres-host"
        label="Host"
        description="host:port, or the directory of a unix socket. Empty: no SQL queries."
        placeholder="localhost:5432"
        value={postgres.host}
        error={hostError(postgres.host)}
        onChange={(host) => onChange({ host })}
      />
      <TextSetting
        id="statline-postgres-database"
        label="Database"
        value={postgres.database}
        onChange={(database) => onChange({ database })}
      />
      <TextSetting
        id="statline-postgres-user"
        label="User"
        description="A role that may only read what the panels show."
        value={postgres.user}
        onChange={(user) => onChange({ user })}
      />
      <SecretSetting id="statline-postgres-password" label="Password" name="postgresPassword" secrets={secrets} />
      <Field label="TLS mode" description="sslmode, in PostgreSQL's words.">
        <Combobox
          id="statline-postgres-sslmode"
          data-testid="statline-postgres-sslmode"
          width={SETTING_WIDTH}
          options={SSL_MODES}
          value={postgres.sslmode ?? DEFAULT_SSL_MODE}
          onChange={({ value }) => onChange({ sslmode: value })}
        />
      </Field>
      <TlsSettings
        id="statline-postgres"
        secrets={secrets}
        caCert="postgresTlsCaCert"
        clientCert="postgresTlsClientCert"
        clientKey="postgresTlsClientKey"
      />
      <NumberSetting
        id="statline-postgres-max-open-conns"
        label="Max open connections"
        placeholder="10"
        value={postgres.maxOpenConns}
        onChange={(maxOpenConns) => onChange({ maxOpenConns })}
      />
      <NumberSetting
        id="statline-postgres-statement-timeout"
        label="Statement timeout (seconds)"
        description="PostgreSQL ends a statement that takes longer."
        placeholder="30"
        value={postgres.statementTimeoutSeconds}
        onChange={(statementTimeoutSeconds) => onChange({ statementTimeoutSeconds })}
      />
      <NumberSetting
        id="statline-postgres-row-limit"
        label="Row limit"
        description="A query that has more rows is cut off there, and says so."
        placeholder="1000000"
        value={postgres.rowLimit}
        onChange={(rowLimit) => onChange({ rowLimit })}
      />
    </FieldSet>
  );
}

function hostError(host: string | undefined): string | undefined {
  return host?.includes('://') ? 'Write it as host:port, without a scheme.' : undefined;
}
