//! What an operator entered in the datasource's settings, read and checked.
//!
//! `jsonData` holds two halves, `sidecar` and `postgres`; secrets come apart from it. A half that is empty is off, and a
//! query that needs it says so.

use std::time::Duration;

use grafana_plugin::{DataSourceSettings, Secrets};
use serde::Deserialize;
use statline_flight::ClientSettings;
use thiserror::Error;

use crate::sql::{PostgresSettings, SslMode};

/// Why the settings cannot be used, in one line.
#[derive(Debug, Error)]
pub enum SettingsError {
    /// Not the JSON that it should be.
    #[error("the datasource's settings cannot be read: {0}")]
    Json(#[from] serde_json::Error),
    /// A value that cannot work.
    #[error("{0}")]
    Invalid(String),
}

/// Both halves. An absent one is not configured.
#[derive(Debug)]
pub struct Settings {
    /// How the sidecar is reached.
    pub sidecar: Option<ClientSettings>,
    /// How PostgreSQL is reached.
    pub postgres: Option<PostgresSettings>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Json {
    sidecar: SidecarJson,
    postgres: PostgresJson,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct SidecarJson {
    address: String,
    tls_skip_verify: bool,
    tls_server_name: String,
}

#[derive(Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PostgresJson {
    host: String,
    database: String,
    user: String,
    sslmode: String,
    max_open_conns: u32,
    statement_timeout_seconds: u64,
    row_limit: usize,
}

impl Default for PostgresJson {
    fn default() -> Self {
        Self {
            host: String::new(),
            database: String::new(),
            user: String::new(),
            sslmode: String::new(),
            max_open_conns: 10,
            statement_timeout_seconds: 30,
            row_limit: 1_000_000,
        }
    }
}

impl Settings {
    /// Reads what Grafana sends with each request.
    ///
    /// # Errors
    /// When it is not what the config editor writes, or a value cannot work.
    pub fn read(given: &DataSourceSettings) -> Result<Self, SettingsError> {
        let json: Json = given.parse()?;
        Ok(Self { sidecar: sidecar(json.sidecar, &given.secrets), postgres: postgres(json.postgres, &given.secrets)? })
    }
}

fn sidecar(json: SidecarJson, secrets: &Secrets) -> Option<ClientSettings> {
    let address = json.address.trim();
    if address.is_empty() {
        return None;
    }
    let secret = |name| secrets.get(name).map(ToOwned::to_owned);
    Some(ClientSettings {
        address: address.to_owned(),
        token: secret("sidecarToken"),
        ca_certificate: secret("sidecarTlsCaCert"),
        identity: secret("sidecarTlsClientCert").zip(secret("sidecarTlsClientKey")),
        server_name: Some(json.tls_server_name.trim().to_owned()).filter(|name| !name.is_empty()),
        skip_verify: json.tls_skip_verify,
    })
}

fn postgres(json: PostgresJson, secrets: &Secrets) -> Result<Option<PostgresSettings>, SettingsError> {
    let host = json.host.trim();
    if host.is_empty() {
        return Ok(None);
    }
    let invalid = |message: String| Err(SettingsError::Invalid(message));
    for (name, value) in [("database", &json.database), ("user", &json.user)] {
        if value.trim().is_empty() {
            return invalid(format!("PostgreSQL: the {name} is empty; enter it in the datasource's settings"));
        }
    }
    let ssl_mode = match json.sslmode.as_str() {
        "disable" => SslMode::Disable,
        "require" => SslMode::Require,
        "verify-ca" => SslMode::VerifyCa,
        "" | "verify-full" => SslMode::VerifyFull,
        other => {
            return invalid(format!(
                "PostgreSQL: sslmode is {other:?}; expected disable, require, verify-ca or verify-full"
            ));
        }
    };
    if json.max_open_conns == 0 || json.row_limit == 0 || json.statement_timeout_seconds == 0 {
        return invalid("PostgreSQL: the limits on connections, rows and seconds must each be at least 1".to_owned());
    }
    let secret = |name| secrets.get(name).map(ToOwned::to_owned);
    Ok(Some(PostgresSettings {
        host: host.to_owned(),
        database: json.database.trim().to_owned(),
        user: json.user.trim().to_owned(),
        password: secret("postgresPassword"),
        ssl_mode,
        ca_certificate: secret("postgresTlsCaCert"),
        client_identity: secret("postgresTlsClientCert").zip(secret("postgresTlsClientKey")),
        max_connections: json.max_open_conns,
        statement_timeout: Duration::from_secs(json.statement_timeout_seconds),
        row_limit: json.row_limit,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &'static str, secrets: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        Settings::read(&DataSourceSettings {
            json_data: json.into(),
            secrets: secrets.iter().copied().collect(),
            ..DataSourceSettings::default()
        })
    }

    #[test]
    fn each_half_may_be_off() {
        for json in ["", "{}", r#"{"sidecar":{"address":" "},"postgres":{"host":""}}"#] {
            let settings = read(json, &[]).unwrap();
            assert!(settings.sidecar.is_none() && settings.postgres.is_none(), "{json}");
        }
    }

    #[test]
    fn what_is_absent_has_a_default() {
        let settings = read(
            r#"{"sidecar":{"address":"http://s:8815"},"postgres":{"host":"h:5432","database":"d","user":"u"}}"#,
            &[("postgresPassword", "hunter2"), ("sidecarToken", "hunter3")],
        )
        .unwrap();
        let postgres = settings.postgres.as_ref().unwrap();
        assert_eq!(postgres.ssl_mode, SslMode::VerifyFull);
        assert_eq!(postgres.password.as_deref(), Some("hunter2"));
        assert_eq!((postgres.max_connections, postgres.row_limit), (10, 1_000_000));
        assert_eq!(settings.sidecar.as_ref().unwrap().token.as_deref(), Some("hunter3"));
        let debug = format!("{settings:?}");
        assert!(!debug.contains("hunter"), "{debug}");
    }

    #[test]
    fn what_cannot_work_is_said() {
        for (json, said) in [
            (r#"{"postgres":{"host":"h"}}"#, "PostgreSQL: the database is empty"),
            (
                r#"{"postgres":{"host":"h","database":"d","user":"u","sslmode":"prefer"}}"#,
                "sslmode is \"prefer\"; expected disable",
            ),
            (r#"{"postgres":{"host":"h","database":"d","user":"u","rowLimit":0}}"#, "at least 1"),
            (r#"{"postgres":{"host":5}}"#, "cannot be read"),
        ] {
            let error = read(json, &[]).unwrap_err().to_string();
            assert!(error.contains(said), "{json}: {error}");
        }
    }
}
