//! What the console answers with, apart from what its conversation over a real socket proves.

use serde_json::json;

use super::*;

#[test]
fn the_configuration_is_told_as_etsys_console_tells_one() {
    let config =
        json!({ "statsd": { "listen": ["0.0.0.0:8125", "[::]:8125"], "flush": "10s", "on": true }, "level": 3 });
    assert_eq!(
        config_text(&config),
        "\nlevel: 3\nstatsd > flush: 10s\nstatsd > listen: 0.0.0.0:8125,[::]:8125\nstatsd > on: true\n"
    );
}

#[test]
fn the_configuration_is_told_without_secrets() {
    let mut config = config::Config::default();
    config.http.token = "Tr0ub4dor".into();
    let text = config_text(&config);
    assert!(text.contains("http > token: (set)\n") && text.contains("flight > token: \n"), "{text}");
    assert!(!text.contains("Tr0ub4dor"));
}
