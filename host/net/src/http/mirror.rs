//! Copies of requests, for services that shall see traffic and answer nobody.
//!
//! **Invariant:** a mirror never disturbs: its answer is thrown away, it has a time limit, and how
//! many copies are under way is bounded.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use http::StatusCode;
use hyper::body::Body as _;
use portolan_core::{
    figure::Answer as Noted,
    service::{Mirroring, Service, ServiceState},
};
use tokio::{task, time::timeout};

use super::{
    account::nanos,
    body::{Body, RequestBody},
    edge::Edge,
    forward::Answer,
    send::{Errand, send},
};

/// How long a mirror may take for all of it.
const LIMIT: Duration = Duration::from_secs(30);
/// How many copies may be under way to one mirror; what is more is not copied.
const UNDER_WAY: u64 = 256;
/// The most bytes of an answer that are read, so that its connection can be used again.
const READ: usize = 1 << 20;

/// Sees to copies of a request for those mirrors whose turn it is. They are sent once all of the
/// request has come: it waits for nobody.
pub(crate) fn copies(edge: &Rc<Edge>, mirroring: &Mirroring, errand: &mut Errand<'_>) {
    let mut wanting = mirroring.mirrors.iter().filter(|mirror| mirror.wants_next()).peekable();
    if wanting.peek().is_none() || errand.upgrade {
        return;
    }
    if mirroring.mirror_body {
        errand.record_body(mirroring.max_body);
    }
    for mirror in wanting {
        let body = mirroring.mirror_body.then(|| errand.body.whole());
        post(edge, &mirror.service, errand.bodiless().into_owned(), body);
    }
}

/// Sends a copy when its body is there, if it shall have one, and forgets it.
fn post(
    edge: &Rc<Edge>,
    service: &Arc<Service>,
    mut errand: Box<Errand<'static>>,
    body: Option<impl Future<Output = Option<RequestBody>> + 'static>,
) {
    if !service.state.mirrored.increment_within(UNDER_WAY) {
        tracing::debug!(service = %service.name, "too many copies under way");
        return;
    }
    let (edge, service) = (edge.clone(), service.clone());
    let under_way = UnderWay(service.state.clone());
    task::spawn_local(async move {
        if let Some(body) = body {
            let Some(body) = body.await else {
                tracing::debug!(service = %service.name, "too long for a mirror, or broken off");
                return;
            };
            errand.body = body;
        }
        let begin = errand.asker.begin;
        let sending = async {
            let answer = send(&edge, &service, errand, None).await;
            match answer {
                Ok(answer) => {
                    let noted = Noted::plain(answer.head.status, nanos(begin));
                    service.figures.shard(edge.worker).record(&noted, &edge.config.ledger.buckets);
                    read(answer.body).await;
                }
                Err(error) => {
                    let noted = Noted::plain(StatusCode::BAD_GATEWAY, nanos(begin));
                    let noted = Noted { is_failure: true, ..noted };
                    service.figures.shard(edge.worker).record(&noted, &edge.config.ledger.buckets);
                    tracing::debug!(service = %service.name, %error, "mirror failed");
                }
            }
        };
        if timeout(LIMIT, sending).await.is_err() {
            tracing::debug!(service = %service.name, "mirror took too long");
        }
        drop(under_way);
    });
}

/// Throws an answer away, such that its connection can be used again.
pub(crate) fn discard(answer: Option<Answer>) {
    if let Some(answer) = answer {
        task::spawn_local(async move { drop(timeout(LIMIT, read(answer.body)).await) });
    }
}

async fn read(mut body: Body) {
    let mut seen = 0;
    while let Some(Ok(frame)) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        seen += frame.data_ref().map_or(0, bytes::Bytes::len);
        if seen > READ {
            break;
        }
    }
}

struct UnderWay(Arc<ServiceState>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.mirrored.decrement();
    }
}
