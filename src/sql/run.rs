//! One statement, prepared, in a read-only transaction with a time limit; rows are read as they come and cut at a limit.
//!
//! When the caller goes away, the statement is cancelled in the server.

use futures::TryStreamExt;
use grafana_plugin::QueryError;
use sqlx::pool::PoolConnection;
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Executor, PgConnection, Postgres as Engine, Row, Statement, ValueRef};

use super::cancel::Canceller;
use super::columns::{self, Column};
use super::connect::Postgres;

/// The most bytes of values that are collected, however few their rows are.
pub const MAX_ANSWER_BYTES: usize = 256 << 20;
/// What a value counts for at least: a NULL takes room, too.
const MIN_VALUE_BYTES: usize = 8;

/// The most that is collected of an answer.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The most rows.
    pub rows: usize,
    /// The most bytes of values, as the server sends them.
    pub bytes: usize,
}

/// Which limit an answer was cut at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// There were more rows.
    Rows,
    /// The next row would have been too much.
    Bytes,
}

/// What a statement answered.
pub struct Answer {
    /// Its columns, all of the same length.
    pub columns: Vec<Column>,
    /// Whether there was more than the limits allow.
    pub cut: Option<Cut>,
}

/// Runs a statement and collects what it answers, within the limits.
///
/// # Errors
/// As [`Postgres::explain`] has them, and when a column has a type that cannot be shown.
pub async fn select(postgres: &Postgres, sql: &str, limits: Limits) -> Result<Answer, QueryError> {
    let connection = postgres.acquire().await?;
    let mut guard = Guard { connection: Some(connection), backend: None, canceller: postgres.canceller().clone() };
    let answer = read(&mut guard, postgres, sql, limits).await;
    if matches!(answer, Ok(Answer { cut: Some(_), .. })) {
        // The rest of the rows is not wanted: the server need not send them.
        guard.cancel();
        return answer;
    }
    // A transaction that failed is ended by the rollback, too.
    let ended = guard.connection()?.execute("ROLLBACK").await;
    match ended {
        Ok(_) => guard.done(),
        Err(error) => tracing::debug!(%error, "a connection could not be rolled back and is closed"),
    }
    answer
}

async fn read(guard: &mut Guard, postgres: &Postgres, sql: &str, limits: Limits) -> Result<Answer, QueryError> {
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
    let parameters = statement.parameters().map_or(0, |parameters| parameters.either(<[_]>::len, |count| count));
    if parameters > 0 {
        return Err(QueryError::bad_request(
            "the statement has a parameter such as $1, and nothing is bound to it; a dashboard's variable is written ${name}",
        ));
    }
    let mut columns = columns::of(statement.columns())?;
    let mut rows = statement.query().persistent(false).fetch(connection);
    let mut count = 0;
    let mut bytes = 0_usize;
    let mut cut = None;
    while let Some(row) = rows.try_next().await.map_err(explain)? {
        bytes = bytes.saturating_add(size(&row)?);
        if count == limits.rows {
            cut = Some(Cut::Rows);
            break;
        }
        if bytes > limits.bytes {
            cut = Some(Cut::Bytes);
            break;
        }
        push(&mut columns, &row)?;
        count += 1;
    }
    drop(rows);
    Ok(Answer { columns, cut })
}

/// The bytes of a row's values.
fn size(row: &PgRow) -> Result<usize, QueryError> {
    let mut bytes = 0;
    for index in 0..row.len() {
        let raw = row.try_get_raw(index).map_err(|error| QueryError::internal(error.to_string()))?;
        let length = if raw.is_null() { 0 } else { raw.as_bytes().map_or(0, <[u8]>::len) };
        bytes += length.max(MIN_VALUE_BYTES);
    }
    Ok(bytes)
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
    canceller: Canceller,
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
        if let Some(backend) = self.backend {
            self.canceller.cancel(connection, backend);
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.cancel();
    }
}
