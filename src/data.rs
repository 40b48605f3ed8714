//! A query's way to its answer.

use std::collections::BTreeMap;

use grafana_plugin::{DataQuery, Frame, QueryError, RequestContext};
use statline_flight::action::{Events, Span};
use statline_flight::ticket::GraphiteQuery;
use statline_flight::{ClientError, ErrorKind};
use statline_series::Timestamp;

use crate::frame;
use crate::instance::Instance;
use crate::query::Query;
use crate::sql;

/// Answers one query of a request.
///
/// # Errors
/// With the status and the source that Grafana shows; a query's error is its own and spoils no other.
pub async fn answer(instance: &Instance, context: &RequestContext, query: DataQuery) -> Result<Vec<Frame>, QueryError> {
    hook_for_tests(&query);
    match Query::read(&query)? {
        Query::Graphite { target, timezone } => graphite(instance, &query, target, timezone).await,
        Query::Events { tags, match_any } => events(instance, &query, tags, match_any).await,
        Query::Sql(sql_query) => sql::answer(instance.postgres()?, context, &query, &sql_query).await,
    }
}

async fn graphite(
    instance: &Instance,
    query: &DataQuery,
    target: String,
    timezone: String,
) -> Result<Vec<Frame>, QueryError> {
    let client = instance.sidecar()?;
    let asked = GraphiteQuery {
        target: target.clone(),
        from: Timestamp::from_millis(query.time_range.from_ms),
        until: Timestamp::from_millis(query.time_range.to_ms),
        max_data_points: u32::try_from(query.max_data_points).ok().filter(|points| *points > 0),
        timezone: Some(timezone).filter(|zone| !zone.is_empty()),
        template: BTreeMap::new(),
    };
    let rows = client.query(statline_flight::Query::Graphite(asked)).await.map_err(|error| to_query_error(&error))?;
    Ok(frame::series(&rows, Some(&target)))
}

async fn events(
    instance: &Instance,
    query: &DataQuery,
    tags: Vec<String>,
    match_any: bool,
) -> Result<Vec<Frame>, QueryError> {
    // A panel's last millisecond belongs to it.
    let span = Span {
        from: Some(Timestamp::from_millis(query.time_range.from_ms)),
        until: Some(Timestamp::from_millis(query.time_range.to_ms).offset(1)),
    };
    let executed = tags.join(if match_any { " or " } else { " and " });
    let asked = Events { span, tags, any: match_any, limit: None };
    let list = instance.sidecar()?.events(asked).await.map_err(|error| to_query_error(&error))?;
    Ok(vec![frame::events(&list).with_executed_query(executed)])
}

/// An error of the sidecar, with the status that Grafana's users know.
pub fn to_query_error(error: &ClientError) -> QueryError {
    let message = error.message.clone();
    match error.kind {
        ErrorKind::Settings | ErrorKind::BadQuery => QueryError::bad_request(message),
        ErrorKind::Limit => QueryError::downstream(422, message),
        ErrorKind::Unauthenticated => QueryError::downstream(401, message),
        ErrorKind::Unavailable => QueryError::downstream(502, message),
        ErrorKind::Timeout => QueryError::timeout(message),
        ErrorKind::Internal => QueryError::downstream(500, message),
    }
}

/// With `STATLINE_TEST_PANIC` set, a query that says so panics, so that tests can prove what a panic costs.
fn hook_for_tests(query: &DataQuery) {
    if std::env::var_os("STATLINE_TEST_PANIC").is_some()
        && query.json.windows(PANIC_MARK.len()).any(|window| window == PANIC_MARK)
    {
        panic!("a query asked for a panic");
    }
}

/// What a query says to panic.
const PANIC_MARK: &[u8] = b"statline-test-panic";
