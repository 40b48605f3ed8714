//! The end of a statement whose caller went away: it is cancelled in the server, by a connection of its own.
//!
//! The connection that it ran on is not used again: a cancellation that comes late must not hit somebody else's statement.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection};
use tokio::sync::Semaphore;

use super::connect::CONNECT_TIMEOUT;

/// The most connections that cancel at once, beside those of the pool.
const MAX_AT_ONCE: usize = 4;

/// Cancels statements of one database, a few at a time.
#[derive(Clone)]
pub struct Canceller {
    options: PgConnectOptions,
    slots: Arc<Semaphore>,
    patience: Duration,
}

impl Canceller {
    /// Connects as `options` say when there is something to cancel.
    pub fn new(options: PgConnectOptions) -> Self {
        Self { options, slots: Arc::new(Semaphore::new(MAX_AT_ONCE)), patience: CONNECT_TIMEOUT }
    }

    /// Cancels what the server's process `backend` does, and closes the connection to it. Nobody need wait for that: it
    /// ends by itself, well or not, in a limited time.
    pub fn cancel(&self, connection: PgConnection, backend: i32) {
        let canceller = self.clone();
        tokio::spawn(async move {
            if let Err(error) = canceller.ask(backend).await {
                tracing::warn!(%error, backend, "a statement could not be cancelled in PostgreSQL; its timeout will end it");
            }
            let _ = connection.close_hard().await;
        });
    }

    async fn ask(&self, backend: i32) -> Result<(), sqlx::Error> {
        let ask = async {
            // The semaphore is never closed.
            let _slot = self.slots.acquire().await.map_err(|_| sqlx::Error::WorkerCrashed)?;
            let mut connection = PgConnection::connect_with(&self.options).await?;
            sqlx::query("SELECT pg_cancel_backend($1)").bind(backend).execute(&mut connection).await?;
            connection.close().await
        };
        tokio::time::timeout(self.patience, ask).await.unwrap_or_else(|_| Err(sqlx::Error::PoolTimedOut))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn cancellations_of_a_server_that_hangs_are_few_and_end() {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = silent.local_addr().unwrap().port();
        let options = PgConnectOptions::new_without_pgpass().host("127.0.0.1").port(port).username("u");
        let canceller = Canceller { patience: Duration::from_millis(500), ..Canceller::new(options) };
        let all = futures::future::join_all((0..20).map(|backend| canceller.ask(backend)));
        let mut connected = Vec::new();
        let accept = async {
            loop {
                connected.push(silent.accept().await.unwrap());
            }
        };
        let outcomes = tokio::select! {
            outcomes = tokio::time::timeout(Duration::from_secs(60), all) => outcomes.unwrap(),
            () = accept => unreachable!("it accepts for ever"),
        };
        assert!(outcomes.iter().all(|outcome| matches!(outcome, Err(sqlx::Error::PoolTimedOut))), "{outcomes:?}");
        assert_eq!(connected.len(), MAX_AT_ONCE);
        assert_eq!(canceller.slots.available_permits(), MAX_AT_ONCE);
    }
}
