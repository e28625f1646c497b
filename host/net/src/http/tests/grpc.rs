//! gRPC, which needs more of HTTP than most: HTTP/2 on both sides, both directions at once, trailers.

use std::{convert::Infallible, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Body, Frame, Incoming},
    client::conn::http2,
    server::conn::http2 as server,
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use portolan_core::{
    name::ObjectName,
    policy::{StatusRange, Statuses},
    service::{Failover, Kind, Scheme, Service},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
};

use super::{
    raw::{
        DATA, END_HEADERS, END_STREAM, HEADERS, NO_ERROR, PING, RST_STREAM, Raw, SETTINGS,
        WINDOW_UPDATE, code, frame, line,
    },
    support::{Portolan, Script, header, leading, router, service, soon},
};
use crate::http::{Http2Limits, Limits};

/// A body whose frames come from elsewhere.
fn fed(
    frames: UnboundedReceiver<Frame<Bytes>>,
) -> impl Body<Data = Bytes, Error = Infallible> + Send {
    StreamBody::new(stream::unfold(frames, |mut frames| async {
        frames.recv().await.map(|frame| (Ok(frame), frames))
    }))
}

fn trailers(status: &str) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", status.parse().unwrap());
    trailers
}

/// Answers `/echo` message by message, as they come, and anything else with an error in the head.
async fn grpc_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let connection = server::Builder::new(TokioExecutor::new());
            tokio::spawn(connection.serve_connection(TokioIo::new(stream), service_fn(call)));
        }
    });
    address
}

async fn call(
    request: Request<Incoming>,
) -> Result<Response<UnsyncBoxBody<Bytes, Infallible>>, Infallible> {
    assert_eq!(request.headers()["te"], "trailers");
    let response = Response::builder().header("content-type", "application/grpc");
    let (out, frames) = unbounded_channel();
    if request.uri().path() != "/echo" {
        drop(out);
        let response = response.header("grpc-status", "12").body(fed(frames).boxed_unsync());
        return Ok(response.unwrap());
    }
    tokio::spawn(echo(request.into_body(), out));
    Ok(response.body(fed(frames).boxed_unsync()).unwrap())
}

async fn echo(mut body: Incoming, out: UnboundedSender<Frame<Bytes>>) {
    while let Some(Ok(frame)) = body.frame().await {
        let said = match frame.into_data() {
            Ok(data) => data,
            // What stands behind the content is told as content.
            Err(frame) => {
                let trailers = frame.into_trailers().unwrap();
                let names: Vec<_> = trailers.keys().map(http::HeaderName::as_str).collect();
                names.join(" ").into()
            }
        };
        out.send(Frame::data(said)).ok();
    }
    out.send(Frame::trailers(trailers("0"))).ok();
}

async fn send<B>(portolan: &Portolan, path: &str, body: B) -> Response<Incoming>
where
    B: Body<Data = Bytes, Error = Infallible> + Send + 'static,
{
    let stream = TcpStream::connect(portolan.address).await.unwrap();
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::post(format!("http://a.local{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(body.boxed_unsync())
        .unwrap();
    soon(sender.send_request(request)).await.unwrap()
}

#[tokio::test]
async fn messages_pass_in_both_directions_as_they_come_and_trailers_at_the_end() {
    stream_both_ways(service(Scheme::H2c, &[grpc_server().await])).await;
}

#[tokio::test]
async fn they_do_so_where_another_service_may_have_to_take_over() {
    let main = Some(Arc::new(service(Scheme::H2c, &[grpc_server().await])));
    let fallback = Some(Arc::new(service(Scheme::H2c, &[grpc_server().await])));
    let statuses = Statuses(vec![StatusRange { from: 500, to: 599 }]);
    let failover = Failover { main, fallback, statuses, max_body: 8 };
    let name = ObjectName::new("all", "test");
    stream_both_ways(Service::of(name, Kind::Failover(failover))).await;
}

async fn stream_both_ways(service: Service) {
    let portolan = Portolan::start(vec![leading("a.local", service)]);
    let (client, frames) = unbounded_channel();
    client.send(Frame::data(Bytes::from_static(b"first"))).ok();
    let response = send(&portolan, "/echo", fed(frames)).await;
    assert_eq!(response.headers()["content-type"], "application/grpc");
    let mut body = response.into_body();
    let first = soon(body.frame()).await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(first, "first");
    // The second is sent when the first has come back: neither direction waits for the other.
    client.send(Frame::data(Bytes::from_static(b"second"))).ok();
    let second = soon(body.frame()).await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(second, "second");
    drop(client);
    let end = soon(body.frame()).await.unwrap().unwrap().into_trailers().unwrap();
    assert_eq!(end["grpc-status"], "0");
    assert!(soon(body.frame()).await.is_none());
}

/// Patience with little.
fn few() -> Limits {
    let http2 = Http2Limits { max_resets: 5, max_control_frames: 20, ..Http2Limits::default() };
    Limits { http2, ..Limits::default() }
}

/// Begins a call.
fn call_of(path: &str, stream: u32) -> Vec<u8> {
    let fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "a.local"),
        ("te", "trailers"),
    ];
    let block: Vec<u8> = fields.iter().flat_map(|(name, value)| line(name, value)).collect();
    frame(HEADERS, END_HEADERS, stream, &block)
}

