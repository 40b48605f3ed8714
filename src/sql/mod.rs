//! The half that PostgreSQL answers, read only.
//!
//! A statement's way: [`lexer`] finds its macros, [`macros`] expands them, [`run`] executes it in a read-only transaction
//! on a connection of [`connect`], [`cancel`] ends it when nobody waits for it any more, [`columns`] turns rows into typed
//! columns as they arrive, [`shape`] makes frames of those, and [`fill`] puts in what a group left out.

mod cancel;
mod columns;
mod connect;
mod fill;
mod lexer;
mod macros;
mod run;
mod shape;
#[cfg(test)]
mod tests;

use grafana_plugin::{DataQuery, Frame, Notice, QueryError, RequestContext};

pub use connect::{Postgres, PostgresSettings, SslMode};

use crate::query::{Format, SqlQuery};
use macros::MacroContext;
use run::{Cut, Limits};

/// The key of Grafana's own row limit in the configuration that it sends with a request.
const GRAFANA_ROW_LIMIT: &str = "GF_SQL_ROW_LIMIT";

/// Answers a SQL query.
///
/// # Errors
/// 400 for what the author can mend, 504 for a timeout, 502 when PostgreSQL is away.
pub async fn answer(
    postgres: &Postgres,
    context: &RequestContext,
    query: &DataQuery,
    sql: &SqlQuery,
) -> Result<Vec<Frame>, QueryError> {
    let macro_context = MacroContext::new(query.time_range, query.interval, &sql.timezone)?;
    let expanded = macros::expand(&sql.text, &macro_context)?;
    let limits = Limits { rows: row_limit(postgres.settings().row_limit, context), bytes: run::MAX_ANSWER_BYTES };
    let answer = run::select(postgres, &expanded.text, limits).await?;
    let mut frame = match sql.format {
        Format::Table => shape::table(answer.columns)?,
        Format::TimeSeries => shape::time_series(answer.columns, expanded.fill.as_ref())?,
    };
    if let Some(cut) = answer.cut {
        frame = frame.with_notice(Notice::warning(notice(cut, limits)));
    }
    Ok(vec![frame.with_executed_query(&expanded.text)])
}

fn notice(cut: Cut, limits: Limits) -> String {
    match cut {
        Cut::Rows => format!(
            "the result was cut at the limit of {} rows; narrow the query or raise the datasource's row limit",
            limits.rows
        ),
        Cut::Bytes => {
            format!("the result was cut at {} MiB; narrow the query or select fewer columns", limits.bytes >> 20)
        }
    }
}

/// The smaller of the datasource's limit and Grafana's.
fn row_limit(own: usize, context: &RequestContext) -> usize {
    let grafana = context.plugin.grafana_config.get(GRAFANA_ROW_LIMIT).and_then(|limit| limit.parse().ok());
    grafana.filter(|limit| *limit > 0).map_or(own, |limit: usize| limit.min(own))
}
