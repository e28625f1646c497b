//! Upstreams that answer, drop, truncate and lie, and a world that listens.

use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    rc::Rc,
    time::Duration,
};

use hickory_proto::{
    op::{Edns, Message, OpCode, ResponseCode},
    rr::{Name, RData, Record, RecordType, rdata},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, UdpSocket},
    sync::oneshot,
    task::{LocalSet, spawn_local},
    time::timeout,
};

use super::{
    super::{
        CacheConfig, Forwarding, Sharing, UpstreamConfig, bind_tcp, bind_udp, serve_tcp, serve_udp,
    },
    World, question,
    streams::Streams,
};

pub(super) const HERE: &str = "127.0.0.1:0";

/// What an upstream does with a question.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) enum Mood {
    Answers,
    Drops,
    Fails,
    Truncates,
    Lies,
    SaysNo,
    /// Answers with an address of a private network.
    LeadsInside,
    /// Repeats questions in lower case.
    Lowers,
    /// Answers with an alias for `www.example.com`, and says nothing of that.
    LeadsOn,
    /// The same, and of `www.example.com` it says that there is nothing, without a SOA.
    LeadsToNothing,
    /// The same, and of that it gives an address of a private network.
    LeadsOnInside,
    /// Answers with an alias for `box.home.arpa`, and says nothing of that.
    LeadsHome,
    /// Answers with 127.0.0.1, for this once, and nothing of another family.
    IsHere,
    /// Finds EDNS malformed, as old servers do.
    KnowsNoEdns,
    /// Says that it knows another EDNS, whatever it is asked.
    WantsOtherEdns,
    /// Checks what is signed, and has a signature for who asks for those (RFC 4035, 3.2).
    Checks,
    /// The same, and one address is of a private network.
    ChecksInside,
}

/// An upstream on loopback, and how often it was asked by UDP.
pub(super) struct FakeUpstream {
    pub(super) address: SocketAddr,
    pub(super) mood: Rc<Cell<Mood>>,
    pub(super) asked: Rc<Cell<usize>>,
    /// How it is over TCP, whatever its mood.
    pub(super) streams: Rc<Streams>,
    /// The last question over UDP, as it came.
    pub(super) last: Rc<RefCell<Vec<u8>>>,
}

impl FakeUpstream {
    pub(super) async fn start(mood: Mood) -> Self {
        // Of a port that is free for TCP that of UDP may be another's.
        let (listener, socket) = loop {
            let listener = TcpListener::bind(HERE).await.unwrap();
            if let Ok(socket) = UdpSocket::bind(listener.local_addr().unwrap()).await {
                break (listener, socket);
            }
        };
        let upstream = Self::on(socket, mood);
        spawn_local(upstream.streams.clone().serve(listener));
        upstream
    }

    /// One that is asked by UDP alone.
    pub(super) async fn without_tcp(mood: Mood) -> Self {
        Self::on(UdpSocket::bind(HERE).await.unwrap(), mood)
    }

    fn on(socket: UdpSocket, mood: Mood) -> Self {
        let address = socket.local_addr().unwrap();
        let asked = Rc::new(Cell::new(0));
        let counter = asked.clone();
        let last = Rc::<RefCell<Vec<u8>>>::default();
        let kept = last.clone();
        let mood = Rc::new(Cell::new(mood));
        let now = mood.clone();
        spawn_local(async move {
            let mut buffer = [0; 4096];
            loop {
                let (length, peer) = socket.recv_from(&mut buffer).await.unwrap();
                counter.set(counter.get() + 1);
                *kept.borrow_mut() = buffer[..length].to_vec();
                let asked = Message::from_vec(&buffer[..length]).unwrap();
                for reply in replies(&asked, now.get()) {
                    socket.send_to(&reply.to_vec().unwrap(), peer).await.unwrap();
                }
            }
        });
        Self { address, mood, asked, streams: Rc::default(), last }
    }
}

/// These upstreams.
pub(super) fn all(upstreams: &[&FakeUpstream]) -> Vec<UpstreamConfig> {
    upstreams.iter().map(|upstream| upstream.address.into()).collect()
}

/// These are asked for everything.
pub(super) fn asking(upstreams: &[&FakeUpstream]) -> Forwarding {
    Forwarding { upstreams: all(upstreams), ..Forwarding::default() }
}

/// The same, and what it says is remembered for a second.
pub(super) fn forgetful(upstream: &FakeUpstream) -> Forwarding {
    let cache = CacheConfig { max_ttl: 1, ..CacheConfig::default() };
    Forwarding { cache, ..asking(&[upstream]) }
}

/// `count` addresses; the TTL is 30.
pub(super) fn answer(asked: &Message, count: u8) -> Message {
    let mut reply = Message::response(asked.metadata.id, OpCode::Query);
    reply.add_query(asked.queries[0].clone());
    for number in 1..=count {
        let data = RData::A(rdata::A::new(203, 0, 113, number));
        reply.add_answer(Record::from_rdata(asked.queries[0].name().clone(), 30, data));
    }
    reply
}

fn is_www(asked: &Message) -> bool {
    asked.queries[0].name().to_lowercase().to_ascii() == "www.example.com."
}

