//! Questions over HTTPS (RFC 8484), by HTTP/2 or HTTP/1.1.

use std::{convert::Infallible, io, rc::Rc, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE},
};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{body::Incoming as IncomingBody, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

use super::{
    accept::{Accepted, LAST_WAIT, accept},
    asker::{Asker, Handled, Transport},
    context::DnsContext,
    message::{HEADER, Header, Walk, plain_name_end},
    tcp::HANDSHAKE,
};
use crate::{tls::TlsContext, worker::LocalExecutor};

/// Where questions are asked (RFC 8484, 4.1).
const PATH: &str = "/dns-query";
const MESSAGE: HeaderValue = HeaderValue::from_static("application/dns-message");
/// The longest question.
const LONGEST: usize = 4096;
/// How long a client may take over the head of a request.
const HEAD: Duration = Duration::from_secs(10);
/// How long a client may take over the body of a request.
const BODY: Duration = Duration::from_secs(5);
/// Questions of one connection at a time.
const STREAMS: u32 = 100;
/// How often a client is asked whether it is still there.
const PING: Duration = Duration::from_secs(30);
/// How long a connection lives at most.
const AGE: Duration = Duration::from_secs(600);

/// Answers questions until `stop` is ready, then those that are under way.
///
/// Must run within a [`tokio::task::LocalSet`].
///
/// # Errors
/// When the listener cannot be registered with the runtime.
pub async fn serve_https(
    listener: std::net::TcpListener,
    tls: Arc<TlsContext>,
    context: Rc<DnsContext>,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    accept(listener, Transport::Https, stop, |accepted| {
        serve(tls.clone(), context.clone(), accepted)
    })
    .await
}

async fn serve(
    tls: Arc<TlsContext>,
    context: Rc<DnsContext>,
    accepted: Accepted,
) -> io::Result<()> {
    let Accepted { stream, asker, seat, mut stopped } = accepted;
    let stream = tokio::select! {
        stream = timeout(HANDSHAKE, tls.accept(stream)) => stream??.encrypted(),
        () = seat.wanted() => None,
    };
    let Some(stream) = stream else { return Ok(()) };
    let turn = seat.clone();
    let service = service_fn(move |request| {
        let context = context.clone();
        turn.touch();
        async move { Ok::<_, Infallible>(answer(&context, asker, request).await) }
    });
    let mut builder = Builder::new(LocalExecutor);
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        // A client that is gone without a word does not keep its place.
        .keep_alive_interval(PING)
        .keep_alive_timeout(HEAD);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let is_done = tokio::select! {
        done = connection.as_mut() => Some(done),
        () = end(&mut stopped) => None,
        () = seat.wanted() => None,
    };
    let done = match is_done {
        Some(done) => done,
        None => {
            connection.as_mut().graceful_shutdown();
            // One that does not say that it has heard is not waited for.
            match timeout(LAST_WAIT, connection).await {
                Ok(done) => done,
                Err(_elapsed) => return Ok(()),
            }
        }
    };
    done.map_err(io::Error::other)
}

/// When a connection is to finish: we do, or it is old.
async fn end(stopped: &mut watch::Receiver<bool>) {
    drop(timeout(AGE, stopped.wait_for(|stopped| *stopped)).await);
}

async fn answer(
    context: &Rc<DnsContext>,
    asker: Asker,
    request: Request<IncomingBody>,
) -> Response<Full<Bytes>> {
    let question = match question(request).await {
        Ok(question) => question,
        Err(status) => return refused(status),
    };
    let begin = Instant::now();
    context.figures().https.increment();
    let message = reply(context, asker, &question).await;
    let nanos = u64::try_from(begin.elapsed().as_nanos());
    context.figures().duration.record(nanos.unwrap_or(u64::MAX));
    if message.is_empty() {
        return refused(StatusCode::BAD_REQUEST);
    }
    let age = life(&message).and_then(|age| format!("max-age={age}").try_into().ok());
    let mut response = Response::new(Full::from(message));
    response.headers_mut().insert(CONTENT_TYPE, MESSAGE);
    if let Some(age) = age {
        response.headers_mut().insert(CACHE_CONTROL, age);
    }
    response
}

async fn reply(context: &Rc<DnsContext>, asker: Asker, question: &[u8]) -> Vec<u8> {
    let handled = context.with_zones(|zones| {
        let mut out = context.scratch();
        match context.handle(question, asker, zones, Instant::now(), &mut out) {
            Handled::Reply(length) => Some(out.get(..length).unwrap_or_default().to_vec()),
            Handled::Ignore => Some(Vec::new()),
            Handled::Forward => None,
        }
    });
    if let Some(reply) = handled {
        return reply;
    }
    let mut out = vec![0; super::message::MAX_TCP];
    let length = context.forward(question, asker, &mut out).await;
    out.truncate(length);
    out
}

/// The question of a request, or how a request that has none is answered.
async fn question(request: Request<IncomingBody>) -> Result<Bytes, StatusCode> {
    if request.uri().path() != PATH {
        return Err(StatusCode::NOT_FOUND);
    }
    match *request.method() {
        Method::GET => {
            let pairs =
                form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes());
            let mut given = pairs.filter(|(key, _)| key == "dns").map(|(_, value)| value);
            let text = given.next().ok_or(StatusCode::BAD_REQUEST)?;
            // Padding is not meant to be there (RFC 8484, 4.1), and harms nobody.
            let text = text.trim_end_matches('=');
            if text.len() > LONGEST * 4 / 3 + 1 {
                return Err(StatusCode::URI_TOO_LONG);
            }
            let question =
                URL_SAFE_NO_PAD.decode(text).map_err(|_garbage| StatusCode::BAD_REQUEST)?;
            Ok(question.into())
        }
        Method::POST => {
            if !request.headers().get(CONTENT_TYPE).is_some_and(is_message) {
                return Err(StatusCode::UNSUPPORTED_MEDIA_TYPE);
            }
            let body = Limited::new(request.into_body(), LONGEST).collect();
            match timeout(BODY, body).await {
                Ok(Ok(body)) => Ok(body.to_bytes()),
                Ok(Err(_too_long_or_broken)) => Err(StatusCode::PAYLOAD_TOO_LARGE),
                Err(_elapsed) => Err(StatusCode::REQUEST_TIMEOUT),
            }
        }
        _ => Err(StatusCode::METHOD_NOT_ALLOWED),
    }
}

