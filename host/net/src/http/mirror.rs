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

use bytes::Bytes;
use hyper::body::{Body as _, Frame};
use portolan_core::service::{Mirroring, Service, ServiceState};
use tokio::{task, time::timeout};

use super::{
    account::{Notes, Stray},
    body::{Body, RequestBody},
    edge::Edge,
    errand::Errand,
    forward::Answer,
    send::send,
};

/// How long a mirror may take for all of it.
const LIMIT: Duration = Duration::from_secs(30);
/// How many copies may be under way to one mirror; what is more is not copied.
const UNDER_WAY: u64 = 256;
/// The most bytes of an answer that are read, so that its connection can be used again.
const READ: usize = 1 << 20;

/// Sees to copies of a request for those mirrors whose turn it is. They are sent once all of the
/// request has come: it waits for nobody.
pub(crate) fn copies(
    edge: &Rc<Edge>,
    mirroring: &Mirroring,
    errand: &mut Errand<'_>,
    notes: &Notes<'_>,
) {
    let mut wanting = mirroring.mirrors.iter().filter(|mirror| mirror.wants_next()).peekable();
    if wanting.peek().is_none() || errand.upgrade {
        return;
    }
    if mirroring.mirror_body {
        errand.record_body(mirroring.max_body);
    }
    for mirror in wanting {
        let body = mirroring.mirror_body.then(|| errand.body.whole());
        post(edge, &mirror.service, errand.bodiless().into_owned(), body, notes.copy());
    }
}

/// Sends a copy when its body is there, if it shall have one, and forgets it.
fn post(
    edge: &Rc<Edge>,
    service: &Arc<Service>,
    mut errand: Box<Errand<'static>>,
    body: Option<impl Future<Output = Option<RequestBody>> + 'static>,
    mut stray: Box<Stray>,
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
            errand.body = body.counted(stray.request_bytes());
        }
        stray.pass(&service);
        let sending = async {
            match send(&edge, &service, errand, Notes::Stray(&mut stray)).await {
                Ok(answer) => {
                    stray.answered(&answer.head);
                    read(answer.body, |frame| stray.came(frame)).await;
                }
                Err(error) => {
                    stray.failed(&error);
                    tracing::debug!(service = %service.name, %error, "mirror failed");
                }
            }
        };
        if timeout(LIMIT, sending).await.is_err() {
            tracing::debug!(service = %service.name, "mirror took too long");
        }
        drop((stray, under_way));
    });
}

/// Throws an answer away, such that its connection can be used again; `stray`: what is noted of it.
pub(crate) fn discard(answer: Option<Answer>, mut stray: Option<Box<Stray>>) {
    if let Some(answer) = answer {
        task::spawn_local(async move {
            let note = |frame: &_| stray.iter_mut().for_each(|stray| stray.came(frame));
            drop(timeout(LIMIT, read(answer.body, note)).await);
        });
    }
}

async fn read(mut body: Body, mut note: impl FnMut(&Frame<Bytes>)) {
    let mut seen = 0;
    while let Some(Ok(frame)) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        note(&frame);
        seen += frame.data_ref().map_or(0, Bytes::len);
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
