//! Real sockets, and upstreams that answer, drop, truncate and lie.

use std::{
    cell::Cell,
    net::SocketAddr,
    rc::Rc,
    time::{Duration, Instant as WallClock},
};

use hickory_proto::{
    op::{Message, OpCode, ResponseCode},
    rr::{Name, RData, Record, RecordType, rdata},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::oneshot,
    task::{LocalSet, spawn_local},
    time::{Instant, timeout},
};

use super::{
    super::{
        CacheConfig, Forwarding, bind_tcp, bind_udp,
        cache::{Cache, Key},
        message::Incoming,
        serve_tcp, serve_udp,
        stored::Stored,
    },
    World, packet, question,
};

const HERE: &str = "127.0.0.1:0";

/// What an upstream does with a question.
#[derive(Clone, Copy)]
enum Mood {
    Answers,
    Drops,
    Fails,
    Truncates,
    Lies,
    SaysNo,
}

/// An upstream on loopback, and how often it was asked.
struct FakeUpstream {
    address: SocketAddr,
    asked: Rc<Cell<usize>>,
}

impl FakeUpstream {
    async fn start(mood: Mood) -> Self {
        let listener = TcpListener::bind(HERE).await.unwrap();
        let address = listener.local_addr().unwrap();
        let socket = UdpSocket::bind(address).await.unwrap();
        let asked = Rc::new(Cell::new(0));
        let counter = asked.clone();
        spawn_local(async move {
            let mut buffer = [0; 4096];
            loop {
                let (length, peer) = socket.recv_from(&mut buffer).await.unwrap();
                counter.set(counter.get() + 1);
                let asked = Message::from_vec(&buffer[..length]).unwrap();
                for reply in replies(&asked, mood) {
                    socket.send_to(&reply.to_vec().unwrap(), peer).await.unwrap();
                }
            }
        });
        spawn_local(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let asked = read_message(&mut stream).await;
                write_message(&mut stream, &answer(&asked, 100)).await;
            }
        });
        Self { address, asked }
    }
}

/// `count` addresses; the TTL is 30.
fn answer(asked: &Message, count: u8) -> Message {
    let mut reply = Message::response(asked.metadata.id, OpCode::Query);
    reply.add_query(asked.queries[0].clone());
    for number in 1..=count {
        let data = RData::A(rdata::A::new(203, 0, 113, number));
        reply.add_answer(Record::from_rdata(asked.queries[0].name().clone(), 30, data));
    }
    reply
}

fn replies(asked: &Message, mood: Mood) -> Vec<Message> {
    let good = answer(asked, 2);
    match mood {
        Mood::Answers => vec![good],
        Mood::Drops => Vec::new(),
        Mood::Fails => vec![{
            let mut reply = answer(asked, 0);
            reply.metadata.response_code = ResponseCode::ServFail;
            reply
        }],
        Mood::Truncates => vec![{
            let mut reply = answer(asked, 1);
            reply.metadata.truncation = true;
            reply
        }],
        Mood::Lies => {
            let mut guess = answer(asked, 9);
            guess.metadata.id = asked.metadata.id.wrapping_add(1);
            let mut other = answer(&question("evil.example.", RecordType::A, None), 9);
            other.metadata.id = asked.metadata.id;
            vec![guess, other, good]
        }
        Mood::SaysNo => vec![{
            let mut reply = answer(asked, 0);
            reply.metadata.response_code = ResponseCode::NXDomain;
            let name = Name::from_ascii("example.com.").unwrap();
            let soa = rdata::SOA::new(name.clone(), name.clone(), 1, 2, 3, 4, 60);
            reply.add_authority(Record::from_rdata(name, 900, RData::SOA(soa)));
            reply
        }],
    }
}

async fn read_message(stream: &mut TcpStream) -> Message {
    let mut bytes = vec![0; usize::from(stream.read_u16().await.unwrap())];
    stream.read_exact(&mut bytes).await.unwrap();
    Message::from_vec(&bytes).unwrap()
}