fn refused(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, POST"));
    }
    response
}

/// How long HTTP may keep a reply: as long as the shortest of its answers may be kept, or its SOA
/// when there are none (RFC 8484, 5.1). `None`: it says nothing about that.
fn life(reply: &[u8]) -> Option<u32> {
    let header = Header::parse(reply)?;
    let end = plain_name_end(reply, HEADER)? + 4;
    let mut walk = Walk::behind_question(reply, end, &header);
    let mut life = None;
    while let Some(record) = walk.next_record()? {
        if record.rtype != portolan_core::zone::RecordType::OPT {
            life = Some(life.map_or(record.ttl, |life: u32| life.min(record.ttl)));
        }
    }
    life
}

/// Whether a media type is that of messages, in any case and whatever parameters it has (RFC 9110, 8.3.1).
fn is_message(media_type: &HeaderValue) -> bool {
    let essence = media_type.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
    essence.trim_ascii().eq_ignore_ascii_case(MESSAGE.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_media_type_is_known_in_any_case_and_with_parameters() {
        for (text, is) in [
            ("application/dns-message", true),
            ("Application/DNS-Message; charset=binary", true),
            ("application/dns-json", false),
            ("", false),
        ] {
            assert_eq!(is_message(&HeaderValue::from_static(text)), is, "{text}");
        }
    }
}
