//! What an operator entered in the datasource's settings, read and checked.
//!
//! `jsonData` holds two halves, `sidecar` and `postgres`; secrets come apart from it. A half that is empty is off, and a
//! query that needs it says so.

use std::time::Duration;

use grafana_plugin::{DataSourceSettings, Secrets};
use serde::Deserialize;
use serde_json::{Map, Value};
use statline_flight::ClientSettings;
use thiserror::Error;

use crate::sql::{PostgresSettings, SslMode};

/// How a certificate begins in PEM. A text without it would count as no certificate at all.
const PEM_CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----";

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

/// One half: nothing when it is not configured. What is wrong with it is no trouble of the other.
pub type Half<T> = Result<Option<T>, SettingsError>;

/// Both halves.
#[derive(Debug)]
pub struct Settings {
    /// How the sidecar is reached.
    pub sidecar: Half<ClientSettings>,
    /// How PostgreSQL is reached.
    pub postgres: Half<PostgresSettings>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Json {
    sidecar: Map<String, Value>,
    postgres: Map<String, Value>,
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
    #[serde(deserialize_with = "text")]
    host: String,
    #[serde(deserialize_with = "text")]
    database: String,
    #[serde(deserialize_with = "text")]
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
    /// When it is not JSON with two halves. A half with a value that cannot work is an error of its own.
    pub fn read(given: &DataSourceSettings) -> Result<Self, SettingsError> {
        let json: Json = given.parse()?;
        Ok(Self { sidecar: sidecar(json.sidecar, &given.secrets), postgres: postgres(json.postgres, &given.secrets) })
    }
}

/// A text, also where provisioning has made a number or a truth value of it: a database may be called `2024`.
fn text<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::String(text) => Ok(text),
        Value::Null => Ok(String::new()),
        value @ (Value::Number(_) | Value::Bool(_)) => Ok(value.to_string()),
        other => Err(serde::de::Error::custom(format!("expected a text, got {other}"))),
    }
}

fn ca_certificate(secrets: &Secrets, name: &str, label: &str) -> Result<Option<String>, SettingsError> {
    match secrets.get(name).filter(|pem| !pem.trim().is_empty()) {
        Some(pem) if !pem.contains(PEM_CERTIFICATE) => Err(SettingsError::Invalid(format!(
            "{label}: the CA certificate is no PEM; paste the text that begins with {PEM_CERTIFICATE}"
        ))),
        pem => Ok(pem.map(ToOwned::to_owned)),
    }
}

fn sidecar(json: Map<String, Value>, secrets: &Secrets) -> Half<ClientSettings> {
    let json: SidecarJson = serde_json::from_value(Value::Object(json))?;
    let address = json.address.trim();
    if address.is_empty() {
        return Ok(None);
    }
    let secret = |name| secrets.get(name).map(ToOwned::to_owned);
    Ok(Some(ClientSettings {
        address: address.to_owned(),
        token: secret("sidecarToken"),
        ca_certificate: ca_certificate(secrets, "sidecarTlsCaCert", "Sidecar")?,
        identity: secret("sidecarTlsClientCert").zip(secret("sidecarTlsClientKey")),
        server_name: Some(json.tls_server_name.trim().to_owned()).filter(|name| !name.is_empty()),
        skip_verify: json.tls_skip_verify,
    }))
}

fn postgres(json: Map<String, Value>, secrets: &Secrets) -> Half<PostgresSettings> {
    let json: PostgresJson = serde_json::from_value(Value::Object(json))?;
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
        ca_certificate: ca_certificate(secrets, "postgresTlsCaCert", "PostgreSQL")?,
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
            assert!(settings.sidecar.unwrap().is_none() && settings.postgres.unwrap().is_none(), "{json}");
        }
    }

    #[test]
    fn what_is_absent_has_a_default() {
        let settings = read(
            r#"{"sidecar":{"address":"http://s:8815"},"postgres":{"host":"h:5432","database":"d","user":"u"}}"#,
            &[("postgresPassword", "hunter2"), ("sidecarToken", "hunter3")],
        )
        .unwrap();
        let postgres = settings.postgres.as_ref().unwrap().as_ref().unwrap();
        assert_eq!(postgres.ssl_mode, SslMode::VerifyFull);
        assert_eq!(postgres.password.as_deref(), Some("hunter2"));
        assert_eq!((postgres.max_connections, postgres.row_limit), (10, 1_000_000));
        assert_eq!(settings.sidecar.as_ref().unwrap().as_ref().unwrap().token.as_deref(), Some("hunter3"));
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
            (r#"{"postgres":{"host":["h"]}}"#, "expected a text, got"),
        ] {
            let settings = read(json, &[]).unwrap();
            assert!(settings.sidecar.is_ok(), "{json}");
            let error = settings.postgres.unwrap_err().to_string();
            assert!(error.contains(said), "{json}: {error}");
        }
        let json = r#"{"postgres":{"host":"h","database":"d","user":"u"}}"#;
        let settings = read(json, &[("postgresTlsCaCert", "hunter2")]).unwrap();
        let error = settings.postgres.unwrap_err().to_string();
        assert!(error.starts_with("PostgreSQL: the CA certificate is no PEM") && !error.contains("hunter2"), "{error}");
    }
}
