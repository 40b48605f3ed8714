//! What a panel's query may say.

use grafana_plugin::{DataQuery, QueryError};
use serde::Deserialize;

/// A query, by the language it is written in.
#[derive(Debug, PartialEq, Eq)]
pub enum Query {
    /// A Graphite expression, for the sidecar.
    Graphite {
        /// The expression.
        target: String,
        /// The panel's time zone; empty when it is not known.
        timezone: String,
    },
    /// SQL, for PostgreSQL.
    Sql(SqlQuery),
    /// What happened, from the sidecar.
    Events {
        /// What the events are tagged with; all events when there are none.
        tags: Vec<String>,
        /// Whether one of the tags is enough.
        match_any: bool,
    },
}

/// A query for PostgreSQL.
#[derive(Debug, PartialEq, Eq)]
pub struct SqlQuery {
    /// The statement, with macros.
    pub text: String,
    /// How its rows are shaped.
    pub format: Format,
    /// The panel's time zone; empty when it is not known.
    pub timezone: String,
}

/// How rows become frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Series over time.
    #[default]
    TimeSeries,
    /// Rows as they are.
    Table,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct Json {
    query_type: String,
    target: String,
    raw_sql: String,
    format: Option<serde_json::Value>,
    timezone: String,
    tags: serde_json::Value,
    match_any: Option<bool>,
}

impl Query {
    /// Reads what the query editor wrote.
    ///
    /// # Errors
    /// When it is not JSON of the right shape, or says nothing.
    pub fn read(query: &DataQuery) -> Result<Self, QueryError> {
        let json: Json = query.parse()?;
        let language = if query.query_type.is_empty() { &json.query_type } else { &query.query_type };
        match language.as_str() {
            "" | "graphite" => {
                if json.target.trim().is_empty() {
                    return Err(QueryError::bad_request("the query has no target; write a Graphite expression"));
                }
                Ok(Self::Graphite { target: json.target, timezone: json.timezone })
            }
            "sql" => {
                if json.raw_sql.trim().is_empty() {
                    return Err(QueryError::bad_request("the query has no rawSql; write a SELECT"));
                }
                Ok(Self::Sql(SqlQuery { text: json.raw_sql, format: format(json.format)?, timezone: json.timezone }))
            }
            "events" => Ok(Self::Events { tags: tags(json.tags)?, match_any: json.match_any.unwrap_or_default() }),
            other => Err(QueryError::bad_request(format!("queryType is {other:?}; expected graphite, sql or events"))),
        }
    }
}

fn tags(given: serde_json::Value) -> Result<Vec<String>, QueryError> {
    let tags: Option<Vec<String>> = serde_json::from_value(given.clone())
        .map_err(|_| QueryError::bad_request(format!("tags is {given}; expected a list of texts")))?;
    let tags = tags.unwrap_or_default().into_iter().map(|tag| tag.trim().to_owned());
    Ok(tags.filter(|tag| !tag.is_empty()).collect())
}

fn format(given: Option<serde_json::Value>) -> Result<Format, QueryError> {
    // Grafana's own SQL editors have written numbers, too: 0 for a time series, 1 for a table.
    match given {
        None | Some(serde_json::Value::Null) => Ok(Format::default()),
        Some(serde_json::Value::Number(number)) if number.as_u64() == Some(0) => Ok(Format::TimeSeries),
        Some(serde_json::Value::Number(number)) if number.as_u64() == Some(1) => Ok(Format::Table),
        Some(value) => serde_json::from_value(value.clone())
            .map_err(|_| QueryError::bad_request(format!("format is {value}; expected \"time_series\" or \"table\""))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query_type: &str, json: &'static str) -> Result<Query, String> {
        Query::read(&DataQuery { query_type: query_type.to_owned(), json: json.into(), ..DataQuery::default() })
            .map_err(|error| error.message)
    }

    #[test]
    fn the_language_may_be_said_in_either_place() {
        let graphite = Ok(Query::Graphite { target: "a.*".into(), timezone: String::new() });
        assert_eq!(read("", r#"{"target":"a.*"}"#), graphite);
        assert_eq!(read("graphite", r#"{"target":"a.*"}"#), graphite);
        assert_eq!(read("", r#"{"target":"a.*","tags":"another datasource's"}"#), graphite);
        let sql = Ok(Query::Sql(SqlQuery { text: "select 1".into(), format: Format::Table, timezone: "utc".into() }));
        assert_eq!(read("sql", r#"{"rawSql":"select 1","format":"table","timezone":"utc"}"#), sql);
        assert_eq!(read("", r#"{"queryType":"sql","rawSql":"select 1","format":1,"timezone":"utc"}"#), sql);
    }

    #[test]
    fn events_are_asked_for_by_tags_or_all_of_them() {
        let events = |tags: &[&str], match_any| {
            Ok(Query::Events { tags: tags.iter().map(|tag| (*tag).to_owned()).collect(), match_any })
        };
        assert_eq!(read("events", "{}"), events(&[], false));
        assert_eq!(read("events", r#"{"tags":null,"matchAny":null}"#), events(&[], false));
        let asked = r#"{"queryType":"events","tags":["deploy"," host:a ",""],"matchAny":true,"target":"a.*"}"#;
        assert_eq!(read("", asked), events(&["deploy", "host:a"], true));
    }

    #[test]
    fn what_is_wrong_with_a_query_is_said() {
        for (query_type, json, said) in [
            ("", "{}", "has no target"),
            ("sql", r#"{"rawSql":" "}"#, "has no rawSql"),
            ("promql", "{}", "queryType is \"promql\"; expected graphite, sql or events"),
            ("events", r#"{"tags":"deploy"}"#, "tags is \"deploy\"; expected a list of texts"),
            ("sql", r#"{"rawSql":"select 1","format":"logs"}"#, "format is \"logs\""),
        ] {
            let error = read(query_type, json).unwrap_err();
            assert!(error.contains(said), "{json}: {error}");
        }
        assert!(read("", "[").is_err());
    }
}