#[tokio::test]
async fn a_client_may_measure_the_way_behind_each_message() {
    let service = service(Scheme::H2c, &[grpc_server().await]);
    let portolan = Portolan::limited(few(), vec![leading("a.local", service)]);
    let mut raw = Raw::connect(&portolan, &[]).await;
    raw.send(&call_of("/echo", 1)).await;
    for _ in 0..500 {
        raw.send(&frame(DATA, 0, 1, &[0, 0, 0, 0, 1, b'x'])).await;
        assert_eq!(raw.until(DATA).await.unwrap().payload.len(), 6);
        // As gRPC for Go does, whose estimate of the bandwidth this is.
        let window = frame(WINDOW_UPDATE, 0, 0, &6_u32.to_be_bytes());
        raw.send(&[window, frame(PING, 0, 0, &[2, 4, 16, 16, 9, 14, 7, 7])].concat()).await;
        raw.until(PING).await.unwrap();
    }
    raw.send(&frame(DATA, END_STREAM, 1, &[])).await;
    let end = raw.until(HEADERS).await.unwrap();
    assert!(end.flags & END_STREAM != 0 && end.payload.ends_with(b"0"));
}

#[tokio::test]
async fn a_client_may_reset_each_call_that_its_server_ends_first() {
    let service = service(Scheme::H2c, &[grpc_server().await]);
    let portolan = Portolan::limited(few(), vec![leading("a.local", service)]);
    let mut raw = Raw::connect(&portolan, &[]).await;
    for stream in (1..1001).step_by(2) {
        raw.send(&call_of("/ended", stream)).await;
        loop {
            let frame = raw.next_but(&[SETTINGS, WINDOW_UPDATE]).await;
            assert_eq!(frame.stream, stream);
            if frame.flags & END_STREAM != 0 {
                break;
            }
        }
        raw.send(&frame(RST_STREAM, 0, stream, &NO_ERROR.to_be_bytes())).await;
        let end = raw.until(RST_STREAM).await.unwrap();
        assert_eq!((end.stream, code(&end.payload)), (stream, NO_ERROR));
    }
}

#[tokio::test]
async fn nothing_passes_behind_the_content_that_could_not_before_it() {
    let service = service(Scheme::H2c, &[grpc_server().await]);
    let portolan = Portolan::start(vec![leading("a.local", service)]);
    for (names, passed) in [
        (&["x-sum", "x-forwarded-for", "authorization", "content-length"][..], "x-sum"),
        (&["host"], ""),
    ] {
        let (client, frames) = unbounded_channel();
        let trailers = names.iter().map(|name| (name.parse().unwrap(), "1".parse().unwrap()));
        client.send(Frame::trailers(trailers.collect())).ok();
        let response = send(&portolan, "/echo", fed(frames)).await;
        let body = soon(response.into_body().collect()).await.unwrap().to_bytes();
        assert_eq!(body, passed);
    }
}

#[tokio::test]
async fn an_error_without_a_message_keeps_its_status() {
    let service = service(Scheme::H2c, &[grpc_server().await]);
    let portolan = Portolan::start(vec![leading("a.local", service)]);
    let (client, frames) = unbounded_channel();
    drop(client);
    let response = send(&portolan, "/nothing", fed(frames)).await;
    assert_eq!(response.headers()["grpc-status"], "12");
    assert!(soon(response.into_body().collect()).await.unwrap().to_bytes().is_empty());
}

#[tokio::test]
async fn who_expects_to_be_told_to_continue_is_told() {
    let backend = Script::start(|mut client| async move {
        while let Some(request) = client.request().await {
            let length = request.body.len();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
            client.send(&format!("{head}{}", request.body)).await;
        }
    })
    .await;
    let portolan = Portolan::start(vec![router("a.local", &[backend.address])]);
    let mut client = portolan.connect().await;
    for body in ["hello", "again"] {
        let head = "PUT / HTTP/1.1\r\nHost: a.local\r\nExpect: 100-continue\r\nContent-Length: 5";
        client.send(&format!("{head}\r\n\r\n")).await;
        assert_eq!(client.until("\r\n\r\n").await.unwrap(), "HTTP/1.1 100 Continue\r\n\r\n");
        client.send(body).await;
        let response = client.response().await;
        assert_eq!((response.status, &*response.body), (200, body));
        assert_eq!(header(&response.head, "expect"), None);
    }
}
