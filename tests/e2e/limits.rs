//! How far clients may go: what is beyond is refused, counted and survived.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use crate::support::{Config, Portolan, eventually};

const ROUTER: &str = "[http.routers.r]\nrule = \"Host(`a`)\"\nmiddlewares = [\"whoami\"]\n\
                      [http.middlewares.whoami.whoami]\n";

/// How often clients of `web` went beyond a limit.
async fn counted(portolan: &Portolan, limit: &str) -> u64 {
    let page = portolan.admin().get("localhost", "/metrics").await.body;
    let begin =
        format!("portolan_entrypoint_limits_total{{entrypoint=\"web\",limit=\"{limit}\"}} ");
    let line = page.lines().find_map(|line| line.strip_prefix(&begin));
    line.map_or(0, |count| count.parse().unwrap())
}

/// What is answered to these bytes, up to the end of the connection.
async fn said(address: SocketAddr, sent: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(sent.as_bytes()).await.unwrap();
    let mut text = String::new();
    // A connection that is reset has ended, too.
    drop(stream.read_to_string(&mut text).await);
    text
}

#[tokio::test]
async fn limits_come_from_the_file_and_follow_it() {
    let log = "[access-log]\nfile = \"access.log\"\n";
    let limits = |lines: u32, timeouts: &str| {
        format!(
            "{ROUTER}{log}[entrypoints.web.limits]\nmax-headers = {lines}\n\
             [entrypoints.web.timeouts]\n{timeouts}\n\
             [entrypoints.web.encoded-characters]\nallow-encoded-slash = false\n"
        )
    };
    let config = Config::new(&limits(3, ""));
    let portolan = Portolan::start(&config);
    let web = portolan.address("web");
    let request = |lines: usize| {
        let lines = "X: y\r\n".repeat(lines);
        format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{lines}\r\n")
    };
    assert!(said(web, &request(1)).await.starts_with("HTTP/1.1 200"));
    assert!(said(web, &request(2)).await.starts_with("HTTP/1.1 431"));
    assert_eq!(counted(&portolan, "max-headers").await, 1);
    assert_eq!(portolan.http().get("a", "/a%2fb").await.status, 400);
    assert_eq!(counted(&portolan, "encoded-characters").await, 1);
    let log = portolan.log_until("encoded-character");
    let line = log.lines().find(|line| line.contains("encoded-character")).unwrap();
    assert!(line.contains("/a%2Fb") && line.contains("host"), "{line}");
    config.change(&limits(50, "header = \"1s\""));
    let many = request(40);
    eventually(|| said(web, &many), |said| said.starts_with("HTTP/1.1 200")).await;
    assert!(said(web, "GET / HTTP/1.1\r\nHo").await.starts_with("HTTP/1.1 408"));
    assert_eq!(counted(&portolan, "header-timeout").await, 1);
    // What makes no sense changes nothing.
    config.change(&limits(0, "header = \"1s\""));
    portolan.log_until("entrypoints.web.limits.max-headers");
    assert!(said(web, &many).await.starts_with("HTTP/1.1 200"));
    let (status, text) = portolan.stop();
    assert!(status.success(), "{text}");
    let lines = std::fs::read_to_string(config.path("access.log")).unwrap();
    for refused in ["\"- - HTTP/0.0\" 431", "\"GET /a%2fb HTTP/1.1\" 400", "\"- - HTTP/0.0\" 408"] {
        assert!(lines.contains(refused), "{refused}: {lines}");
    }
}

#[tokio::test]
async fn a_process_without_file_descriptors_goes_on_when_there_are_some() {
    let config = Config::new(ROUTER);
    let portolan = Portolan::start_with_files(&config, 200);
    assert_eq!(portolan.http().get("a", "/").await.status, 200);
    // One connection that was made before goes on.
    let mut kept = TcpStream::connect(portolan.address("web")).await.unwrap();
    let ask = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut buffer = vec![0; 64 * 1024];
    kept.write_all(ask).await.unwrap();
    assert!(kept.read(&mut buffer).await.unwrap() > 0);
    let mut crowd = Vec::new();
    for _ in 0..300 {
        crowd.push(TcpStream::connect(portolan.address("web")).await.unwrap());
    }
    portolan.log_until("accepting pauses");
    kept.write_all(ask).await.unwrap();
    assert!(kept.read(&mut buffer).await.unwrap() > 0);
    // Whoever watches over it sees it alive, and why it does not answer.
    for _ in 0..4 {
        assert_eq!(portolan.admin().get("localhost", "/ping").await.status, 200);
    }
    assert!(counted(&portolan, "file-descriptors").await > 0);
    drop(crowd);
    let answer = eventually(
        || portolan.http().try_get("a", "/"),
        |answer| answer.as_ref().is_some_and(|answer| answer.status == 200),
    );
    assert!(answer.await.is_some());
    let count = eventually(|| counted(&portolan, "file-descriptors"), |count| *count > 0).await;
    // Each pause is counted, and few are told.
    let told = portolan.log().matches("accepting pauses").count() as u64;
    assert!(told <= 2 + count / 10, "{told} of {count}: {}", portolan.log());
}

/// Asks with `HEAD` over a connection, and answers what is said.
async fn asked(stream: &mut TcpStream) -> String {
    stream.write_all(b"HEAD / HTTP/1.1\r\nHost: b\r\n\r\n").await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

#[tokio::test]
async fn no_backend_is_blamed_because_we_have_no_file_descriptors() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        // Each request needs a connection of its own.
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
            drop(stream.write_all(answer).await);
            drop(stream.read(&mut [0; 1024]).await);
        }
    });
    let config = Config::new(&format!(
        "[log]\nlevel = \"debug\"\n[http]\nreason-header = \"x-reason\"\n\
         [http.routers.b]\nrule = \"Host(`b`)\"\nservice = \"b\"\n\
         [http.services.b.load-balancer]\nservers = [{{ url = \"{url}\" }}]\n\
         health-check = {{ interval = \"100ms\", unhealthy-interval = \"1h\" }}\n"
    ));
    let portolan = Portolan::start_with_files(&config, 200);
    let mut kept = TcpStream::connect(portolan.address("web")).await.unwrap();
    assert!(asked(&mut kept).await.starts_with("HTTP/1.1 200"));
    let mut crowd = Vec::new();
    for _ in 0..300 {
        crowd.push(TcpStream::connect(portolan.address("web")).await.unwrap());
    }
    portolan.log_until("backend not probed");
    for _ in 0..20 {
        let head = asked(&mut kept).await;
        assert!(head.starts_with("HTTP/1.1 503"), "{head}");
        assert!(head.contains("x-reason: no-resources"), "{head}");
    }
    drop(crowd);
    // From now on it is well, for whoever asks.
    let recovering = async {
        loop {
            let head = asked(&mut kept).await;
            if head.starts_with("HTTP/1.1 200") {
                break;
            }
            assert!(head.contains("x-reason: no-resources"), "{head}");
        }
    };
    timeout(Duration::from_secs(20), recovering).await.expect("there are descriptors again");
    assert!(!portolan.log().contains("backend is down"), "{}", portolan.log());
    assert!(!portolan.log().contains("left alone"), "{}", portolan.log());
}
