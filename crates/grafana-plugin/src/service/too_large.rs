//! The refusal of a request that is larger than the server reads.
//!
//! The transport refuses by itself, before it has read the request, but as a number out of range; a host that knows gRPC
//! expects an exhausted resource, and a person a sentence.

use tonic::codegen::http::Response;
use tonic::{Code, Status};

use super::MAX_REQUEST_BYTES;

/// What the transport's refusal contains.
const TRANSPORT_TEXT: &str = "decoded message length too large";

/// The response, rewritten when it is that refusal; `refused` is called then.
pub(super) fn explained<B>(mut response: Response<B>, refused: impl FnOnce()) -> Response<B> {
    let is_refusal = Status::from_header_map(response.headers())
        .is_some_and(|status| status.code() == Code::OutOfRange && status.message().contains(TRANSPORT_TEXT));
    if is_refusal {
        refused();
        tracing::warn!(limit_bytes = MAX_REQUEST_BYTES, "a request was refused because it is too large");
        let text = format!("the request is larger than the {MAX_REQUEST_BYTES} bytes that this plugin reads");
        // Nothing in this text can fail to be a header.
        let _ = Status::resource_exhausted(text).add_header(response.headers_mut());
    }
    response
}
