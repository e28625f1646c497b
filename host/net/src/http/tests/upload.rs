//! What becomes of request bodies when backends read late, answer early or go.

use std::io::ErrorKind;

use portolan_core::{router::Router, service::Scheme};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{mpsc, oneshot},
};

use super::{
    raw::{DATA, END_HEADERS, END_STREAM, HEADERS, Raw, frame, line},
    support::{Client, Portolan, Script, header, router, service, soon},
};

#[tokio::test]
async fn a_request_whose_body_was_sent_is_not_sent_again_without_it() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let backend = Script::start(move |mut client| {
        let tell = tell.clone();
        async move {
            client.request().await.unwrap();
            client.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
            // The next request is read, and then the connection is gone.
            if let Some(request) = client.request().await {
                tell.send(request.body).unwrap();
            }
        }
    })
    .await;
    let portolan = Portolan::start(vec![router("a.local", &[backend.address])]);
    let mut client = portolan.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a.local\r\n\r\n").await;
    assert_eq!(client.response().await.status, 200);
    client.send("PUT /a HTTP/1.1\r\nHost: a.local\r\nContent-Length: 9\r\n\r\nimportant").await;
    assert_eq!(client.response().await.status, 502);
    // What never had a body is.
    client.send("GET / HTTP/1.1\r\nHost: a.local\r\n\r\n").await;
    assert_eq!(client.response().await.status, 200);
    client.send("PUT /b HTTP/1.1\r\nHost: a.local\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(client.response().await.status, 200);
    let bodies: Vec<_> = std::iter::from_fn(|| told.try_recv().ok()).collect();
    assert_eq!(bodies, ["important", ""]);
}

#[tokio::test]
async fn a_request_that_usually_has_content_says_that_it_has_none() {
    let backend = Script::echo().await;
    let portolan = Portolan::start(vec![router("a.local", &[backend.address])]);
    let (mut client, mut raw) = (portolan.connect().await, Raw::connect(&portolan, &[]).await);
    let lengths = |head: &str| {
        let lines = head.lines().map(str::to_ascii_lowercase);
        lines.filter(|line| line.starts_with("content-length")).collect::<Vec<_>>()
    };
    let mut stream = 1;
    for (method, expected) in
        [("POST", true), ("PUT", true), ("PATCH", true), ("GET", false), ("PROPFIND", false)]
    {
        // With `TE`, its head is not passed by as it came.
        for more in ["", "content-length: 0\r\n", "te: trailers\r\n"] {
            let expects = expected || more.starts_with("content-length");
            let expected = if expects { vec!["content-length: 0"] } else { vec![] };
            client.send(&format!("{method} / HTTP/1.1\r\nHost: a.local\r\n{more}\r\n")).await;
            let head = String::from_utf8(client.response().await.body.into()).unwrap();
            assert_eq!(lengths(&head), expected, "{head}");
            let pseudo = [(":method", method), (":scheme", "http"), (":path", "/")];
            let fields = pseudo.into_iter().chain([(":authority", "a.local")]);
            let fields = fields.chain(more.trim_end().split_once(": "));
            let block: Vec<u8> = fields.flat_map(|(name, value)| line(name, value)).collect();
            raw.send(&frame(HEADERS, END_HEADERS | END_STREAM, stream, &block)).await;
            let head = String::from_utf8(raw.until(DATA).await.unwrap().payload).unwrap();
            assert_eq!(lengths(&head), expected, "{head}");
            stream += 2;
        }
    }
}

/// Reads requests from when it is told to, and answers with the length of the body.
async fn late(begin: oneshot::Receiver<()>) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        begin.await.unwrap();
        let mut read = Vec::new();
        while !read.ends_with(b"\nend") {
            let mut piece = vec![0; 64 * 1024];
            let length = stream.read(&mut piece).await.unwrap();
            read.extend_from_slice(&piece[..length]);
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
        stream.shutdown().await.unwrap();
    });
    address
}

#[tokio::test]
async fn the_last_of_an_upload_reaches_a_backend_that_reads_late() {
    // Somewhere here the last piece is what does not fit into what the system keeps.
    for length in (1_000_000..6_000_000).step_by(96 * 1024) {
        let (begin, begun) = oneshot::channel();
        let portolan = Portolan::start(vec![router("a.local", &[late(begun).await])]);
        let mut client = TcpStream::connect(portolan.address).await.unwrap();
        let head = format!("POST / HTTP/1.1\r\nHost: a.local\r\nContent-Length: {length}\r\n\r\n");
        let mut request = head.into_bytes();
        request.resize(request.len() + length - 4, b'x');
        request.extend_from_slice(b"\nend");
        let mut sent = 0;
        // The backend begins when nobody takes more, or all of it is sent.
        for _ in 0..1000 {
            match client.try_write(&request[sent..]) {
                Ok(length) => sent += length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => panic!("{error}"),
            }
            tokio::task::yield_now().await;
        }
        begin.send(()).unwrap();
        soon(client.write_all(&request[sent..])).await.unwrap();
        let mut answer = Vec::new();
        soon(client.read_buf(&mut answer)).await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 200 OK"), "{length}");
    }
}

