//! Connections to PostgreSQL, and what is asked of its catalogue.

use std::fmt;
use std::time::Duration;

use grafana_plugin::QueryError;
use serde::Serialize;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions, PgSslMode};
use sqlx::{ConnectOptions, Connection, PgConnection};

/// The longest that making a connection, or waiting for one to be free, may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest that "Save & test" waits.
const CHECK_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an unused connection is kept.
const IDLE_TIMEOUT: Duration = Duration::from_mins(5);
/// The oldest that a connection gets.
const MAX_LIFETIME: Duration = Duration::from_hours(4);
/// PostgreSQL's port.
const DEFAULT_PORT: u16 = 5432;

/// How much of TLS is asked for; the names are PostgreSQL's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SslMode {
    /// No TLS.
    Disable,
    /// TLS, whoever answers.
    Require,
    /// TLS, with a certificate of a known authority.
    VerifyCa,
    /// TLS, with a certificate of a known authority for this host.
    VerifyFull,
}

/// Where PostgreSQL is, and what a query may cost. Its `Debug` shows no secret.
#[derive(Clone)]
pub struct PostgresSettings {
    /// `host`, `host:port`, `[ipv6]:port`, or the directory of a unix socket.
    pub host: String,
    /// The database.
    pub database: String,
    /// The role.
    pub user: String,
    /// Its password.
    pub password: Option<String>,
    /// How much of TLS is asked for.
    pub ssl_mode: SslMode,
    /// PEM of the authority that signed the server's certificate.
    pub ca_certificate: Option<String>,
    /// PEM of a client's certificate and its key.
    pub client_identity: Option<(String, String)>,
    /// The most connections at once.
    pub max_connections: u32,
    /// The most time for a statement.
    pub statement_timeout: Duration,
    /// The most rows of an answer.
    pub row_limit: usize,
}

impl fmt::Debug for PostgresSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresSettings")
            .field("host", &self.host)
            .field("database", &self.database)
            .field("user", &self.user)
            .field("ssl_mode", &self.ssl_mode)
            .finish_non_exhaustive()
    }
}

/// A database, with a pool of connections that are made when they are needed.
#[derive(Clone, Debug)]
pub struct Postgres {
    settings: PostgresSettings,
    options: PgConnectOptions,
    pool: PgPool,
}

/// A table that a query may name.
#[derive(Debug, Serialize)]
pub struct Table {
    schema: String,
    name: String,
}

/// A column of a table.
#[derive(Debug, Serialize)]
pub struct Column {
    name: String,
    r#type: String,
}

impl Postgres {
    /// Makes no connection yet. Must be called inside a tokio runtime.
    pub fn new(settings: PostgresSettings) -> Self {
        let options = connect_options(&settings);
        let pool = PgPoolOptions::new()
            .max_connections(settings.max_connections)
            .acquire_timeout(CONNECT_TIMEOUT)
            .idle_timeout(IDLE_TIMEOUT)
            .max_lifetime(MAX_LIFETIME)
            .connect_lazy_with(options.clone());
        Self { settings, options, pool }
    }

    /// What it was made of.
    pub const fn settings(&self) -> &PostgresSettings {
        &self.settings
    }

    /// The pool.
    pub const fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// How a connection beside the pool is made.
    pub const fn options(&self) -> &PgConnectOptions {
        &self.options
    }

    /// Connects anew, outside the pool, so that the true reason of a failure is seen, and says who answers.
    ///
    /// # Errors
    /// With a line that a person can act on.
    pub async fn check(&self) -> Result<String, String> {
        let ask = async {
            let mut connection = PgConnection::connect_with(&self.options).await?;
            let version: String = sqlx::query_scalar("SHOW server_version").fetch_one(&mut connection).await?;
            let tables: i64 = sqlx::query_scalar(READABLE_TABLES).fetch_one(&mut connection).await?;
            // Whether the goodbye arrives does not matter.
            let _ = connection.close().await;
            Ok::<_, sqlx::Error>((version, tables))
        };
        let host = &self.settings.host;
        match tokio::time::timeout(CHECK_TIMEOUT, ask).await {
            Err(_) => Err(format!(
                "{host} does not answer within {} s; is the address right, and open?",
                CHECK_TIMEOUT.as_secs()
            )),
            Ok(Err(error)) => Err(self.explain(&error).message),
            Ok(Ok((version, tables))) => {
                let (database, user) = (&self.settings.database, &self.settings.user);
                let version = version.split_whitespace().next().unwrap_or(&version);
                Ok(format!("{version} at {host}, database {database}, {tables} tables readable as {user}"))
            }
        }
    }

    /// The tables and views that the role may read.
    ///
    /// # Errors
    /// When PostgreSQL does not answer.
    pub async fn tables(&self) -> Result<Vec<Table>, QueryError> {
        let rows: Vec<(String, String)> = sqlx::query_as(
            "SELECT table_schema::text AS schema, table_name::text AS name FROM information_schema.tables \
             WHERE table_schema NOT IN ('pg_catalog', 'information_schema') \
             AND has_table_privilege(format('%I.%I', table_schema, table_name), 'SELECT') ORDER BY 1, 2 LIMIT 5000",
        )
        .fetch_all(&self.pool)
        .await
        .map_err(|error| self.explain(&error))?;
        Ok(rows.into_iter().map(|(schema, name)| Table { schema, name }).collect())
    }

