import { type DataSourceSettings } from '@grafana/data';
import { fireEvent, render, screen, within } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { useState } from 'react';
import { type StatlineOptions, type StatlineSecureOptions } from '../types';
import { ConfigEditor } from './ConfigEditor';

type Settings = DataSourceSettings<StatlineOptions, StatlineSecureOptions>;

function settings(change: Partial<Settings> = {}): Settings {
  return {
    id: 1,
    uid: 'statline',
    orgId: 1,
    name: 'Statline',
    type: 'statline-stats-datasource',
    typeName: 'Statline',
    typeLogoUrl: '',
    access: 'proxy',
    url: '',
    user: '',
    database: '',
    basicAuth: false,
    basicAuthUser: '',
    isDefault: false,
    withCredentials: false,
    readOnly: false,
    jsonData: {},
    secureJsonFields: {},
    ...change,
  };
}

/** Shows the editor as Grafana's settings page does, which keeps what it is told; returns how to read that. */
function show(initial: Settings): () => Settings {
  let kept = initial;
  function Page() {
    const [options, setOptions] = useState(initial);
    kept = options;
    return <ConfigEditor options={options} onOptionsChange={setOptions} />;
  }
  render(<Page />);
  return () => kept;
}

/** The control of a label; the label's text goes on with a description. */
const field = (label: string) => screen.getByLabelText((text) => text.startsWith(label));

const write = (control: HTMLElement, value: string) => fireEvent.change(control, { target: { value } });

test.each([
  ['Address', 'https://stats.example:8815', { sidecar: { address: 'https://stats.example:8815' } }],
  ['TLS server name', 'stats', { sidecar: { tlsServerName: 'stats' } }],
  ['Host', '/run/postgresql', { postgres: { host: '/run/postgresql' } }],
  ['Database', 'community', { postgres: { database: 'community' } }],
  ['User', 'grafana', { postgres: { user: 'grafana' } }],
  ['Max open connections', '5', { postgres: { maxOpenConns: 5 } }],
  ['Statement timeout (seconds)', '60', { postgres: { statementTimeoutSeconds: 60 } }],
  ['Row limit', '5000', { postgres: { rowLimit: 5000 } }],
])('%s is written to its place in jsonData', (label, typed, jsonData) => {
  const kept = show(settings());
  write(field(label), typed);
  expect(kept().jsonData).toEqual(jsonData);
});

test.each<[keyof StatlineSecureOptions, string]>([
  ['sidecarToken', 'statline-sidecar-token'],
  ['sidecarTlsCaCert', 'statline-sidecar-tls-ca-cert'],
  ['sidecarTlsClientCert', 'statline-sidecar-tls-client-cert'],
  ['sidecarTlsClientKey', 'statline-sidecar-tls-client-key'],
  ['postgresPassword', 'statline-postgres-password'],
  ['postgresTlsCaCert', 'statline-postgres-tls-ca-cert'],
  ['postgresTlsClientCert', 'statline-postgres-tls-client-cert'],
  ['postgresTlsClientKey', 'statline-postgres-tls-client-key'],
])('%s is written to secureJsonData and nowhere else', (key, id) => {
  const kept = show(settings());
  write(screen.getByTestId(id), 's3cret');
  expect(kept().secureJsonData).toEqual({ [key]: 's3cret' });
  expect(kept().jsonData).toEqual({});
});

test('a saved secret is not shown; reset forgets it, and a new one can be written', async () => {
  const kept = show(settings({ secureJsonFields: { sidecarToken: true, postgresPassword: true } }));
  const password = screen.getByTestId('statline-postgres-password');
  expect(password).toBeDisabled();

  const postgres = within(screen.getByTestId('statline-postgres'));
  await userEvent.click(postgres.getByRole('button', { name: /reset/i }));
  expect(kept().secureJsonFields).toEqual({ sidecarToken: true, postgresPassword: false });
  expect(kept().secureJsonData).toEqual({ postgresPassword: '' });

  write(screen.getByTestId('statline-postgres-password'), 'new');
  expect(kept().secureJsonData).toEqual({ postgresPassword: 'new' });
});

test('the TLS mode is verify-full until another is chosen', async () => {
  const kept = show(settings());
  const mode = screen.getByTestId('statline-postgres-sslmode');
  expect(mode).toHaveValue('verify-full');
  await userEvent.click(mode);
  await userEvent.click(await screen.findByRole('option', { name: /^disable/ }));
  expect(kept().jsonData).toEqual({ postgres: { sslmode: 'disable' } });
});

test('verification is skipped only when switched off', async () => {
  const kept = show(settings());
  const skip = field('Skip TLS verification');
  expect(skip).not.toBeChecked();
  await userEvent.click(skip);
  expect(kept().jsonData).toEqual({ sidecar: { tlsSkipVerify: true } });
});

test('an emptied limit is absent, so that the default holds', () => {
  const kept = show(settings({ jsonData: { postgres: { rowLimit: 7, maxOpenConns: 3 } } }));
  write(field('Row limit'), '');
  expect(JSON.parse(JSON.stringify(kept().jsonData))).toEqual({ postgres: { maxOpenConns: 3 } });
});

test('what the editor does not know stays', () => {
  const jsonData = { other: 1, sidecar: { address: 'a', later: true }, postgres: { host: 'h' } } as StatlineOptions;
  const kept = show(settings({ jsonData }));
  write(field('Database'), 'd');
  write(field('TLS server name'), 's');
  expect(kept().jsonData).toEqual({
    other: 1,
    sidecar: { address: 'a', later: true, tlsServerName: 's' },
    postgres: { host: 'h', database: 'd' },
  });
});

test.each([
  ['127.0.0.1:8815', true],
  ['http://127.0.0.1:8815', false],
  ['https://stats.example:8815/', false],
  ['', false],
])('the address %p is questioned: %p', (address, questioned) => {
  show(settings({ jsonData: { sidecar: { address } } }));
  expect(screen.queryAllByText(/Write it as http:\/\/host:port/)).toHaveLength(questioned ? 1 : 0);
});
