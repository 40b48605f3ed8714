//! Anything as a parameter of `/render`.

use proptest::prelude::*;
use serde_json::Value;

use super::{House, WHEN};
use crate::config;

/// Every parameter that `/render` looks at.
const NAMES: &[&str] = &[
    "target",
    "target[]",
    "from",
    "until",
    "now",
    "tz",
    "format",
    "rawData",
    "pickle",
    "jsonp",
    "pretty",
    "noNullPoints",
    "maxDataPoints",
    "xFilesFactor",
    "maxStep",
    "noCache",
    "cacheTimeout",
    "compat",
    "meta",
    "template[x]",
    "template",
    "graphType",
    "width",
    "height",
    "margin",
    "title",
    "vtitle",
    "vtitleRight",
    "bgcolor",
    "fgcolor",
    "majorGridLineColor",
    "colorList",
    "fontSize",
    "fontBold",
    "hideLegend",
    "uniqueLegend",
    "hideNullFromLegend",
    "hideAxes",
    "hideXAxis",
    "hideYAxis",
    "hideGrid",
    "graphOnly",
    "areaMode",
    "areaAlpha",
    "lineMode",
    "lineWidth",
    "thickness",
    "connectedLimit",
    "drawNullAsZero",
    "yMin",
    "yMax",
    "yLimit",
    "yStep",
    "yMinLeft",
    "yMaxRight",
    "leftColor",
    "rightWidth",
    "rightDashed",
    "yAxisSide",
    "yUnitSystem",
    "yDivisors",
    "minorY",
    "logBase",
    "xFormat",
    "minXStep",
    "local",
    "min",
    "max",
];

/// What they take, and what they nearly take.
const VALUES: &[&str] = &[
    "",
    "0",
    "1",
    "-1",
    "0.5",
    "7",
    "100",
    "1e300",
    "NaN",
    "inf",
    "99999999999999999999",
    "true",
    "false",
    "json",
    "csv",
    "raw",
    "pickle",
    "msgpack",
    "dygraph",
    "rickshaw",
    "png",
    "svg",
    "pdf",
    "line",
    "pie",
    "cb",
    "a(b)",
    "-1h",
    "now",
    "midnight",
    "1700000000",
    "1699999000",
    "Europe/Berlin",
    "Mars/Crater",
    "graphite-web",
    "statline",
    "site.*",
    "site.a",
    "seriesByTag('room=attic')",
    "scale(site.*,2)",
    "template(site.$x)",
    "b",
    "secondYAxis(site.b)",
    "stacked(site.*)",
    "areaBetween(site.{a,b})",
    "aliasSub(site.*,'(^.*$)','\\1 A')",
    "movingAverage(site.a,'1h')",
    "constantLine(100)",
    "time('x',1)",
    "sumSeries(site.a",
    "verticalLine('1700000000')",
    "nope(a)",
    "all",
    "stacked",
    "first",
    "staircase",
    "connected",
    "right",
    "binary",
    "e",
    "red",
    "ff8000aa",
    "red,blue",
    "%H:%M",
    "%",
    "4,5",
    "grafana",
    "\n",
    "é",
    "max",
];

fn value() -> impl Strategy<Value = String> {
    let known = prop::sample::select(VALUES).prop_map(ToOwned::to_owned);
    prop_oneof![8 => known, 1 => any::<String>(), 1 => "[a-z0-9*{}\\[\\].;=!~^,()'-]{0,40}"]
}

/// Nothing that is asked makes it panic or work without end, and what is refused is refused in one line.
#[test]
fn any_parameter_of_render_is_answered_or_refused_in_one_line() {
    let limits = config::Query { max_points: 20_000, max_targets: 4, ..config::Query::default() };
    let house = House::open(limits);
    let parameters = prop::collection::vec((prop::sample::select(NAMES), value()), 0..10);
    let form =
        prop::sample::select(vec!["json", "csv", "raw", "pickle", "msgpack", "dygraph", "rickshaw", "png", "svg"]);
    proptest!(|(parameters in parameters, form in form, target in value(), in_form in any::<bool>())| {
        let mut encoded = form_urlencoded::Serializer::new(String::new());
        // What comes later counts, so that anything may take the place of these.
        encoded.append_pair("target", &target).append_pair("format", form);
        encoded.append_pair("from", &(WHEN - 60).to_string()).append_pair("until", &(WHEN + 60).to_string());
        encoded.extend_pairs(&parameters);
        let encoded = encoded.finish();
        let answer = match in_form {
            true => house.ask("POST", "/render", &encoded),
            false => house.ask("GET", &format!("/render?{encoded}"), ""),
        };
        prop_assert!(answer.status < 500, "{encoded}: {} {}", answer.status, answer.text());
        if answer.status >= 400 {
            prop_assert!(answer.text().trim_end().lines().count() == 1, "{encoded}: {:?}", answer.text());
        } else if answer.kind == "application/json" {
            let text = answer.text().replace("1e9999", "1e99");
            prop_assert!(serde_json::from_str::<Value>(&text).is_ok(), "{encoded}: {text}");
        } else if answer.kind == "image/png" {
            prop_assert!(answer.body.starts_with(b"\x89PNG"), "{encoded}");
        }
    });
}
