//! The gRPC health protocol: `grpc.health.v1.Health/Check`, for the server as a whole.
//!
//! Two messages of one field each: that takes no library.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Request,
    header::{CONTENT_TYPE, TE},
};
use http_body_util::{BodyExt as _, Full, Limited};

use super::probe::{Failure, Stream, over_h2};

/// The method that is called.
pub(super) const PATH: &str = "/grpc.health.v1.Health/Check";
/// The most bytes of an answer.
const ANSWER: usize = 1024;
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// `HealthCheckRequest { service: "" }`, in its frame: not compressed, no bytes.
pub(super) fn question() -> Bytes {
    Bytes::from_static(&[0, 0, 0, 0, 0])
}

/// What a gRPC request has besides.
pub(super) fn describe(headers: &mut HeaderMap) {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(TE, HeaderValue::from_static("trailers"));
}

/// Asks, and judges the answer.
pub(super) async fn check(
    stream: Box<dyn Stream>,
    request: Request<Full<Bytes>>,
) -> Result<(), Failure> {
    over_h2(stream, request, |response| async {
        let (head, body) = response.into_parts();
        if !head.status.is_success() {
            return Err(Failure::Status(head.status));
        }
        let collected = Limited::new(body, ANSWER).collect().await;
        let collected = collected.map_err(|error| Failure::Grpc(error.to_string()))?;
        // An answer without a message has its status in the head.
        let trailers = collected.trailers().cloned().unwrap_or_default();
        let status = trailers.get(GRPC_STATUS).or_else(|| head.headers.get(GRPC_STATUS));
        let status = status.and_then(|status| status.to_str().ok());
        match status {
            None | Some("0") => judge(&collected.to_bytes()),
            Some("12") => Err(Failure::Grpc("the server has no health service".to_owned())),
            Some(code) => Err(Failure::Grpc(format!("status {code}"))),
        }
    })
    .await
}

/// Judges a `HealthCheckResponse` in its frame.
fn judge(answer: &[u8]) -> Result<(), Failure> {
    let message = match answer {
        [0, a, b, c, d, message @ ..] => {
            let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
            message.get(..length)
        }
        _ => None,
    };
    // Field 1, a varint; absent it is 0.
    let serving = match message {
        None => return Err(Failure::Grpc("the answer is no message".to_owned())),
        Some([0x08, status, ..]) => *status,
        Some(_) => 0,
    };
    match serving {
        1 => Ok(()),
        2 => Err(Failure::Grpc("not serving".to_owned())),
        3 => Err(Failure::Grpc("service unknown".to_owned())),
        _ => Err(Failure::Grpc("state unknown".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_serving_is_well() {
        let told = |answer: &[u8]| judge(answer).map_err(|failure| failure.to_string());
        assert_eq!(told(&[0, 0, 0, 0, 2, 8, 1]), Ok(()));
        for (answer, expected) in [
            (&[0, 0, 0, 0, 2, 8, 2][..], "gRPC: not serving"),
            (&[0, 0, 0, 0, 2, 8, 3], "gRPC: service unknown"),
            (&[0, 0, 0, 0, 0], "gRPC: state unknown"),
            (&[0, 0, 0, 0, 9, 8, 1], "gRPC: the answer is no message"),
            (&[1, 0, 0, 0, 0], "gRPC: the answer is no message"),
            (&[], "gRPC: the answer is no message"),
        ] {
            assert_eq!(told(answer), Err(expected.to_owned()), "{answer:?}");
        }
    }
}