async fn write_message(stream: &mut TcpStream, message: &Message) {
    let bytes = message.to_vec().unwrap();
    stream.write_u16(bytes.len() as u16).await.unwrap();
    stream.write_all(&bytes).await.unwrap();
}

/// A world that listens.
struct Listening {
    world: World,
    udp: SocketAddr,
    tcp: SocketAddr,
    stop: oneshot::Sender<()>,
    stopped: tokio::task::JoinHandle<()>,
}

impl Listening {
    fn start(upstreams: &[&FakeUpstream]) -> Self {
        let upstreams: Vec<_> = upstreams.iter().map(|upstream| upstream.address).collect();
        let world = World::new(&upstreams);
        let socket = bind_udp(HERE.parse().unwrap(), true).unwrap();
        let listener = bind_tcp(HERE.parse().unwrap(), true).unwrap();
        let (udp, tcp) = (socket.local_addr().unwrap(), listener.local_addr().unwrap());
        let (stop, stopping) = oneshot::channel::<()>();
        let (stop_tcp, stopping_tcp) = oneshot::channel::<()>();
        let context = world.context.clone();
        let tcp_done = spawn_local(serve_tcp(listener, context.clone(), async {
            drop(stopping_tcp.await);
        }));
        let stopped = spawn_local(async move {
            serve_udp(socket, context, async { drop(stopping.await) }).await.unwrap();
            drop(stop_tcp);
            tcp_done.await.unwrap().unwrap();
        });
        Self { world, udp, tcp, stop, stopped }
    }

    async fn ask(&self, name: &str) -> Message {
        let client = UdpSocket::bind(HERE).await.unwrap();
        client.send_to(&packet(name, RecordType::A, Some(1232)), self.udp).await.unwrap();
        let mut buffer = [0; 4096];
        let received = timeout(Duration::from_secs(10), client.recv(&mut buffer)).await;
        Message::from_vec(&buffer[..received.expect("an answer in time").unwrap()]).unwrap()
    }
}

async fn locally(test: impl Future<Output = ()>) {
    LocalSet::new().run_until(test).await;
}

fn outcome(reply: &Message) -> (ResponseCode, usize) {
    (reply.metadata.response_code, reply.answers.len())
}

#[tokio::test]
async fn udp_and_tcp_answer_and_stop() {
    locally(async {
        let listening = Listening::start(&[]);
        assert_eq!(
            outcome(&listening.ask("one.service.consul.").await),
            (ResponseCode::NoError, 1)
        );
        let mut stream = TcpStream::connect(listening.tcp).await.unwrap();
        // Three at once, one of them in pieces.
        let mut bytes = Vec::new();
        for name in ["one.service.consul.", "many.service.consul.", "absent.consul."] {
            let question = packet(name, RecordType::A, None);
            bytes.extend_from_slice(&(question.len() as u16).to_be_bytes());
            bytes.extend_from_slice(&question);
        }
        let (head, tail) = bytes.split_at(bytes.len() - 7);
        stream.write_all(head).await.unwrap();
        assert_eq!(outcome(&read_message(&mut stream).await), (ResponseCode::NoError, 1));
        assert_eq!(outcome(&read_message(&mut stream).await), (ResponseCode::NoError, 200));
        stream.write_all(tail).await.unwrap();
        assert_eq!(outcome(&read_message(&mut stream).await), (ResponseCode::NXDomain, 0));
        listening.stop.send(()).unwrap();
        timeout(Duration::from_secs(5), listening.stopped).await.expect("it ends").unwrap();
        assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0, "the connection is closed");
        assert_eq!(listening.world.figures.tcp.value(), 3);
    })
    .await;
}

