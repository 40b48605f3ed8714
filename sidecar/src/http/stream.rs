//! Long answers, written in pieces while they are sent, so that no answer has to be in memory as a whole text.
//!
//! As many pieces are written at once as there are cores, and no sooner than whoever asked takes them. A client that takes no
//! piece for too long is cut off, and the series that wait for it are let go.

use std::io;
use std::num::NonZeroUsize;
use std::thread;
use std::time::Duration;

use axum::body::{Body, Bytes};
use futures::stream::{self, Stream, StreamExt};
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;

use crate::engine::QueryError;

/// What writes a piece. Writing is arithmetic over many values, so it is done by a thread that may be kept busy.
pub type Job = Box<dyn FnOnce() -> Vec<u8> + Send>;

/// What is done to pieces in their order.
pub type Finish = Box<dyn FnMut(Vec<u8>) -> Vec<u8> + Send>;

/// The body of an answer, of at least one piece. `patience` is how long its client may take for a piece.
///
/// # Errors
/// When an answer of one piece cannot be written, which is a bug; later ones end the body.
pub async fn body(
    mut jobs: impl Iterator<Item = Job> + Send + 'static,
    mut finish: Option<Finish>,
    patience: Duration,
) -> Result<Body, QueryError> {
    let Some(first) = jobs.next() else { return Ok(Body::empty()) };
    let Some(second) = jobs.next() else {
        // Of a whole text the length can be told.
        let text = spawn_blocking(first).await.map_err(|error| QueryError::Internal(error.to_string()))?;
        return Ok(Body::from(match finish {
            Some(mut finish) => finish(text),
            None => text,
        }));
    };
    let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let pieces = stream::iter([first, second].into_iter().chain(jobs)).map(on_a_core).buffered(cores);
    let finished = pieces.map(move |piece| match &mut finish {
        Some(finish) => piece.map(finish),
        None => piece,
    });
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(send(finished, sender, patience));
    Ok(Body::from_stream(received(receiver)))
}

/// Has a piece written by one of the threads that are for arithmetic.
fn on_a_core(job: Job) -> oneshot::Receiver<Vec<u8>> {
    let (sender, receiver) = oneshot::channel();
    statline_cores::spawn(move || {
        // Nobody may wait for it any more.
        let _ = sender.send(job());
    });
    receiver
}

/// What is said after the last piece; an answer that ends without it was cut off.
enum Sent {
    Piece(Vec<u8>),
    End,
}

async fn send<E: std::fmt::Display>(
    pieces: impl Stream<Item = Result<Vec<u8>, E>>,
    sender: mpsc::Sender<Sent>,
    patience: Duration,
) {
    let taken = async |sent| tokio::time::timeout(patience, sender.send(sent)).await.is_ok_and(|sent| sent.is_ok());
    futures::pin_mut!(pieces);
    while let Some(piece) = pieces.next().await {
        let piece = match piece {
            Ok(piece) => piece,
            Err(error) => return tracing::error!(%error, "an answer is cut off"),
        };
        // Nobody takes it any more, or too slowly.
        if !taken(Sent::Piece(piece)).await {
            return;
        }
    }
    taken(Sent::End).await;
}

fn received(receiver: mpsc::Receiver<Sent>) -> impl Stream<Item = io::Result<Bytes>> {
    let pieces = stream::unfold(Some(receiver), |receiver| async {
        let mut receiver = receiver?;
        match receiver.recv().await {
            Some(Sent::Piece(piece)) => Some((Ok(piece.into()), Some(receiver))),
            Some(Sent::End) => None,
            None => Some((Err(io::Error::other("the answer was cut off")), None)),
        }
    });
    // What compresses it asks again after the end.
    pieces.fuse()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// So many pieces of 1 kB; those that are written are counted.
    fn letters(count: usize, written: Arc<AtomicUsize>) -> impl Iterator<Item = Job> {
        (0..count).map(move |_| {
            let written = Arc::clone(&written);
            let write = move || {
                written.fetch_add(1, Ordering::SeqCst);
                vec![b'x'; 1000]
            };
            Box::new(write) as Job
        })
    }

    #[tokio::test]
    async fn pieces_arrive_as_one_body() {
        for count in [0, 1, 2, 3, 100] {
            let numbered = |mut number: u8| -> Finish {
                Box::new(move |mut piece| {
                    number += 1;
                    piece[0] = number;
                    piece
                })
            };
            let body = body(letters(count, Arc::default()), Some(numbered(0)), Duration::from_secs(10)).await.unwrap();
            let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
            assert_eq!(bytes.len(), count * 1000);
            assert!(bytes.chunks(1000).enumerate().all(|(index, piece)| usize::from(piece[0]) == index + 1));
        }
    }

    #[tokio::test]
    async fn it_may_be_asked_again_after_the_end() {
        let body = body(letters(2, Arc::default()), None, Duration::from_secs(10)).await.unwrap();
        let mut pieces = body.into_data_stream();
        while let Some(piece) = pieces.next().await {
            assert_eq!(piece.unwrap().len(), 1000);
        }
        assert!(pieces.next().await.is_none());
    }

    #[tokio::test]
    async fn no_more_is_written_than_is_taken() {
        let written = Arc::new(AtomicUsize::new(0));
        let body = body(letters(10_000, Arc::clone(&written)), None, Duration::from_millis(50)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
        let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        assert!(written.load(Ordering::SeqCst) <= 4 + cores, "{written:?}");
        let cut = axum::body::to_bytes(body, usize::MAX).await.unwrap_err();
        assert!(format!("{cut:?}").contains("cut off"), "{cut:?}");
    }
}
