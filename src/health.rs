//! "Save & test": both ends, asked anew, with a message that a person can act on.

use grafana_plugin::Health;

use crate::instance::Instance;

/// Asks both halves at once.
pub async fn check(instance: &Instance) -> Health {
    let sidecar = async {
        match instance.configured_sidecar() {
            None => None,
            Some(client) => Some(match client.health().await {
                Ok(health) => {
                    let age = if health.last_flush.is_some() { "" } else { ", no flush yet" };
                    Ok(format!("statlined {} with {} series{age}", health.version, health.series))
                }
                Err(error) => Err(error.to_string()),
            }),
        }
    };
    let postgres = async {
        match instance.configured_postgres() {
            None => None,
            Some(postgres) => Some(postgres.check().await),
        }
    };
    let (sidecar, postgres) = tokio::join!(sidecar, postgres);
    verdict([("Sidecar", sidecar), ("PostgreSQL", postgres)])
}

/// One message out of two: what is wrong comes first.
fn verdict(halves: [(&str, Option<Result<String, String>>); 2]) -> Health {
    let mut good = Vec::new();
    let mut bad = Vec::new();
    for (name, outcome) in &halves {
        match outcome {
            Some(Ok(message)) => good.push(format!("{name}: {message}")),
            Some(Err(message)) => bad.push(format!("{name}: {message}")),
            None => {}
        }
    }
    if !bad.is_empty() {
        let works = if good.is_empty() { String::new() } else { format!(" ({} works)", good.join("; ")) };
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

    #[test]
    fn what_is_wrong_comes_first() {
        let ok = || Some(Ok("fine".to_owned()));
        let broken = || Some(Err("no answer".to_owned()));
        for (sidecar, postgres, status, message) in [
            (ok(), ok(), HealthStatus::Ok, "Sidecar: fine; PostgreSQL: fine"),
            (ok(), None, HealthStatus::Ok, "Sidecar: fine; PostgreSQL: not configured"),
            (ok(), broken(), HealthStatus::Error, "PostgreSQL: no answer (Sidecar: fine works)"),
            (broken(), None, HealthStatus::Error, "Sidecar: no answer"),
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
