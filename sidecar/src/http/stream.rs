//! Long answers, written piece by piece while they are sent, so that no answer has to be held as a whole text.
//!
//! Writing is arithmetic over millions of values, so each piece is made on a thread that may be kept busy. A client that
//! takes no piece for too long is cut off, and the series that wait for it are let go.

use std::io;
use std::time::Duration;

use axum::body::{Body, Bytes};
use futures::{Stream, stream};
use tokio::sync::mpsc;

use crate::engine::QueryError;

/// What is sent at once, in bytes; a piece may be longer when what it is made of cannot be parted.
const PIECE_BYTES: usize = 128 << 10;

/// An answer that is written piece by piece.
pub trait Pieces: Send + 'static {
    /// Writes the next piece behind what is in `out`, and tells whether there are more.
    fn next(&mut self, out: &mut Vec<u8>) -> bool;
}

impl<P: Pieces + ?Sized> Pieces for Box<P> {
    fn next(&mut self, out: &mut Vec<u8>) -> bool {
        (**self).next(out)
    }
}

/// The body of an answer. `patience` is how long its client may take for a piece.
///
/// # Errors
/// When writing fails before anything was sent, which is a bug.
pub async fn body(pieces: impl Pieces, patience: Duration) -> Result<Body, QueryError> {
    let (first, rest) = write(pieces).await?;
    let Some(rest) = rest else { return Ok(Body::from(first)) };
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(send(first, rest, sender, patience));
    Ok(Body::from_stream(received(receiver)))
}

/// Writes as much as is sent at once; what is left to be written comes back.
async fn write<P: Pieces>(mut pieces: P) -> Result<(Vec<u8>, Option<P>), QueryError> {
    let writing = tokio::task::spawn_blocking(move || {
        let mut out = Vec::new();
        while pieces.next(&mut out) {
            if out.len() >= PIECE_BYTES {
                return (out, Some(pieces));
            }
        }
        (out, None)
    });
    writing.await.map_err(|error| QueryError::Internal(error.to_string()))
}

/// What is said after the last piece; an answer that ends without it was cut off.
enum Sent {
    Piece(Vec<u8>),
    End,
}

async fn send(first: Vec<u8>, rest: impl Pieces, sender: mpsc::Sender<Sent>, patience: Duration) {
    let take = |sent| {
        let sender = sender.clone();
        // Nobody takes it any more, or too slowly.
        async move { tokio::time::timeout(patience, sender.send(sent)).await.is_ok_and(|sent| sent.is_ok()) }
    };
    if !take(Sent::Piece(first)).await {
        return;
    }
    let mut waiting = Some(rest);
    while let Some(rest) = waiting.take() {
        let (piece, rest) = match write(rest).await {
            Ok(written) => written,
            Err(error) => {
                tracing::error!(%error, "an answer is cut off");
                return;
            }
        };
        if !take(Sent::Piece(piece)).await {
            return;
        }
        waiting = rest;
    }
    take(Sent::End).await;
}

fn received(receiver: mpsc::Receiver<Sent>) -> impl Stream<Item = io::Result<Bytes>> {
    stream::unfold(Some(receiver), |receiver| async {
        let mut receiver = receiver?;
        match receiver.recv().await {
            Some(Sent::Piece(piece)) => Some((Ok(piece.into()), Some(receiver))),
            Some(Sent::End) => None,
            None => Some((Err(io::Error::other("the answer was cut off")), None)),
        }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// So many pieces of 50 kB; it counts those that it has written.
    struct Letters(usize, Arc<AtomicUsize>);

    impl Pieces for Letters {
        fn next(&mut self, out: &mut Vec<u8>) -> bool {
            out.resize(out.len() + 50_000, b'x');
            self.1.fetch_add(1, Ordering::SeqCst);
            self.0 -= 1;
            self.0 > 0
        }
    }

    #[tokio::test]
    async fn pieces_arrive_as_one_body() {
        for count in [1, 3, 4, 100] {
            let body = body(Letters(count, Arc::default()), Duration::from_secs(10)).await.unwrap();
            let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
            assert_eq!(bytes.len(), count * 50_000);
        }
    }

    #[tokio::test]
    async fn no_more_is_written_than_is_taken() {
        let written = Arc::new(AtomicUsize::new(0));
        let body = body(Letters(1000, Arc::clone(&written)), Duration::from_millis(50)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
        // The one that was taken, the one that waits, and the one for which there was no place.
        assert!(written.load(Ordering::SeqCst) <= 9, "{written:?}");
        let cut = axum::body::to_bytes(body, usize::MAX).await.unwrap_err();
        assert!(cut.to_string().contains("cut off"), "{cut}");
    }
}
