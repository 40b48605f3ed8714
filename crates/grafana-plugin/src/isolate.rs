//! Work on a task of its own, so that a panic in it stays in it, and dropped when nobody waits for it any more.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::task::JoinHandle;
use tracing::Instrument;

/// The work has panicked. The panic hook has logged what and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Panicked;

/// The outcome of work on a task of its own. Dropping it drops the work.
pub(crate) struct Isolated<T>(JoinHandle<T>);

/// Starts work on a task of its own, in the current span.
pub(crate) fn isolated<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Isolated<T> {
    Isolated(tokio::spawn(work.in_current_span()))
}

impl<T> Future for Isolated<T> {
    type Output = Result<T, Panicked>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map_err(|_| Panicked)
    }
}

impl<T> Drop for Isolated<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    #[tokio::test]
    async fn a_panic_is_an_outcome() {
        assert_eq!(isolated(async { 1 }).await, Ok(1));
        assert_eq!(isolated(async { panic!("on purpose") }).await, Err::<(), _>(Panicked));
    }

    #[tokio::test]
    async fn work_that_nobody_waits_for_is_dropped() {
        let (dropped, seen) = oneshot::channel::<()>();
        let waiting = isolated(async move {
            let _dropped = dropped;
            std::future::pending::<()>().await;
        });
        drop(waiting);
        assert!(seen.await.is_err(), "the work's end of the channel is dropped with it");
    }
}
