//! What the editors ask while a query is written.

use std::io::Write;
use std::net::TcpStream;

use grafana_plugin::ResourceRequest;
use serde_json::{Value, json};
use statline_harness::program::eventually;
use statline_harness::statlined::Options;
use statline_harness::{Postgres, Statlined, plugin};

use crate::{PATIENCE, with_settings};

#[tokio::test(flavor = "multi_thread")]
async fn the_editors_find_paths_tags_functions_tables_and_columns() {
    let postgres = Postgres::shared().unwrap();
    let store = tempfile::tempdir().unwrap();
    let statlined = Statlined::start(&Options::new(store.path(), "1s")).unwrap();
    let host = plugin::start(&[]).await.unwrap();
    let context = plugin::request_context(Some(&statlined), Some(&postgres));
    let get = async |url: &str| {
        let answer = host.call_resource(&context, ResourceRequest::get(url)).await.unwrap();
        (answer.status, answer.json::<Value>().unwrap())
    };
    let lines = "servers.a.cpu 1 -1\nservers.a.cpu.user 1 -1\nservers.b 2 -1\nrequests;channel=python;kind=x 1 -1\n\
                 requests;channel=rust;kind=x 1 -1\n";
    TcpStream::connect(statlined.carbon()).unwrap().write_all(lines.as_bytes()).unwrap();
    let tags =
        eventually("the tags", PATIENCE, async || Some(get("tags").await).filter(|(_, tags)| tags != &json!([])));
    assert_eq!(tags.await.unwrap(), (200, json!(["channel", "kind", "name"])));

    let node = |text: &str, id: &str, leaf: bool, expandable: bool| json!({ "text": text, "id": id, "leaf": leaf, "expandable": expandable });
    for (url, answer) in [
        ("find?query=servers.*", json!([node("a", "servers.a", false, true), node("b", "servers.b", true, false)])),
        ("find?query=servers.a.*", json!([node("cpu", "servers.a.cpu", true, true)])),
        (
            "find?query=servers.%7Ba%2Cb%7D",
            json!([node("a", "servers.a", false, true), node("b", "servers.b", true, false)]),
        ),
        ("find?query=servers.*&from=0&until=1000", json!([])),
        ("find?query=nothing.*", json!([])),
        ("tags/values?tag=channel", json!(["python", "rust"])),
        ("tags/values?tag=channel&prefix=r", json!(["rust"])),
    ] {
        assert_eq!(get(url).await, (200, answer), "{url}");
    }

    let (status, functions) = get("functions").await;
    let alias = &functions["functions"]["alias"];
    assert_eq!((status, &alias["name"], &alias["group"]), (200, &json!("alias"), &json!("Alias")), "{functions}");
    assert_eq!(alias["params"][0]["name"], "seriesList");
    assert_eq!(alias["params"][1]["required"], true);

    let (status, tables) = get("tables").await;
    assert_eq!(status, 200);
    let names: Vec<&str> = tables.as_array().unwrap().iter().filter_map(|table| table["name"].as_str()).collect();
    assert!(names.contains(&"api_infraction") && names.contains(&"messages"), "{names:?}");
    assert!(!names.contains(&"api_reminder"), "what the role may not read is not offered: {names:?}");
    let (status, columns) = get("columns?schema=public&table=api_infraction").await;
    assert_eq!((status, &columns[0]), (200, &json!({ "name": "id", "type": "integer" })));
    assert_eq!(columns[1], json!({ "name": "inserted_at", "type": "timestamp with time zone" }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resource_that_cannot_be_given_says_why() {
    let host = plugin::start(&[]).await.unwrap();
    let nothing = plugin::request_context(None, None);
    let away = with_settings(
        &nothing,
        &json!({
            "sidecar": { "address": "http://127.0.0.1:1" },
            "postgres": { "host": "127.0.0.1:1", "database": "d", "user": "u", "sslmode": "disable" },
        }),
    );
    for (context, request, status, said) in [
        (&nothing, ResourceRequest::get("find?query=a"), 400, "this datasource has no sidecar"),
        (&nothing, ResourceRequest::get("tables"), 400, "this datasource has no PostgreSQL"),
        (&away, ResourceRequest::get("find"), 400, "the parameter query is missing"),
        (&away, ResourceRequest::get("find?query=a&from=now"), 400, "from is \"now\"; expected milliseconds"),
        (&away, ResourceRequest::get("columns"), 400, "the parameter table is missing"),
        (&away, ResourceRequest::get("find?query=a"), 502, "statlined does not answer at http://127.0.0.1:1"),
        (&away, ResourceRequest::get("tables"), 502, "PostgreSQL does not answer at 127.0.0.1:1"),
        (&away, ResourceRequest::get("nowhere"), 404, "there is no resource \"nowhere\"; expected find"),
        (
            &away,
            ResourceRequest { method: "DELETE".to_owned(), ..ResourceRequest::get("tables") },
            405,
            "method DELETE is not served here",
        ),
    ] {
        let url = request.url.clone();
        let answer = host.call_resource(context, request).await.unwrap();
        let body: Value = answer.json().unwrap();
        assert_eq!(answer.status, status, "{url}: {body}");
        assert!(body["error"].as_str().unwrap().contains(said), "{url}: {body}");
    }
}
