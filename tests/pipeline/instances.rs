//! Datasources beside each other, and settings that change.

use std::io::Write;
use std::net::TcpStream;

use grafana_plugin::RequestContext;
use grafana_plugin::host::Host;
use statline_harness::program::eventually;
use statline_harness::statlined::Options;
use statline_harness::{Statlined, plugin};

use crate::{PATIENCE, frames, graphite};

/// A daemon that holds one point, of its own name.
fn statlined(name: &str) -> (Statlined, tempfile::TempDir) {
    let store = tempfile::tempdir().unwrap();
    let statlined = Statlined::start(&Options::new(store.path(), "1s")).unwrap();
    TcpStream::connect(statlined.carbon()).unwrap().write_all(format!("site.{name} 1 -1\n").as_bytes()).unwrap();
    (statlined, store)
}

/// The names of the series below `site`.
async fn sites(host: &Host, context: &RequestContext) -> Vec<String> {
    let frames = frames(host, context, graphite("site.*")).await;
    let fields = frames.iter().flat_map(|frame| &frame.fields[1..]);
    fields.map(|field| field.config.as_ref().unwrap().display_name_from_ds.clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_datasource_has_connections_of_its_own_and_changed_settings_take_effect() {
    let ((berlin, _berlin_store), (paris, _paris_store)) = (statlined("berlin"), statlined("paris"));
    let host = plugin::start(&[]).await.unwrap();
    let in_berlin = plugin::request_context(Some(&berlin), None);
    let mut in_paris = plugin::request_context(Some(&paris), None);
    in_paris.plugin.data_source.as_mut().unwrap().uid = "another".to_owned();
    for (context, name) in [(&in_berlin, "site.berlin"), (&in_paris, "site.paris")] {
        eventually("the point", PATIENCE, async || (sites(&host, context).await == [name]).then_some(()))
            .await
            .unwrap();
    }
    // Both are known by now, and stay apart.
    assert_eq!(sites(&host, &in_berlin).await, ["site.berlin"]);
    assert_eq!(sites(&host, &in_paris).await, ["site.paris"]);

    let mut moved = plugin::request_context(Some(&paris), None);
    moved.plugin.data_source.as_mut().unwrap().updated_ms = 2;
    assert_eq!(sites(&host, &moved).await, ["site.paris"]);

    let mut same_uid_elsewhere = plugin::request_context(Some(&berlin), None);
    same_uid_elsewhere.plugin.org_id = 2;
    assert_eq!(sites(&host, &same_uid_elsewhere).await, ["site.berlin"], "an org has datasources of its own");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_that_comes_back_is_asked_again() {
    let (statlined, store) = statlined("berlin");
    let host = plugin::start(&[]).await.unwrap();
    let context = plugin::request_context(Some(&statlined), None);
    eventually("the point", PATIENCE, async || (!sites(&host, &context).await.is_empty()).then_some(())).await.unwrap();
    let flight = statlined.flight();
    assert!(statlined.terminate().unwrap().success());
    let away = plugin::ask(&host, &context, graphite("site.*")).await.unwrap();
    assert_eq!(away.status, 502);
    assert!(away.error.unwrap().contains(&format!("statlined does not answer at http://{flight}")));

    let _back = Statlined::start(&Options::new(store.path(), "1s").set("flight", "listen", flight)).unwrap();
    assert_eq!(sites(&host, &context).await, ["site.berlin"]);
}