    /// The columns of a table, in their order.
    ///
    /// # Errors
    /// When PostgreSQL does not answer.
    pub async fn columns(&self, schema: &str, table: &str) -> Result<Vec<Column>, QueryError> {
        let rows: Vec<(String, String)> = sqlx::query_as(
            "SELECT column_name::text AS name, data_type::text AS type FROM information_schema.columns \
             WHERE table_schema = $1 AND table_name = $2 ORDER BY ordinal_position",
        )
        .bind(schema)
        .bind(table)
        .fetch_all(&self.pool)
        .await
        .map_err(|error| self.explain(&error))?;
        Ok(rows.into_iter().map(|(name, r#type)| Column { name, r#type }).collect())
    }

    /// An error with a status, in one line, without anything secret.
    pub fn explain(&self, error: &sqlx::Error) -> QueryError {
        let PostgresSettings { host, .. } = &self.settings;
        match error {
            sqlx::Error::Database(database) => explain_database(database.as_ref()),
            sqlx::Error::PoolTimedOut => QueryError::downstream(
                503,
                format!(
                    "no connection to PostgreSQL at {host} became free or could be made within {} s; \
                     it may be away, or all {} connections are busy",
                    CONNECT_TIMEOUT.as_secs(),
                    self.settings.max_connections
                ),
            ),
            sqlx::Error::Io(io) => QueryError::downstream(
                502,
                format!("PostgreSQL does not answer at {host}: {io}; is it running, and is this its address?"),
            ),
            sqlx::Error::Tls(tls) => QueryError::downstream(
                502,
                format!("TLS with PostgreSQL at {host} failed: {tls}; check sslmode and the certificates"),
            ),
            other => QueryError::downstream(500, format!("PostgreSQL at {host}: {}", one_line(&other.to_string()))),
        }
    }
}

const READABLE_TABLES: &str = "SELECT count(*) FROM information_schema.tables \
     WHERE table_schema NOT IN ('pg_catalog', 'information_schema') \
     AND has_table_privilege(format('%I.%I', table_schema, table_name), 'SELECT')";

fn explain_database(error: &dyn sqlx::error::DatabaseError) -> QueryError {
    let code = error.code().unwrap_or_default();
    let message = one_line(error.message());
    match code.as_ref() {
        // query_canceled
        "57014" => QueryError::timeout(format!("PostgreSQL ended the statement: {message}")),
        // insufficient_privilege
        "42501" => QueryError::downstream(403, format!("PostgreSQL: {message}")),
        // read_only_sql_transaction
        "25006" => QueryError::bad_request(format!("PostgreSQL: {message}; queries are read only here")),
        // Connection, authorisation and resource trouble, and shutdown.
        code if ["08", "28", "3D", "53", "57", "58"].iter().any(|class| code.starts_with(class)) => {
            QueryError::downstream(502, format!("PostgreSQL: {message} (SQLSTATE {code})"))
        }
        code => QueryError::bad_request(format!("PostgreSQL: {message} (SQLSTATE {code})")),
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn connect_options(settings: &PostgresSettings) -> PgConnectOptions {
    let (host, port) = split_host(&settings.host);
    let mut options = PgConnectOptions::new_without_pgpass()
        .host(host)
        .port(port)
        .username(&settings.user)
        .database(&settings.database)
        .application_name("statline")
        .ssl_mode(match settings.ssl_mode {
            SslMode::Disable => PgSslMode::Disable,
            SslMode::Require => PgSslMode::Require,
            SslMode::VerifyCa => PgSslMode::VerifyCa,
            SslMode::VerifyFull => PgSslMode::VerifyFull,
        })
        .disable_statement_logging();
    if host.starts_with('/') {
        options = options.socket(host);
    }
    if let Some(password) = &settings.password {
        options = options.password(password);
    }
    if let Some(pem) = &settings.ca_certificate {
        options = options.ssl_root_cert_from_pem(pem.clone().into_bytes());
    }
    if let Some((certificate, key)) = &settings.client_identity {
        options = options.ssl_client_cert_from_pem(certificate).ssl_client_key_from_pem(key);
    }
    options
}

/// Host and port; an address without brackets that has several colons is IPv6 without a port.
fn split_host(text: &str) -> (&str, u16) {
    if let Some((host, rest)) = text.strip_prefix('[').and_then(|text| text.split_once(']')) {
        return (host, rest.strip_prefix(':').and_then(|port| port.parse().ok()).unwrap_or(DEFAULT_PORT));
    }
    match text.split_once(':') {
        Some((host, port)) if !port.contains(':') => (host, port.parse().unwrap_or(DEFAULT_PORT)),
        _ => (text, DEFAULT_PORT),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_may_have_a_port() {
        for (text, split) in [
            ("db", ("db", 5432)),
            ("db:5433", ("db", 5433)),
            ("::1", ("::1", 5432)),
            ("[::1]:5433", ("::1", 5433)),
            ("/run/postgresql", ("/run/postgresql", 5432)),
            ("/run/postgresql:5433", ("/run/postgresql", 5433)),
        ] {
            assert_eq!(split_host(text), split, "{text}");
        }
    }
}