#[tokio::test]
async fn a_chunked_response_to_a_slow_client_ends_once() {
    const LENGTH: usize = 6_000_000;
    let backend = Script::start(|mut client| async move {
        while client.request().await.is_some() {
            client.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
            let piece = format!("ea60\r\n{}\r\n", "x".repeat(60_000));
            for _ in 0..LENGTH / 60_000 {
                client.send(&piece).await;
            }
            client.send("0\r\n\r\n").await;
        }
    })
    .await;
    let portolan = Portolan::start(vec![router("a.local", &[backend.address])]);
    // With so little room the last of it waits, too.
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut client = Client::new(socket.connect(portolan.address).await.unwrap());
    for _ in 0..3 {
        client.send("GET / HTTP/1.1\r\nHost: a.local\r\n\r\n").await;
        let response = client.response().await;
        assert_eq!(header(&response.head, "transfer-encoding"), Some("chunked"));
        assert_eq!(response.body.matches('x').count(), LENGTH);
    }
}

/// A backend over HTTP/2 that answers the first request before it has read it, and keeps its stream.
async fn early(
    streams: mpsc::UnboundedSender<h2::RecvStream>,
    seen: mpsc::UnboundedSender<String>,
    answer: oneshot::Receiver<()>,
) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut answer = Some(answer);
        let (stream, _) = listener.accept().await.unwrap();
        // Only the first request is to wait.
        let mut builder = h2::server::Builder::new();
        let builder = builder.initial_connection_window_size(1 << 20);
        let mut connection = builder.handshake::<_, bytes::Bytes>(stream).await.unwrap();
        while let Some(accepted) = connection.accept().await {
            let (request, mut respond) = accepted.unwrap();
            let is_first = request.uri().path() == "/first";
            let status = if is_first { 401 } else { 200 };
            let response = http::Response::builder().status(status).body(()).unwrap();
            let body = request.into_body();
            if let Some(answer) = answer.take().filter(|_| is_first) {
                let streams = streams.clone();
                // Beside the connection, which goes on.
                tokio::spawn(async move {
                    answer.await.unwrap();
                    respond.send_response(response, true).unwrap();
                    streams.send(body).unwrap();
                });
            } else {
                let seen = seen.clone();
                tokio::spawn(async move {
                    let mut body = body;
                    while let Some(Ok(data)) = body.data().await {
                        seen.send(String::from_utf8(data.to_vec()).unwrap()).unwrap();
                    }
                    respond.send_response(response, true).unwrap();
                });
            }
        }
    });
    address
}

#[tokio::test]
async fn who_is_late_with_a_body_reads_nothing_of_the_next_request() {
    let (tell, mut streams) = mpsc::unbounded_channel();
    let (see, mut seen) = mpsc::unbounded_channel();
    let (answer, answered) = oneshot::channel();
    let hop = service(Scheme::H2c, &[early(tell, see, answered).await]);
    let portolan =
        Portolan::start(vec![Router { service: Some(hop.into()), ..router("a.local", &[]) }]);
    let mut client = portolan.connect().await;
    // More than the backend takes without reading.
    let head = "POST /first HTTP/1.1\r\nHost: a.local\r\nContent-Length: 150000\r\n\r\n";
    client.send(&format!("{head}{}", "x".repeat(150_000))).await;
    answer.send(()).unwrap();
    assert_eq!(client.response().await.status, 401);
    let mut stream = soon(streams.recv()).await.unwrap();
    let head = "POST /second HTTP/1.1\r\nHost: a.local\r\nContent-Length: 11\r\n\r\n";
    client.send(&format!("{head}first")).await;
    // That was read by whom it was for; now the backend reads on in the request before.
    assert_eq!(soon(seen.recv()).await.unwrap(), "first");
    // There is room again: what was taken up already comes, and then the body is cut. Who waited for the
    // next request's would wait here.
    while let Some(Ok(data)) = soon(stream.data()).await {
        stream.flow_control().release_capacity(data.len()).unwrap();
        assert!(data.iter().all(|byte| *byte == b'x'));
    }
    client.send("second").await;
    assert_eq!(client.response().await.status, 200);
}

#[tokio::test]
async fn a_client_that_leaves_is_noticed_though_nobody_reads_what_it_sends() {
    let backend = Script::start(|mut client| async move {
        client.until("\r\n\r\n").await.unwrap();
        std::future::pending::<()>().await;
    })
    .await;
    let router = router("a.local", &[backend.address]);
    let figures = router.service.as_ref().unwrap().backends[0].figures.clone();
    let portolan = Portolan::start(vec![router]);
    let mut client = TcpStream::connect(portolan.address).await.unwrap();
    let head = "POST / HTTP/1.1\r\nHost: a.local\r\nContent-Length: 100000000\r\n\r\n";
    client.write_all(head.as_bytes()).await.unwrap();
    let piece = vec![b'x'; 64 * 1024];
    // Until nobody takes more of it, for long.
    let mut refused = 0;
    while refused < 100_000 {
        refused = if client.try_write(&piece).is_ok() { 0 } else { refused + 1 };
        tokio::task::yield_now().await;
    }
    // It resets: an end would stand behind all that is not read.
    socket2::SockRef::from(&client).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    drop(client);
    assert_eq!(figures.in_flight.value(), 1);
    soon(async {
        while figures.in_flight.value() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