pub(super) fn replies(asked: &Message, mood: Mood) -> Vec<Message> {
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
        Mood::LeadsInside => vec![{
            let mut reply = answer(asked, 1);
            let data = RData::A(rdata::A::new(10, 0, 0, 7));
            reply.add_answer(Record::from_rdata(asked.queries[0].name().clone(), 30, data));
            reply
        }],
        Mood::LeadsToNothing if is_www(asked) => vec![answer(asked, 0)],
        Mood::LeadsOnInside if is_www(asked) => replies(asked, Mood::LeadsInside),
        Mood::LeadsOn | Mood::LeadsToNothing | Mood::LeadsOnInside | Mood::LeadsHome => vec![{
            let mut reply = answer(asked, 0);
            let is_home = mood == Mood::LeadsHome;
            let target = if is_home { "box.home.arpa." } else { "www.example.com." };
            let data = RData::CNAME(rdata::CNAME(Name::from_ascii(target).unwrap()));
            reply.add_answer(Record::from_rdata(asked.queries[0].name().clone(), 30, data));
            reply
        }],
        Mood::IsHere => vec![{
            let mut reply = answer(asked, 0);
            let query = &asked.queries[0];
            if query.query_type() == RecordType::A {
                let data = RData::A(rdata::A::new(127, 0, 0, 1));
                reply.add_answer(Record::from_rdata(query.name().clone(), 0, data));
            }
            reply
        }],
        Mood::KnowsNoEdns if asked.edns.is_none() => vec![good],
        Mood::KnowsNoEdns => vec![{
            let mut reply = answer(asked, 0);
            reply.metadata.response_code = ResponseCode::FormErr;
            reply
        }],
        Mood::WantsOtherEdns => vec![{
            let mut reply = answer(asked, 0);
            reply.metadata.response_code = ResponseCode::BADVERS;
            reply.edns = Some(Edns::new());
            reply
        }],
        Mood::Checks | Mood::ChecksInside => {
            let inside = mood == Mood::ChecksInside;
            vec![checked(asked, if inside { Mood::LeadsInside } else { Mood::Answers })]
        }
        Mood::Lowers => vec![{
            let mut asked = asked.clone();
            let lower = asked.queries[0].name().to_lowercase();
            asked.queries[0].set_name(lower);
            answer(&asked, 2)
        }],
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

/// As a resolver that validates answers: it says that it did so to who asks for that, unless told not to.
fn checked(asked: &Message, mood: Mood) -> Message {
    let mut reply = replies(asked, mood).remove(0);
    let wants_dnssec = asked.edns.as_ref().is_some_and(|edns| edns.flags().dnssec_ok);
    let is_told = wants_dnssec || asked.metadata.authentic_data;
    reply.metadata.checking_disabled = asked.metadata.checking_disabled;
    reply.metadata.authentic_data = is_told && !asked.metadata.checking_disabled;
    if wants_dnssec {
        reply.edns.clone_from(&asked.edns);
        let (code, rdata) = (RecordType::RRSIG, rdata::NULL::with(SIGNATURE.to_vec()));
        let owner = asked.queries[0].name().clone();
        reply.add_answer(Record::from_rdata(owner, 30, RData::Unknown { code, rdata }));
    }
    reply
}

/// Of an A record of two labels by the root, with four bytes in place of the signature itself.
const SIGNATURE: [u8; 23] =
    [0, 1, 13, 2, 0, 0, 0, 30, 0x7f, 0, 0, 0, 0, 0, 0, 1, 0x12, 0x34, 0, 0xde, 0xad, 0xbe, 0xef];

pub(super) async fn read_message(stream: &mut (impl AsyncRead + Unpin)) -> Message {
    let mut bytes = vec![0; usize::from(stream.read_u16().await.unwrap())];
    stream.read_exact(&mut bytes).await.unwrap();
    Message::from_vec(&bytes).unwrap()
}

pub(super) async fn write_message(stream: &mut (impl AsyncWrite + Unpin), message: &Message) {
    let bytes = message.to_vec().unwrap();
    stream.write_u16(bytes.len() as u16).await.unwrap();
    stream.write_all(&bytes).await.unwrap();
}

/// A world that listens.
pub(super) struct Listening {
    pub(super) world: World,
    pub(super) udp: SocketAddr,
    pub(super) tcp: SocketAddr,
    pub(super) stop: oneshot::Sender<()>,
    pub(super) stopped: tokio::task::JoinHandle<()>,
}

impl Listening {
    pub(super) fn start(upstreams: &[&FakeUpstream]) -> Self {
        // Fake upstreams keep letters as real ones do.
        Self::with(Forwarding { mix_case: true, ..asking(upstreams) })
    }

    pub(super) fn with(settings: Forwarding) -> Self {
        let world = World::new(&[]);
        world.forwarding.set(settings);
        let socket = bind_udp(HERE.parse().unwrap(), Sharing::WORKERS).unwrap();
        let listener = bind_tcp(HERE.parse().unwrap(), Sharing::WORKERS).unwrap();
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

    pub(super) async fn ask(&self, name: &str) -> Message {
        self.ask_for(name, RecordType::A).await
    }

    pub(super) async fn ask_for(&self, name: &str, rtype: RecordType) -> Message {
        self.send(&question(name, rtype, Some(1232))).await
    }

    pub(super) async fn send(&self, asked: &Message) -> Message {
        let client = UdpSocket::bind(HERE).await.unwrap();
        client.send_to(&asked.to_vec().unwrap(), self.udp).await.unwrap();
        let mut buffer = [0; 4096];
        let received = timeout(Duration::from_secs(10), client.recv(&mut buffer)).await;
        Message::from_vec(&buffer[..received.expect("an answer in time").unwrap()]).unwrap()
    }
}

pub(super) async fn locally(test: impl Future<Output = ()>) {
    LocalSet::new().run_until(test).await;
}

pub(super) fn outcome(reply: &Message) -> (ResponseCode, usize) {
    (reply.metadata.response_code, reply.answers.len())
}
