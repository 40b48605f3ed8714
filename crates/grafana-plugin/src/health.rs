//! Whether a data source works, as the button "Save & test" shows it.

use bytes::Bytes;
use serde_json::Value;

use crate::proto::pluginv2 as wire;

/// The outcome of a health check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HealthStatus {
    /// It could not be told.
    #[default]
    Unknown,
    /// It works.
    Ok,
    /// It does not.
    Error,
}

/// The answer to a health check.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Health {
    /// The outcome.
    pub status: HealthStatus,
    /// One sentence for the person who configures the data source.
    pub message: String,
    /// Further facts, a JSON object; `verboseMessage` is shown below the message.
    pub details: Option<Value>,
}

impl Health {
    /// It works.
    pub fn ok(message: impl Into<String>) -> Self {
        Self { status: HealthStatus::Ok, message: message.into(), details: None }
    }

    /// It does not work; the message says what to do.
    pub fn error(message: impl Into<String>) -> Self {
        Self { status: HealthStatus::Error, message: message.into(), details: None }
    }

    /// The same answer with details.
    #[must_use]
    pub fn with_details(mut self, details: Value) -> Self {
        self.details = Some(details);
        self
    }

    pub(crate) fn into_wire(self) -> wire::CheckHealthResponse {
        let status = match self.status {
            HealthStatus::Unknown => wire::check_health_response::HealthStatus::Unknown,
            HealthStatus::Ok => wire::check_health_response::HealthStatus::Ok,
            HealthStatus::Error => wire::check_health_response::HealthStatus::Error,
        };
        wire::CheckHealthResponse {
            status: status.into(),
            message: self.message,
            json_details: self.details.map(|details| Bytes::from(details.to_string())).unwrap_or_default(),
        }
    }

    pub(crate) fn from_wire(wire: wire::CheckHealthResponse) -> Self {
        let status = match wire.status() {
            wire::check_health_response::HealthStatus::Unknown => HealthStatus::Unknown,
            wire::check_health_response::HealthStatus::Ok => HealthStatus::Ok,
            wire::check_health_response::HealthStatus::Error => HealthStatus::Error,
        };
        Self { status, message: wire.message, details: serde_json::from_slice(&wire.json_details).ok() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_survives_the_wire() {
        for health in [
            Health::ok("fine"),
            Health::error("no route to host").with_details(serde_json::json!({"verboseMessage": "try again"})),
            Health::default(),
        ] {
            assert_eq!(Health::from_wire(health.clone().into_wire()), health);
        }
    }
}
