//! One statement, prepared, in a read-only transaction with a time limit; rows are read as they come and cut at the limit.
//!
//! When the caller goes away, the statement is cancelled in the server, by a connection of its own, and the connection that
//! it ran on is not used again: a cancellation that comes late must not hit somebody else's statement.

use futures::TryStreamExt;
use grafana_plugin::QueryError;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgRow};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Postgres as Engine, Row, Statement};

use super::columns::{self, Column};
use super::connect::Postgres;

/// What a statement answered.
pub struct Answer {
    /// Its columns, all of the same length.
    pub columns: Vec<Column>,
    /// Whether there were more rows than the limit.
    pub cut: bool,
}

/// Runs a statement and collects at most `limit` rows.
///
/// # Errors
/// As [`Postgres::explain`] has them, and when a column has a type that cannot be shown.
pub async fn select(postgres: &Postgres, sql: &str, limit: usize) -> Result<Answer, QueryError> {
    let explain = |error: sqlx::Error| postgres.explain(&error);
    let connection = match postgres.pool().acquire().await {
        Ok(connection) => connection,
        // The pool only says that it waited in vain; a connection of one's own says why.
        Err(sqlx::Error::PoolTimedOut) => {
            return Err(match PgConnection::connect_with(postgres.options()).await {
                Ok(_) => explain(sqlx::Error::PoolTimedOut),
                Err(reason) => explain(reason),
            });
        }
        Err(error) => return Err(explain(error)),
    };
    let mut guard = Guard { connection: Some(connection), backend: None, options: postgres.options().clone() };
    let answer = read(&mut guard, postgres, sql, limit).await;
    // A transaction that failed is ended by the rollback, too.
    let ended = guard.connection()?.execute("ROLLBACK").await;
    match ended {
        Ok(_) => guard.done(),
        Err(error) => tracing::debug!(%error, "a connection could not be rolled back and is closed"),
    }
    answer
}

async fn read(guard: &mut Guard, postgres: &Postgres, sql: &str, limit: usize) -> Result<Answer, QueryError> {
    let explain = |error: sqlx::Error| postgres.explain(&error);
    let begin = format!(
        "BEGIN READ ONLY; SET LOCAL statement_timeout = {}; SELECT pg_backend_pid()",
        postgres.settings().statement_timeout.as_millis()
    );
    let row = sqlx::raw_sql(AssertSqlSafe(begin)).fetch_one(guard.connection()?).await.map_err(explain)?;
    guard.backend = Some(row.try_get(0).map_err(explain)?);

    let connection = guard.connection()?;
    // The statement is the author's own and runs read only; nothing is put into it here.
    let statement =
        connection.prepare(sqlx::SqlSafeStr::into_sql_str(AssertSqlSafe(sql.to_owned()))).await.map_err(explain)?;
    let mut columns = columns::of(statement.columns())?;
    let mut rows = statement.query().persistent(false).fetch(connection);
    let mut count = 0;
    let mut cut = false;
    while let Some(row) = rows.try_next().await.map_err(explain)? {
        if count == limit {
            cut = true;
            break;
        }
        push(&mut columns, &row)?;
        count += 1;
    }
    drop(rows);
    if cut {
        // The rest of the rows is not wanted: the server need not send them.
        guard.cancel();
    }
    Ok(Answer { columns, cut })
}

fn push(columns: &mut [Column], row: &PgRow) -> Result<(), QueryError> {
    for (index, column) in columns.iter_mut().enumerate() {
        let raw = row.try_get_raw(index).map_err(|error| QueryError::internal(error.to_string()))?;
        column.push(raw)?;
    }
    Ok(())
}

/// Owns the connection while a statement runs on it.
struct Guard {
    connection: Option<PoolConnection<Engine>>,
    /// The server's process, once it is known.
    backend: Option<i32>,
    options: PgConnectOptions,
}

impl Guard {
    fn connection(&mut self) -> Result<&mut PgConnection, QueryError> {
        self.connection.as_deref_mut().ok_or_else(|| QueryError::internal("the connection is already given up"))
    }

    /// Gives the connection back to the pool.
    fn done(mut self) {
        self.connection.take();
    }

    /// Cancels what runs, and gives the connection up for good.
    fn cancel(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        let connection = connection.detach();
        let Some(backend) = self.backend else { return };
        let options = self.options.clone();
        tokio::spawn(async move {
            if let Err(error) = cancel_backend(&options, backend).await {
                tracing::warn!(%error, backend, "a statement could not be cancelled in PostgreSQL; its timeout will end it");
            }
            let _ = connection.close_hard().await;
        });
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.cancel();
    }
}

async fn cancel_backend(options: &PgConnectOptions, backend: i32) -> Result<(), sqlx::Error> {
    let mut connection = PgConnection::connect_with(options).await?;
    sqlx::query("SELECT pg_cancel_backend($1)").bind(backend).execute(&mut connection).await?;
    connection.close().await
}
