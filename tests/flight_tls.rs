//! TLS between plugin and sidecar, as an operator sets it up: an authority of one's own, and settings that are wrong.

#![allow(clippy::unwrap_used, reason = "a test says what is wrong by panicking")]

use std::path::{Path, PathBuf};

use grafana_plugin::{HealthStatus, RequestContext, Secrets};
use serde_json::json;
use statline_harness::statlined::Options;
use statline_harness::{Authority, Statlined, plugin};

fn write(directory: &Path, name: &str, text: &str) -> PathBuf {
    let path = directory.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

/// A daemon whose certificate is for `localhost`, and which asks for the token `s3cret`.
fn statlined(directory: &Path, authority: &Authority, client_ca: Option<&Authority>) -> Statlined {
    let (certificate, key) = authority.sign(&["localhost"]).unwrap();
    let mut options = Options::new(&directory.join("store"), "1s")
        .set("flight", "token", "s3cret")
        .set("flight", "tls_certificate", write(directory, "certificate.pem", &certificate).display())
        .set("flight", "tls_key", write(directory, "key.pem", &key).display());
    if let Some(client_ca) = client_ca {
        let path = write(directory, "client-ca.pem", client_ca.certificate());
        options = options.set("flight", "tls_client_ca", path.display());
    }
    Statlined::start(&options).unwrap()
}

fn context(sidecar: &serde_json::Value, secrets: &[(&str, &str)]) -> RequestContext {
    let mut context = plugin::request_context(None, None);
    let settings = context.plugin.data_source.as_mut().unwrap();
    settings.json_data = json!({ "sidecar": sidecar }).to_string().into();
    settings.uid = format!("{sidecar} {secrets:?}");
    settings.secrets = Secrets::from_iter(secrets.iter().copied());
    context
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sidecars_certificate_and_the_token_are_checked() {
    let directory = tempfile::tempdir().unwrap();
    let (ours, another) = (Authority::new("ours").unwrap(), Authority::new("another").unwrap());
    let statlined = statlined(directory.path(), &ours, None);
    let host = plugin::start(&[]).await.unwrap();
    let port = statlined.flight().port();
    let (by_name, by_ip) = (format!("https://localhost:{port}"), format!("https://127.0.0.1:{port}"));
    let (ca, wrong_ca) = (("sidecarTlsCaCert", ours.certificate()), ("sidecarTlsCaCert", another.certificate()));
    let token = ("sidecarToken", "s3cret");
    let ok = "Sidecar: statlined ";
    for (sidecar, secrets, said) in [
        (json!({ "address": by_name }), vec![ca, token], ok),
        (json!({ "address": by_ip, "tlsServerName": "localhost" }), vec![ca, token], ok),
        (json!({ "address": by_ip, "tlsSkipVerify": true }), vec![token], ok),
        (json!({ "address": by_ip, "tlsSkipVerify": true }), vec![wrong_ca, token], ok),
        (json!({ "address": by_ip }), vec![ca, token], "certificate not valid for name"),
        (
            json!({ "address": by_name, "tlsServerName": "elsewhere" }),
            vec![ca, token],
            "certificate not valid for name",
        ),
        (json!({ "address": by_name }), vec![wrong_ca, token], "invalid peer certificate"),
        (json!({ "address": by_name }), vec![token], "invalid peer certificate: UnknownIssuer"),
        (json!({ "address": by_name }), vec![ca], "refuses the token: no token was sent; check the sidecar's token"),
        (
            json!({ "address": by_name }),
            vec![ca, ("sidecarToken", "guess")],
            "refuses the token: the token is not flight.token",
        ),
        (
            json!({ "address": by_name }),
            vec![("sidecarTlsCaCert", "no pem"), token],
            "Sidecar: the CA certificate is no PEM; paste the text",
        ),
    ] {
        let health = host.check_health(&context(&sidecar, &secrets)).await.unwrap();
        assert!(health.message.contains(said), "{sidecar}: no {said:?} in {:?}", health.message);
        assert_eq!(health.status == HealthStatus::Ok, said == ok, "{sidecar}: {:?}", health.message);
        assert!(!health.message.contains("s3cret") && !health.message.contains("guess"), "{}", health.message);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_may_ask_for_the_plugins_certificate() {
    let directory = tempfile::tempdir().unwrap();
    let (ours, another) = (Authority::new("ours").unwrap(), Authority::new("another").unwrap());
    let statlined = statlined(directory.path(), &ours, Some(&ours));
    let host = plugin::start(&[]).await.unwrap();
    let sidecar = json!({ "address": format!("https://localhost:{}", statlined.flight().port()) });
    let common = [("sidecarTlsCaCert", ours.certificate()), ("sidecarToken", "s3cret")];
    let (right, wrong) = (ours.sign(&["plugin"]).unwrap(), another.sign(&["plugin"]).unwrap());
    for (identity, allowed) in [(Some(&right), true), (Some(&wrong), false), (None, false)] {
        let identity = identity.map(|(certificate, key)| {
            [("sidecarTlsClientCert", certificate.as_str()), ("sidecarTlsClientKey", key.as_str())]
        });
        let secrets: Vec<_> = common.into_iter().chain(identity.into_iter().flatten()).collect();
        let health = host.check_health(&context(&sidecar, &secrets)).await.unwrap();
        assert_eq!(health.status == HealthStatus::Ok, allowed, "{}", health.message);
        assert_eq!(health.message.lines().count(), 1, "{}", health.message);
    }
}
