//! A row's way to a panel.

use std::time::{Duration, Instant};

use grafana_plugin::frame::Severity;
use grafana_plugin::{FrameType, RequestContext, Secrets};
use serde_json::{Value, json};
use statline_harness::postgres::{DATABASE, SUPERUSER, SUPERUSER_PASSWORD};
use statline_harness::program::eventually;
use statline_harness::{Postgres, plugin};

use crate::{PATIENCE, as_json, failure, frames, numbers, sql, with_settings};

/// A datasource with changed settings for PostgreSQL.
fn with_postgres(postgres: &Postgres, changes: &Value) -> RequestContext {
    with_settings(&plugin::request_context(None, Some(postgres)), &json!({ "postgres": changes }))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_shows_every_type_as_it_is() {
    let postgres = Postgres::shared().unwrap();
    postgres.run_sql(DATABASE, "CREATE TYPE colour AS ENUM ('red', 'green')").unwrap();
    let host = plugin::start(&[]).await.unwrap();
    let context = plugin::request_context(None, Some(&postgres));
    let columns: [(&str, &str, &str, &str, Value); 22] = [
        ("9007199254740993::bigint", "bigint", "number", "int64", json!(9_007_199_254_740_993_i64)),
        ("7::int", "int", "number", "int64", json!(7)),
        ("-7::smallint", "smallint", "number", "int64", json!(-7)),
        ("12.25::numeric", "numeric", "number", "float64", json!(12.25)),
        ("0.1::float8", "float8", "number", "float64", json!(0.1)),
        ("1.5::real", "real", "number", "float64", json!(1.5)),
        ("true", "bool", "boolean", "bool", json!(true)),
        ("'2026-01-02T03:04:05.678+02'::timestamptz", "at", "time", "time.Time", json!(1_767_315_845_678_i64)),
        ("'2026-01-02 03:04:05'::timestamp", "utc", "time", "time.Time", json!(1_767_323_045_000_i64)),
        ("date '2026-01-02'", "day", "time", "time.Time", json!(1_767_312_000_000_i64)),
        ("'{\"a\":[1,null]}'::jsonb", "doc", "other", "json.RawMessage", json!({ "a": [1, null] })),
        ("'{\"b\":2}'::json", "json", "other", "json.RawMessage", json!({ "b": 2 })),
        ("'naïve'::text", "text", "string", "string", json!("naïve")),
        ("'vc'::varchar(3)", "varchar", "string", "string", json!("vc")),
        ("'p'::char(3)", "char", "string", "string", json!("p  ")),
        ("'{1,NULL,3}'::int[]", "ints", "string", "string", json!("{1,NULL,3}")),
        ("'{9007199254740993}'::bigint[]", "bigs", "string", "string", json!("{9007199254740993}")),
        ("ARRAY['a b', NULL, 'c']", "texts", "string", "string", json!("{\"a b\",NULL,c}")),
        ("interval '1 mon 2 days 03:04:05.5'", "span", "string", "string", json!("1 mon 2 days 03:04:05.5")),
        (
            "'6f1b2c3d-0000-4000-8000-0123456789ab'::uuid",
            "uuid",
            "string",
            "string",
            json!("6f1b2c3d-0000-4000-8000-0123456789ab"),
        ),
        ("'green'::colour", "enum", "string", "string", json!("green")),
        ("'naïve'::name", "name", "string", "string", json!("naïve")),
    ];
    let select = columns.each_ref().map(|(sql, name, ..)| format!("{sql} AS \"{name}\"")).join(", ");
    let nulls = columns.each_ref().map(|(sql, ..)| format!("nullif({sql}, {sql})"));
    // JSON cannot be compared, so its NULL is written.
    let nulls = nulls.map(|null| if null.contains("::json)") { "NULL".to_owned() } else { null }).join(", ");
    let text = format!("SELECT * FROM (SELECT {select} UNION ALL SELECT {nulls}) rows ORDER BY 1 NULLS LAST");
    let answer = frames(&host, &context, sql(&text, "table")).await;
    assert_eq!(answer.len(), 1);
    assert_eq!(answer[0].meta.frame_type, Some(FrameType::Table));
    assert_eq!(answer[0].meta.executed_query_string, text);
    let frame = as_json(&answer[0]);
    for (index, (expression, name, kind, type_name, value)) in columns.iter().enumerate() {
        let field = &frame["schema"]["fields"][index];
        assert_eq!((&field["name"], &field["type"]), (&json!(name), &json!(kind)), "{expression}");
        assert_eq!(field["typeInfo"], json!({ "frame": type_name, "nullable": true }), "{expression}");
        assert_eq!(frame["data"]["values"][index], json!([value, null]), "{expression}");
    }

    let error = failure(&host, &context, sql("SELECT point(1, 2) AS p", "table")).await;
    assert_eq!(error.0, 400);
    assert!(error.1.contains("column \"p\" has the type POINT, which cannot be shown; cast it"), "{}", error.1);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_become_series_over_time_told_apart_by_their_texts() {
    let postgres = Postgres::shared().unwrap();
    let host = plugin::start(&[]).await.unwrap();
    let context = plugin::request_context(None, Some(&postgres));
    let rows = "SELECT * FROM (VALUES ('2026-01-02T00:01Z'::timestamptz, 'ban', 3::bigint), \
                ('2026-01-02T00:00Z', 'ban', 1), ('2026-01-02T00:00Z', 'note', 2), (NULL, 'note', 9)) v (at, type, n)";
    let answer = frames(&host, &context, sql(rows, "time_series")).await;
    let frame = &answer[0];
    assert_eq!((answer.len(), frame.meta.frame_type), (1, Some(FrameType::TimeSeriesWide)));
    let times: Vec<i64> = (0..2).map(|row| frame.fields[0].time_ms_at(row).unwrap()).collect();
    assert_eq!(times, [1_767_312_000_000, 1_767_312_060_000]);
    let series: Vec<_> = frame.fields[1..]
        .iter()
        .map(|field| {
            let name = field.config.as_ref().unwrap().display_name_from_ds.as_str();
            (name, field.labels.as_ref().unwrap()["type"].as_str(), numbers(field))
        })
        .collect();
    assert_eq!(series, [("ban", "ban", vec![Some(1.0), Some(3.0)]), ("note", "note", vec![Some(2.0), None])]);

    let none = frames(&host, &context, sql("SELECT now() AS time, 1 AS n WHERE false", "time_series")).await;
    assert_eq!(none[0].rows().unwrap(), 0);
    let (status, error) = failure(&host, &context, sql("SELECT 1 AS n", "time_series")).await;
    assert_eq!(status, 400);
    assert!(error.contains("needs a column named time"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_cut_at_the_row_limit_with_a_notice() {
    let postgres = Postgres::shared().unwrap();
    let host = plugin::start(&[]).await.unwrap();
    let of_datasource = with_postgres(&postgres, &json!({ "rowLimit": 10 }));
    let mut of_grafana = plugin::request_context(None, Some(&postgres));
    of_grafana.plugin.grafana_config.insert("GF_SQL_ROW_LIMIT".to_owned(), "10".to_owned());
    let million = "SELECT to_timestamp(i) AS time, i AS n FROM generate_series(1, 1000000) i";
    for context in [&of_datasource, &of_grafana] {
        for format in ["table", "time_series"] {
            let began = Instant::now();
            let answer = frames(&host, context, sql(million, format)).await;
            assert_eq!(answer[0].rows().unwrap(), 10);
            let notice = &answer[0].meta.notices[0];
            assert_eq!(notice.severity, Severity::Warning);
            assert!(notice.text.starts_with("the result was cut at the limit of 10 rows"), "{}", notice.text);
            assert!(began.elapsed() < Duration::from_secs(5), "the rest of a million rows was not left out");
        }
        let exactly = frames(&host, context, sql("SELECT generate_series(1, 10) AS n", "table")).await;
        assert_eq!((exactly[0].rows().unwrap(), exactly[0].meta.notices.len()), (10, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_takes_too_long_is_ended_and_the_next_one_answered() {
    let postgres = Postgres::shared().unwrap();
    let host = plugin::start(&[]).await.unwrap();
    let context = with_postgres(&postgres, &json!({ "statementTimeoutSeconds": 1, "maxOpenConns": 1 }));
    for text in
        ["SELECT 1 AS n FROM pg_sleep(60)", "SELECT set_config('statement_timeout', '0', true), pg_sleep(60)::text"]
    {
        let began = Instant::now();
        let (status, error) = failure(&host, &context, sql(text, "table")).await;
        assert_eq!(status, 504, "{error}");
        assert_eq!(error, "PostgreSQL ended the statement: canceling statement due to statement timeout");
        assert!(began.elapsed() < Duration::from_secs(10));
    }
    let answer = frames(&host, &context, sql("SELECT 1 AS n", "table")).await;
    assert_eq!(answer[0].rows().unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_can_be_written_even_by_a_role_that_may() {
    let postgres = Postgres::shared().unwrap();
    postgres.run_sql(DATABASE, "CREATE TABLE precious AS SELECT 1 AS n; CREATE SEQUENCE numbers").unwrap();
    let host = plugin::start(&[]).await.unwrap();
    let mut owner = with_postgres(&postgres, &json!({ "user": SUPERUSER, "maxOpenConns": 1 }));
    owner.plugin.data_source.as_mut().unwrap().secrets = Secrets::from_iter([("postgresPassword", SUPERUSER_PASSWORD)]);
    for text in [
        "INSERT INTO precious VALUES (2)",
        "INSERT INTO precious VALUES (2) RETURNING n",
        "UPDATE precious SET n = 3",
        "DELETE FROM precious",
        "WITH gone AS (DELETE FROM precious RETURNING n) SELECT n FROM gone",
        "TRUNCATE precious",
        "DROP TABLE precious",
        "CREATE TABLE another (n int)",
        "SELECT n INTO another FROM precious",
        "SELECT nextval('numbers')",
        "SELECT 1; DROP TABLE precious",
        "SELECT 1 AS n; COMMIT; DROP TABLE precious",
        "DO $$ BEGIN DELETE FROM precious; END $$",
        "SET TRANSACTION READ WRITE",
        "SELECT set_config('transaction_read_only', 'off', false)",
        "COPY precious FROM STDIN",
        "GRANT ALL ON precious TO grafana",
    ] {
        let (status, error) = failure(&host, &owner, sql(text, "table")).await;
        assert_eq!(status, 400, "{text}: {error}");
        // Nothing of one query is left for the next, which has the same and only connection.
        let next = frames(&host, &owner, sql("SELECT n FROM precious", "table")).await;
        assert_eq!(numbers(&next[0].fields[0]), [Some(1.0)], "{text}");
    }
    for text in ["COMMIT", "BEGIN", "ROLLBACK", "SELECT set_config('search_path', 'nowhere', false)", "DISCARD ALL"] {
        plugin::ask(&host, &owner, sql(text, "table")).await.unwrap();
        let (status, error) = failure(&host, &owner, sql("DELETE FROM public.precious", "table")).await;
        assert!(status == 400 && error.contains("read-only transaction"), "after {text}: {status} {error}");
        frames(&host, &owner, sql("SELECT n FROM precious", "table")).await;
    }
    assert_eq!(postgres.run_sql(DATABASE, "SELECT n FROM precious").unwrap(), "1\n");

    let reader = plugin::request_context(None, Some(&postgres));
    let (status, error) = failure(&host, &reader, sql("SELECT * FROM precious", "table")).await;
    assert_eq!((status, error.as_str()), (403, "PostgreSQL: permission denied for table precious"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_statement_is_its_own_error() {
    let postgres = Postgres::shared().unwrap();
    let host = plugin::start(&[]).await.unwrap();
    let context = plugin::request_context(None, Some(&postgres));
    for (text, said) in [
        ("SELECT nothing FROM api_user", "column \"nothing\" does not exist (SQLSTATE 42703)"),
        ("SELEC 1", "syntax error at or near \"SELEC\" (SQLSTATE 42601)"),
        ("SELECT 1 / 0", "division by zero (SQLSTATE 22012)"),
        ("SELECT $1::int", "the statement has a parameter such as $1"),
        ("SELECT $__timeFiltre(at)", "did you mean $__timeFilter?"),
        ("SELECT 'a", "unterminated quoted string"),
        ("SELECT $__timeFilter(at", "at line 1, column 21 is never closed"),
    ] {
        let (status, error) = failure(&host, &context, sql(text, "table")).await;
        assert_eq!(status, 400, "{text}: {error}");
        assert!(error.contains(said), "{text}: {error}");
        assert_eq!(error.lines().count(), 1, "{text}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_panel_cancels_its_statement_in_the_server() {
    let postgres = Postgres::shared().unwrap();
    let host = plugin::start(&[]).await.unwrap();
    let context = with_postgres(&postgres, &json!({ "maxOpenConns": 1, "statementTimeoutSeconds": 300 }));
    let running = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%a cancelled panel%' \
                   AND pid <> pg_backend_pid()";
    let count = async || postgres.run_sql(DATABASE, running).unwrap().trim().to_owned();
    for _ in 0..2 {
        tokio::select! {
            answer = plugin::ask(&host, &context, sql("SELECT 1 AS n FROM pg_sleep(300) -- a cancelled panel", "table")) => {
                panic!("no answer was expected, got {answer:?}");
            }
            ran = eventually("the statement running", PATIENCE, async || (count().await == "1").then_some(())) => {
                ran.unwrap();
            }
        }
        let began = Instant::now();
        eventually("the statement ending", PATIENCE, async || (count().await == "0").then_some(())).await.unwrap();
        assert!(began.elapsed() < Duration::from_secs(5), "the statement went on for {:?}", began.elapsed());
        // The only connection that there may be is free again.
        let next = frames(&host, &context, sql("SELECT 1 AS n", "table")).await;
        assert_eq!(next[0].rows().unwrap(), 1);
    }
}
