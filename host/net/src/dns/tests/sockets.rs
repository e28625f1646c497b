//! Real sockets, and upstreams that answer, drop, truncate and lie: see `fake`.

use std::{
    net::{IpAddr, Ipv4Addr},
    rc::Rc,
    time::{Duration, Instant as WallClock},
};

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::RecordType,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, duplex},
    net::{TcpStream, UdpSocket},
    sync::watch,
    task::{spawn_local, yield_now},
    time::{Instant, advance, timeout},
};

use super::{
    super::{
        CacheConfig, Forwarding, Sharing,
        asker::{Asker, Transport},
        bind_udp,
        cache::{Cache, Key},
        message::Incoming,
        seat::Seats,
        serve_udp,
        stored::Stored,
        stream::Connection,
    },
    World,
    fake::{
        FakeUpstream, HERE, Listening, Mood, answer, locally, outcome, read_message, replies,
        write_message,
    },
    packet, question,
};

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
        assert_eq!(silent.asked.get(), 1);
        for name in ["b.example.com.", "c.example.com."] {
            assert_eq!(outcome(&listening.ask(name).await), (ResponseCode::NoError, 2));
        }
        assert_eq!(silent.asked.get(), 1, "the next questions go to the good one at once");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn bytes_now_and_then_are_no_questions() {
    locally(async {
        let world = World::new(&[]);
        let asked = packet("one.service.consul.", RecordType::A, None);
        let framed = [&(asked.len() as u16).to_be_bytes()[..], &asked].concat();
        for (whole, is_wanted, is_served) in
            [(true, false, true), (false, false, false), (true, true, false)]
        {
            let ((ours, mut theirs), seats) = (duplex(4096), Seats::default());
            let (_running, stopped) = watch::channel(false);
            let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
            let asker = Asker { transport: Transport::Tcp, client: here, local: here };
            let context = world.context.clone();
            let connection = Connection::new(context, asker, seats.take(), stopped);
            let served = spawn_local(connection.serve(ours));
            for byte in 0..4 {
                let written = if whole { &framed[..] } else { &framed[byte..=byte] };
                theirs.write_all(written).await.unwrap_or_default();
                advance(Duration::from_secs(4)).await;
                for _ in 0..8 {
                    yield_now().await;
                }
            }
            // Another client needs the place.
            if is_wanted {
                seats.make_room();
                yield_now().await;
            }
            assert_eq!(!served.is_finished(), is_served, "{whole} {is_wanted}");
        }
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
async fn who_says_no_more_over_tcp_is_answered_all_the_same() {
    locally(async {
        let upstream = FakeUpstream::start(Mood::Answers).await;
        let listening = Listening::start(&[&upstream]);
        for names in [&["a"][..], &["b", "c", "d"]] {
            let mut stream = TcpStream::connect(listening.tcp).await.unwrap();
            for name in names {
                let asked = question(&format!("{name}.example."), RecordType::A, None);
                write_message(&mut stream, &asked).await;
            }
            stream.shutdown().await.unwrap();
            for _ in names {
                assert_eq!(outcome(&read_message(&mut stream).await), (ResponseCode::NoError, 2));
            }
        }
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
    let taken = bind_udp(HERE.parse().unwrap(), Sharing::NONE).unwrap();
    let address = taken.local_addr().unwrap();
    let error = bind_udp(address, Sharing::NONE).unwrap_err();
    assert_eq!(error.to_string(), format!("bind udp address `{address}`"));
    assert_eq!(error.source.kind(), std::io::ErrorKind::AddrInUse);
}

#[tokio::test]
async fn workers_share_a_port() {
    locally(async {
        let first = bind_udp(HERE.parse().unwrap(), Sharing::WORKERS).unwrap();
        let second = bind_udp(first.local_addr().unwrap(), Sharing::WORKERS).unwrap();
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
    let written =
        cache.answer(&question, now + Duration::from_secs(seconds), (1232, 0), &mut out)?;
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
