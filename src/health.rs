//! "Save & test": both ends, asked anew, with a message that a person can act on.

use std::time::Duration;

use grafana_plugin::Health;
use statline_flight::Client;

use crate::instance::Instance;

/// The longest that a person waits for the sidecar.
const SIDECAR_TIMEOUT: Duration = Duration::from_secs(5);

/// Asks both halves at once.
pub async fn check(instance: &Instance) -> Health {
    let sidecar = async {
        match instance.configured_sidecar() {
            Ok(None) => None,
            Ok(Some(client)) => Some(ask_sidecar(client, SIDECAR_TIMEOUT).await),
            Err(error) => Some(Err(error.message)),
        }
    };
    let postgres = async {
        match instance.configured_postgres() {
            Ok(None) => None,
            Ok(Some(postgres)) => Some(postgres.check().await),
            Err(error) => Some(Err(error.message)),
        }
    };
    let (sidecar, postgres) = tokio::join!(sidecar, postgres);
    verdict([("Sidecar", sidecar), ("PostgreSQL", postgres)])
}

async fn ask_sidecar(client: &Client, patience: Duration) -> Result<String, String> {
    match tokio::time::timeout(patience, client.health()).await {
        Ok(Ok(health)) => {
            let age = if health.last_flush.is_some() { "" } else { ", no flush yet" };
            Ok(format!("statlined {} with {} series{age}", health.version, health.series))
        }
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!(
            "no answer within {} s; is this the Flight address of statlined (port 8815), open to Grafana, and is tls used \
             by both ends or by none?",
            patience.as_secs_f64()
        )),
    }
}

/// One message out of two: what is wrong comes first.
fn verdict(halves: [(&str, Option<Result<String, String>>); 2]) -> Health {
    let mut good = Vec::new();
    let mut bad = Vec::new();
    for (name, outcome) in &halves {
        match outcome {
            Some(Ok(message)) => good.push(format!("{name}: {message}")),
            // What PostgreSQL itself said begins with its name already.
            Some(Err(message)) if message.starts_with(name) => bad.push(message.clone()),
            Some(Err(message)) => bad.push(format!("{name}: {message}")),
            None => {}
        }
    }
    if !bad.is_empty() {
        let works =
            if good.is_empty() { String::new() } else { format!("; the other half works ({})", good.join("; ")) };
        return Health::error(format!("{}{works}", bad.join("; ")));
    }
    if good.is_empty() {
        return Health::error(
            "nothing is configured; enter the address of statlined, or PostgreSQL's host, database and user",
        );
    }
    for (name, outcome) in &halves {
        if outcome.is_none() {
            good.push(format!("{name}: not configured"));
        }
    }
    Health::ok(good.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use grafana_plugin::HealthStatus;
    use statline_flight::ClientSettings;

    #[tokio::test]
    async fn a_sidecar_that_says_nothing_is_not_waited_for() {
        // The kernel accepts, and nobody reads.
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", silent.local_addr().unwrap());
        let client = Client::new(&ClientSettings { address, ..ClientSettings::default() }).unwrap();
        let answer = tokio::time::timeout(Duration::from_secs(60), ask_sidecar(&client, Duration::from_millis(200)));
        let error = answer.await.unwrap().unwrap_err();
        assert!(error.contains("no answer within 0.2 s; is this the Flight address of statlined"), "{error}");
    }

    #[test]
    fn what_is_wrong_comes_first() {
        let ok = || Some(Ok("fine".to_owned()));
        let broken = || Some(Err("no answer".to_owned()));
        for (sidecar, postgres, status, message) in [
            (ok(), ok(), HealthStatus::Ok, "Sidecar: fine; PostgreSQL: fine"),
            (ok(), None, HealthStatus::Ok, "Sidecar: fine; PostgreSQL: not configured"),
            (ok(), broken(), HealthStatus::Error, "PostgreSQL: no answer; the other half works (Sidecar: fine)"),
            (broken(), None, HealthStatus::Error, "Sidecar: no answer"),
            (None, Some(Err("PostgreSQL is away".to_owned())), HealthStatus::Error, "PostgreSQL is away"),
            (
                None,
                None,
                HealthStatus::Error,
                "nothing is configured; enter the address of statlined, or PostgreSQL's host, database and user",
            ),
        ] {
            let health = verdict([("Sidecar", sidecar), ("PostgreSQL", postgres)]);
            assert_eq!((health.status, health.message.as_str()), (status, message));
        }
    }
}