#[tokio::test]
async fn other_names_are_forwarded_once_and_remembered() {
    locally(async {
        let upstream = FakeUpstream::start(Mood::Answers).await;
        let listening = Listening::start(&[&upstream]);
        for name in ["www.example.com.", "WWW.Example.com.", "www.example.com."] {
            let reply = listening.ask(name).await;
            assert_eq!(outcome(&reply), (ResponseCode::NoError, 2));
            assert!(!reply.metadata.authoritative && reply.metadata.recursion_available);
            assert_eq!(reply.queries[0].name().to_ascii(), name);
            assert_eq!(reply.answers[0].name, *reply.queries[0].name());
            assert!(reply.edns.is_some());
        }
        assert_eq!(upstream.asked.get(), 1);
        let figures = &listening.world.figures;
        assert_eq!((figures.forwarded.value(), figures.cached.value()), (1, 2));
        assert_eq!(figures.cache_entries.value(), 1);
    })
    .await;
}

#[tokio::test]
async fn many_who_ask_the_same_are_one_question_to_the_upstream() {
    locally(async {
        let upstream = FakeUpstream::start(Mood::Answers).await;
        let listening = Listening::start(&[&upstream]);
        let asking = (0..20).map(|_| listening.ask("www.example.com."));
        for reply in futures_util::future::join_all(asking).await {
            assert_eq!(outcome(&reply), (ResponseCode::NoError, 2));
        }
        assert_eq!(upstream.asked.get(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_silent_upstream_costs_little_and_is_then_asked_last() {
    locally(async {
        let silent = FakeUpstream::start(Mood::Drops).await;
        let good = FakeUpstream::start(Mood::Answers).await;
        let listening = Listening::start(&[&silent, &good]);
        let start = WallClock::now();
        assert_eq!(outcome(&listening.ask("a.example.com.").await), (ResponseCode::NoError, 2));
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    })
    .await;
}

#[tokio::test]
async fn a_failing_upstream_is_passed_over() {
    locally(async {
        let failing = FakeUpstream::start(Mood::Fails).await;
        let good = FakeUpstream::start(Mood::Answers).await;
        let listening = Listening::start(&[&failing, &good]);
        for name in ["a.example.com.", "b.example.com."] {
            assert_eq!(outcome(&listening.ask(name).await), (ResponseCode::NoError, 2));
        }
        assert_eq!(failing.asked.get(), 1, "the second question goes to the good one at once");
        let alone = Listening::start(&[&failing]);
        assert_eq!(outcome(&alone.ask("a.example.com.").await), (ResponseCode::ServFail, 0));
        assert_eq!(alone.world.figures.failed.value(), 1);
    })
    .await;
}

#[tokio::test]
async fn what_does_not_fit_is_fetched_over_tcp_and_cut_for_udp() {
    locally(async {
        let upstream = FakeUpstream::start(Mood::Truncates).await;
        let listening = Listening::start(&[&upstream]);
        let reply = listening.ask("big.example.com.").await;
        assert!(reply.metadata.truncation && reply.answers.len() > 50);
        let mut stream = TcpStream::connect(listening.tcp).await.unwrap();
        write_message(&mut stream, &question("big.example.com.", RecordType::A, None)).await;
        let reply = read_message(&mut stream).await;
        assert_eq!((reply.answers.len(), reply.metadata.truncation), (100, false));
        assert_eq!(upstream.asked.get(), 1, "the second answer comes from the cache");
    })
    .await;
}

#[tokio::test]
async fn guesses_are_not_believed() {
    locally(async {
        let upstream = FakeUpstream::start(Mood::Lies).await;
        let listening = Listening::start(&[&upstream]);
        assert_eq!(outcome(&listening.ask("a.example.com.").await), (ResponseCode::NoError, 2));
    })
    .await;
}

#[tokio::test]
async fn a_name_of_ours_for_one_outside_is_followed() {
    locally(async {
        let upstream = FakeUpstream::start(Mood::Answers).await;
        let listening = Listening::start(&[&upstream]);
        let reply = listening.ask("outside.home.arpa.").await;
        let owners: Vec<_> = reply.answers.iter().map(|record| record.name.to_string()).collect();
        assert_eq!(owners, ["outside.home.arpa.", "www.example.com.", "www.example.com."]);
        assert_eq!(outcome(&listening.ask("www.example.com.").await), (ResponseCode::NoError, 2));
        assert_eq!(upstream.asked.get(), 1, "the target is remembered, our own name is not");
    })
    .await;
}

#[tokio::test]
async fn upstreams_change_while_we_run() {
    locally(async {
        let (old, new) =
            (FakeUpstream::start(Mood::Answers).await, FakeUpstream::start(Mood::SaysNo).await);
        let listening = Listening::start(&[&old]);
        assert_eq!(outcome(&listening.ask("a.example.com.").await), (ResponseCode::NoError, 2));
        let settings = Forwarding { upstreams: vec![new.address.into()], ..Forwarding::default() };
        assert!(listening.world.forwarding.set(settings));
        let reply = listening.ask("a.example.com.").await;
        assert_eq!(outcome(&reply), (ResponseCode::NXDomain, 0));
        assert_eq!(reply.authorities.len(), 1);
        assert!(listening.world.forwarding.set(Forwarding::default()));
        assert_eq!(outcome(&listening.ask("a.example.com.").await), (ResponseCode::Refused, 0));
    })
    .await;
}

#[test]
fn an_address_in_use_is_named() {
    let taken = bind_udp(HERE.parse().unwrap(), false).unwrap();
    let address = taken.local_addr().unwrap();
    let error = bind_udp(address, false).unwrap_err();
    assert_eq!(error.to_string(), format!("bind udp address `{address}`"));
    assert_eq!(error.source.kind(), std::io::ErrorKind::AddrInUse);
}

#[tokio::test]
async fn workers_share_a_port() {
    locally(async {
        let first = bind_udp(HERE.parse().unwrap(), true).unwrap();
        let second = bind_udp(first.local_addr().unwrap(), true).unwrap();
        let world = World::new(&[]);
        let address = first.local_addr().unwrap();
        for socket in [first, second] {
            spawn_local(serve_udp(socket, world.context.clone(), std::future::pending()));
        }
        // Each client has its own port, so both sockets have their share.
        for _ in 0..16 {
            let client = UdpSocket::bind(HERE).await.unwrap();
            let asked = packet("one.service.consul.", RecordType::A, None);
            client.send_to(&asked, address).await.unwrap();
            let received = timeout(Duration::from_secs(5), client.recv(&mut [0; 512])).await;
            received.expect("an answer in time").unwrap();
        }
        assert_eq!(world.figures.local.value(), 16);
    })
    .await;
}

/// The reply from a cache so many seconds after the answer came; `None`: it is forgotten.
fn cached_after(answer: &Message, seconds: u64) -> Option<Message> {
    let asked = packet("a.example.com.", RecordType::A, None);
    let Incoming::Question(question) = Incoming::parse(&asked) else { panic!() };
    let key = Key::new(question.name.as_bytes(), &question);
    let stored = Stored::parse(&answer.to_vec().unwrap(), key.name(), key.rtype()).unwrap();
    let mut cache = Cache::new(CacheConfig::default(), Default::default());
    let now = Instant::now();
    cache.put(&key, &Rc::new(stored), now);
    let mut out = [0; 1232];
    let written = cache.answer(&question, now + Duration::from_secs(seconds), 1232, &mut out)?;
    Some(Message::from_vec(&out[..written.length]).unwrap())
}

#[test]
fn remembered_answers_grow_old() {
    let asked = question("a.example.com.", RecordType::A, None);
    let positive = answer(&asked, 2);
    let ttl_after = |seconds| cached_after(&positive, seconds).map(|reply| reply.answers[0].ttl);
    assert_eq!(ttl_after(0), Some(30));
    assert_eq!(ttl_after(29), Some(1));
    assert_eq!(ttl_after(30), None);
    // The SOA may live 900 seconds, but says that a no holds for 60 (RFC 2308, 5).
    let negative = replies(&asked, Mood::SaysNo).remove(0);
    assert!(cached_after(&negative, 59).is_some());
    assert!(cached_after(&negative, 60).is_none());
    // Without a SOA nobody knows how long a no holds.
    assert!(cached_after(&answer(&asked, 0), 0).is_none());
}
