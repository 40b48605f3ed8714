//! The order to stop, given once and seen by everyone who waits for it.

use futures::{Stream, StreamExt};
use tokio::sync::watch;

/// The giving side and the seeing side in one; clones share the order.
#[derive(Clone, Debug)]
pub(crate) struct Shutdown {
    order: watch::Sender<bool>,
}

impl Shutdown {
    pub(crate) fn new() -> Self {
        Self { order: watch::Sender::new(false) }
    }

    /// Gives the order. Giving it again changes nothing.
    pub(crate) fn begin(&self) {
        self.order.send_replace(true);
    }

    /// Waits for the order.
    pub(crate) fn begun(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut seen = self.order.subscribe();
        let keep_open = self.order.clone();
        async move {
            // The sender is held right here, so the channel cannot close before the order comes.
            let _ = seen.wait_for(|begun| *begun).await;
            drop(keep_open);
        }
    }

    /// A stream that ends with the order.
    pub(crate) fn end<S: Stream + Send>(&self, stream: S) -> impl Stream<Item = S::Item> + Send + use<S> {
        stream.take_until(Box::pin(self.begun()))
    }
}
