//! Statements against a PostgreSQL of one's own: what only the server can show.

use statline_harness::postgres::{DATABASE, READER, READER_PASSWORD};

use super::columns::Values;
use super::run::{self, Answer, Cut, Limits};
use super::{Postgres, PostgresSettings, SslMode, notice};

/// How a server of the harness is reached.
pub fn settings(server: &statline_harness::Postgres) -> PostgresSettings {
    PostgresSettings {
        host: format!("127.0.0.1:{}", server.port()),
        database: DATABASE.to_owned(),
        user: READER.to_owned(),
        password: Some(READER_PASSWORD.to_owned()),
        ssl_mode: SslMode::Disable,
        ca_certificate: None,
        client_identity: None,
        max_connections: 2,
        statement_timeout: std::time::Duration::from_secs(30),
        row_limit: 1000,
    }
}

async fn select(sql: &str, limits: Limits) -> Answer {
    let server = statline_harness::Postgres::shared().unwrap();
    run::select(&Postgres::new(settings(&server)), sql, limits).await.unwrap()
}

#[tokio::test]
async fn an_answer_is_cut_at_its_bytes_or_its_rows_whichever_come_first() {
    let texts = "SELECT repeat('x', 1000) FROM generate_series(1, 20)";
    let nulls = "SELECT NULL::int, NULL::int FROM generate_series(1, 20)";
    for (sql, rows, bytes, cut, kept) in [
        (texts, 20, 20_000, None, 20),
        (texts, 20, 19_999, Some(Cut::Bytes), 19),
        (texts, 5, 19_999, Some(Cut::Rows), 5),
        (texts, 20, 10, Some(Cut::Bytes), 0),
        (nulls, 20, 320, None, 20),
        (nulls, 20, 160, Some(Cut::Bytes), 10),
    ] {
        let answer = select(sql, Limits { rows, bytes }).await;
        let length = match &answer.columns[0].values {
            Values::Text(values) => values.len(),
            Values::Integer(values) => values.len(),
            other => panic!("{other:?}"),
        };
        assert_eq!((answer.cut, length), (cut, kept), "{sql} within {rows} rows and {bytes} bytes");
    }
    let limits = Limits { rows: 10, bytes: run::MAX_ANSWER_BYTES };
    assert!(notice(Cut::Rows, limits).starts_with("the result was cut at the limit of 10 rows;"));
    assert!(notice(Cut::Bytes, limits).starts_with("the result was cut at 256 MiB;"));
}

#[tokio::test]
async fn values_are_read_as_postgresql_means_them() {
    let time = |value: Option<i64>| Values::Time(vec![value]);
    let text = |value: &str| Values::Text(vec![Some(value.to_owned())]);
    let expected = [
        ("timestamptz 'infinity'", time(None)),
        ("timestamptz '-infinity'", time(None)),
        ("timestamp 'infinity'", time(None)),
        ("timestamp '-infinity'", time(None)),
        ("date 'infinity'", time(None)),
        ("date '-infinity'", time(None)),
        ("timestamp '294276-12-31 23:59:59'", time(None)),
        ("date '4713-01-01 BC'", time(None)),
        ("timestamptz '2023-11-14 23:13:20.123456+01'", time(Some(1_700_000_000_123_456_000))),
        ("timestamp '2023-11-14 22:13:20'", time(Some(1_700_000_000_000_000_000))),
        ("date '1969-12-31'", time(Some(-86_400_000_000_000))),
        ("'ab'::char(4)", text("ab  ")),
        ("'ab'::bpchar", text("ab")),
        ("'ab'::name", text("ab")),
        ("'r'::\"char\"", text("r")),
        ("''::\"char\"", text("")),
        ("'{1,NULL,-3}'::int2[]", text("{1,NULL,-3}")),
        ("'{t,NULL,f}'::bool[]", text("{t,NULL,f}")),
    ];
    let list: Vec<&str> = expected.iter().map(|(expression, _)| *expression).collect();
    let sql = format!("SELECT {}", list.join(", "));
    let answer = select(&sql, Limits { rows: 10, bytes: run::MAX_ANSWER_BYTES }).await;
    for (column, (expression, values)) in answer.columns.iter().zip(&expected) {
        assert_eq!(&column.values, values, "{expression}");
    }
    assert_eq!(answer.columns.len(), expected.len());
}
