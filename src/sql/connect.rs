//! Connections to PostgreSQL, and what is asked of its catalogue.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use grafana_plugin::QueryError;
use serde::Serialize;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions, PgSslMode};
use sqlx::{ConnectOptions, Connection, PgConnection};
use tokio::sync::Mutex;

use super::cancel::Canceller;

/// The longest that making a connection, or waiting for one to be free, may take.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the pool is waited for before it is asked why it has no connection.
const IMPATIENCE: Duration = Duration::from_millis(500);
/// How long a server that was found well is believed to be.
const BELIEF: Duration = Duration::from_secs(5);
/// The longest that "Save & test" waits.
const CHECK_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an unused connection is kept.
const IDLE_TIMEOUT: Duration = Duration::from_mins(5);
/// The oldest that a connection gets.
const MAX_LIFETIME: Duration = Duration::from_hours(4);
/// The SQLSTATE of a server that takes no further connection.
const TOO_MANY_CONNECTIONS: &str = "53300";
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

/// A database, with a pool of connections that are made when they are needed. Its `Debug` shows no secret.
#[derive(Clone)]
pub struct Postgres {
    settings: PostgresSettings,
    options: PgConnectOptions,
    pool: PgPool,
    canceller: Canceller,
    /// When the server was last found well by a connection beside the pool. Who finds out holds it meanwhile, so that
    /// there is one such connection at a time.
    well_at: Arc<Mutex<Option<Instant>>>,
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The options have the password, and so has whatever is made of them.
        f.debug_struct("Postgres").field("settings", &self.settings).finish_non_exhaustive()
    }
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
        let canceller = Canceller::new(options.clone());
        Self { settings, options, pool, canceller, well_at: Arc::default() }
    }

    /// What it was made of.
    pub const fn settings(&self) -> &PostgresSettings {
        &self.settings
    }

    /// A connection of the pool.
    ///
    /// # Errors
    /// When none becomes free, or PostgreSQL is away, which is said at once.
    pub async fn acquire(&self) -> Result<PoolConnection<sqlx::Postgres>, QueryError> {
        // The pool tries again and again where nobody listens, and only says that it waited in vain. A connection of
        // one's own says why.
        let away = async {
            tokio::time::sleep(IMPATIENCE).await;
            match self.why_away().await {
                Some(reason) => reason,
                // The server is well, its connections are busy: the pool's turn will come, or its patience end.
                None => std::future::pending().await,
            }
        };
        let outcome = tokio::select! {
            acquired = self.pool.acquire() => acquired,
            reason = away => Err(reason),
        };
        outcome.map_err(|error| self.explain(&error))
    }

    /// Why no connection can be made; `None` when one can, or could if fewer were open.
    async fn why_away(&self) -> Option<sqlx::Error> {
        let mut well_at = self.well_at.lock().await;
        if well_at.is_some_and(|at| at.elapsed() < BELIEF) {
            return None;
        }
        match PgConnection::connect_with(&self.options).await {
            Ok(connection) => {
                // Whether the goodbye arrives does not matter.
                let _ = connection.close().await;
            }
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some(TOO_MANY_CONNECTIONS) => {}
            Err(reason) => return Some(reason),
        }
        *well_at = Some(Instant::now());
        None
    }

    /// Who cancels statements here.
    pub const fn canceller(&self) -> &Canceller {
        &self.canceller
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
        .fetch_all(&mut *self.acquire().await?)
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
        .fetch_all(&mut *self.acquire().await?)
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
    use statline_harness::postgres::DATABASE;

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

    #[test]
    fn no_secret_is_printed() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let _inside = runtime.enter();
        let settings = PostgresSettings {
            host: "localhost".to_owned(),
            database: "community".to_owned(),
            user: "grafana".to_owned(),
            password: Some("hunter2".to_owned()),
            ssl_mode: SslMode::VerifyFull,
            ca_certificate: None,
            client_identity: Some(("hunter2".to_owned(), "hunter2".to_owned())),
            max_connections: 1,
            statement_timeout: Duration::from_secs(1),
            row_limit: 1,
        };
        let printed = format!("{:#?}", Postgres::new(settings));
        assert!(printed.contains("community") && !printed.contains("hunter2"), "{printed}");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn waiting_for_the_pool_holds_no_connection_beside_it() {
        let server = statline_harness::Postgres::shared().unwrap();
        // A database that no other test uses, so that its connections can be counted.
        let database = "postgres".to_owned();
        let settings = PostgresSettings { max_connections: 1, database, ..crate::sql::tests::settings(&server) };
        let postgres = Postgres::new(settings);
        let held = postgres.acquire().await.unwrap();
        let waiting: Vec<_> = (0..8)
            .map(|_| {
                let postgres = postgres.clone();
                tokio::spawn(async move { postgres.acquire().await.map(drop) })
            })
            .collect();

        let patience = Instant::now();
        while postgres.well_at.lock().await.is_none() {
            assert!(patience.elapsed() < CONNECT_TIMEOUT, "nobody has asked why the pool has no connection");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let count =
            "SELECT count(*) FROM pg_stat_activity WHERE datname = 'postgres' AND application_name = 'statline'";
        // The server takes a moment to see that a connection has ended; those who wait give up after some seconds.
        while server.run_sql(DATABASE, count).unwrap().trim() != "1" {
            assert!(patience.elapsed() < CONNECT_TIMEOUT / 2, "more connections are open than the pool's only one");
        }
        assert!(waiting.iter().all(|waiting| !waiting.is_finished()));
        drop(held);
        for waiting in waiting {
            waiting.await.unwrap().unwrap();
        }
    }
}
