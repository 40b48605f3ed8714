//! Anything as a parameter of these routes.

use proptest::prelude::*;
use serde_json::Value;

use super::house;

/// Texts that parameters are made of: what they take, what they nearly take, and anything.
fn text() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "",
        "0",
        "1",
        "-1",
        "99999999999999999999",
        "site.*",
        "*.*",
        "*",
        "{a,b}",
        "{",
        "[z-a]",
        "a..b",
        "room=attic",
        "room!=",
        "room=~(",
        "name=~.*",
        "room",
        "name",
        "site.a;room=attic;floor=2",
        ";",
        "-1h",
        "now",
        "midnight",
        "treejson",
        "completer",
        "json",
        "nodelist",
        "pickle",
        "msgpack",
        "union",
        "intersection",
        "undefined",
        "Europe/Berlin",
        "cb",
        "pie",
        "%00",
        "\n",
        "(?i)a{1000}{1000}",
        "é",
    ]);
    prop_oneof![3 => known.prop_map(ToOwned::to_owned), 1 => any::<String>(), 1 => "[a-z0-9*{}\\[\\].;=!~^,()-]{0,40}"]
}

fn parameters() -> impl Strategy<Value = Vec<(&'static str, String)>> {
    let name = prop::sample::select(vec![
        "query",
        "format",
        "wildcards",
        "leavesOnly",
        "position",
        "automatic_variants",
        "from",
        "until",
        "now",
        "tz",
        "jsonp",
        "pretty",
        "groupByExpr",
        "expr",
        "expr[]",
        "tag",
        "tagPrefix",
        "valuePrefix",
        "limit",
        "filter",
        "path",
        "path[]",
        "group",
        "grouped",
        "type",
        "tags",
        "set",
    ]);
    prop::collection::vec((name, text()), 0..8)
}

fn route() -> impl Strategy<Value = (&'static str, String)> {
    let routes = prop::sample::select(vec![
        ("GET", "/metrics/find"),
        ("POST", "/metrics/find/"),
        ("GET", "/metrics/expand"),
        ("GET", "/metrics/index.json"),
        ("GET", "/events"),
        ("GET", "/events/get_data"),
        ("POST", "/events/"),
        ("GET", "/functions"),
        ("GET", "/tags"),
        ("GET", "/tags/findSeries"),
        ("POST", "/tags/findSeries"),
        ("GET", "/tags/autoComplete/tags"),
        ("GET", "/tags/autoComplete/values"),
        ("POST", "/tags/tagSeries"),
        ("POST", "/tags/tagMultiSeries"),
        ("GET", "/version"),
        ("GET", "/nowhere"),
    ]);
    let named = ("/(functions|tags)/", text()).prop_map(|(prefix, name)| {
        let name: String = form_urlencoded::byte_serialize(name.as_bytes()).collect();
        ("GET", format!("{prefix}{name}"))
    });
    prop_oneof![4 => routes.prop_map(|(method, path)| (method, path.to_owned())), 1 => named]
}

/// Nothing that is asked makes a handler panic, and what is refused is refused in one line.
#[test]
fn any_parameter_is_answered_or_refused_in_one_line() {
    let house = house();
    proptest!(|((method, path) in route(), parameters in parameters(), in_form in any::<bool>())| {
        let mut encoded = form_urlencoded::Serializer::new(String::new());
        encoded.extend_pairs(&parameters);
        let encoded = encoded.finish();
        let answer = if in_form && method == "POST" {
            house.ask(method, &path, &encoded)
        } else {
            house.ask(method, &format!("{path}?{encoded}"), "")
        };
        prop_assert!(answer.status < 500, "{method} {path}?{encoded}: {} {}", answer.status, answer.text());
        if answer.status >= 400 {
            let text = answer.text();
            prop_assert!(text.trim_end().lines().count() <= 1, "{method} {path}?{encoded}: {text:?}");
        } else if answer.kind == "application/json" {
            prop_assert!(serde_json::from_slice::<Value>(&answer.body).is_ok());
        }
    });
}
