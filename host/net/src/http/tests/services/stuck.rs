//! Backends that stop taking a request: who is blamed, and when.

use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket},
};

use super::*;

/// More than the system keeps for anybody.
const LONG: usize = 24 << 20;

/// Accepts connections and reads nothing of them.
async fn deaf() -> SocketAddr {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(64).unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            kept.push(stream);
        }
    });
    address
}

/// Speaks HTTP/2 and takes requests, but not a byte of their bodies.
async fn deaf_to_bodies() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut builder = h2::server::Builder::new();
                let builder = builder.initial_window_size(0);
                let mut connection = builder.handshake::<_, bytes::Bytes>(stream).await.unwrap();
                let mut kept = Vec::new();
                while let Some(Ok(request)) = connection.accept().await {
                    kept.push(request);
                }
            });
        }
    });
    address
}

/// The status of the answer to an upload that nobody reads.
async fn upload(portolan: &Portolan, host: &str, length: usize) -> u16 {
    let client = portolan.connect().await;
    let (read, mut write) = client.stream.into_split();
    let head = format!("POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n\r\n");
    let sending = tokio::spawn(async move {
        let body = [head.into_bytes(), vec![b'x'; length]].concat();
        // It is not read to its end.
        write.write_all(&body).await.ok();
        write
    });
    let mut answer = Vec::new();
    let mut read = tokio::io::BufReader::new(read);
    soon(read.read_until(b'\n', &mut answer)).await.unwrap();
    sending.abort();
    let line = String::from_utf8(answer).unwrap();
    line.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap()
}

fn each_limit() -> [(&'static str, Timeouts); 3] {
    let short = Some(Duration::from_millis(50));
    [
        ("head.local", Timeouts { response_header: short, ..Timeouts::default() }),
        ("idle.local", Timeouts { request_idle: short, ..Timeouts::default() }),
        ("total.local", Timeouts { total: short, ..Timeouts::default() }),
    ]
}

#[tokio::test]
async fn a_backend_that_takes_no_more_of_an_upload_is_given_up_and_blamed() {
    let passive = Passive { max_failed_attempts: 1, on_status: true, ..Passive::default() };
    let kinds =
        [(Scheme::Http, deaf().await, LONG), (Scheme::H2c, deaf_to_bodies().await, 200_000)];
    for (scheme, address, length) in kinds {
        for (host, timeouts) in each_limit() {
            let service = treated(
                scheme,
                &[address],
                options(|it| {
                    (it.timeouts, it.passive) = (timeouts, passive.clone());
                    it.breaker = Some(Breaker { min_requests: 1, ..Breaker::default() });
                }),
            );
            let (figures, state) = (service.backends[0].figures.clone(), service.state.clone());
            let portolan = Portolan::start(vec![leading(host, service)]);
            assert_eq!(upload(&portolan, host, length).await, 504, "{scheme:?} {host}");
            assert_eq!(figures.failures.value(), 1);
            assert!(figures.standing.is_ejected(Moment::of(std::time::Instant::now())));
            assert!(state.circuit.is_open());
        }
    }
}
