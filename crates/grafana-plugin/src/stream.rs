//! Live channels: frames that are pushed to open panels as they come to be.
//!
//! Grafana asks once whether a user may subscribe to a path, and runs one stream for all subscribers of it. The stream
//! ends when the last of them leaves, which a plugin sees as [`StreamClosed`] or by being dropped.

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::frame::{Frame, FrameError, JsonPart};
use crate::proto::pluginv2 as wire;

/// A channel that is asked for, and what the client said with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamRequest {
    /// The part of the channel's name that is the plugin's own.
    pub path: String,
    /// What the client sent along, usually JSON; for a publication, what is to be published.
    pub data: Bytes,
}

/// Whether a channel may be subscribed to or published on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamStatus {
    /// It may.
    Ok,
    /// There is no such channel.
    NotFound,
    /// This user may not.
    PermissionDenied,
}

/// The answer to a subscription or a publication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamReply {
    /// Whether it is granted.
    pub status: StreamStatus,
    /// For a subscription the first data of the channel, for a publication what is passed on; JSON, may be empty.
    pub data: Bytes,
}

impl StreamReply {
    /// Granted, with data for the client.
    pub fn ok(data: impl Into<Bytes>) -> Self {
        Self { status: StreamStatus::Ok, data: data.into() }
    }

    /// No such channel.
    #[must_use]
    pub const fn not_found() -> Self {
        Self { status: StreamStatus::NotFound, data: Bytes::new() }
    }

    /// Not for this user.
    #[must_use]
    pub const fn permission_denied() -> Self {
        Self { status: StreamStatus::PermissionDenied, data: Bytes::new() }
    }
}

/// The client's end of a stream is gone: there is nobody left to send to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stream's subscribers are gone")]
pub struct StreamClosed;

/// Why a stream ended before its subscribers left. The text is shown to no user, but logged by Grafana.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StreamError {
    /// The subscribers are gone: an end, not a failure.
    #[error(transparent)]
    Closed(#[from] StreamClosed),
    /// There is no such channel.
    #[error("no channel {0:?}")]
    NotFound(String),
    /// A frame could not be written.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

/// Where a running stream puts its packets. Sending waits while the client is slow.
#[derive(Clone, Debug)]
pub struct StreamSender {
    packets: mpsc::Sender<wire::StreamPacket>,
}

/// Packets that wait for a slow client before sending waits too.
const WAITING_PACKETS: usize = 16;

type PacketReceiver = mpsc::Receiver<wire::StreamPacket>;

impl StreamSender {
    pub(crate) fn channel() -> (Self, PacketReceiver) {
        let (packets, receiver) = mpsc::channel(WAITING_PACKETS);
        (Self { packets }, receiver)
    }

    /// Sends a frame, its schema and data both, or one of them.
    ///
    /// # Errors
    /// When the frame is not one that Grafana takes, or nobody listens any more.
    pub async fn send_frame(&self, frame: &Frame, part: JsonPart) -> Result<(), StreamError> {
        let json = frame.to_json(part)?;
        Ok(self.send_json(json).await?)
    }

    /// Sends a packet that is JSON already.
    ///
    /// # Errors
    /// When nobody listens any more.
    pub async fn send_json(&self, data: impl Into<Bytes>) -> Result<(), StreamClosed> {
        let packet = wire::StreamPacket { data: data.into() };
        self.packets.send(packet).await.map_err(|_| StreamClosed)
    }

    /// Waits until nobody listens any more.
    pub async fn closed(&self) {
        self.packets.closed().await;
    }
}
