//! Compresses a response whose head says that it may be.

use std::{
    future::{Future as _, poll_fn},
    pin::pin,
    task::{Poll, ready},
    time::Duration,
};

use http::Version;
use portolan_core::{
    compress::{self, Recoding},
    exchange::Exchange,
};
use tokio::time::sleep;

use super::body::Body;

/// How long the first of a body is waited for, whose length nobody knows, before its head is sent: backends that
/// stream have sent nothing more by then, and the client should see what there is. (Traefik flushes what it holds
/// every 100 ms.)
const PATIENCE: Duration = Duration::from_millis(50);

/// Compresses the response, if it is long enough.
pub(super) async fn recode(recoding: Recoding, exchange: &mut Exchange, body: &mut Body) {
    let Recoding { coding, min_bytes, is_live } = recoding;
    if exchange.request.version < Version::HTTP_2 {
        // Its end may be read here, before its connection asks for what is left of the request.
        body.want_rest();
    }
    if !is_long(body, min_bytes, is_live).await {
        return;
    }
    match (body.compress(coding), &mut exchange.response) {
        (Ok(()), Some(response)) => compress::recode(&mut response.headers, coding),
        (Ok(()), None) => {}
        (Err(error), _) => tracing::debug!(%error, "cannot compress"),
    }
}

/// Whether it is long, or is to be seen before that is known.
async fn is_long(body: &mut Body, least: u64, is_live: bool) -> bool {
    if let Some(is_long) = body.is_as_long(least) {
        return is_long;
    }
    if is_live {
        return true;
    }
    let mut patience = pin!(sleep(PATIENCE));
    poll_fn(|cx| {
        if let Poll::Ready(is_long) = body.poll_as_long(cx, least) {
            return Poll::Ready(is_long);
        }
        ready!(patience.as_mut().poll(cx));
        Poll::Ready(true)
    })
    .await
}
