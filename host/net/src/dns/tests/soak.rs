//! Everything goes wrong at once outside, and the catalog changes all the time: names of ours never
//! suffer.

use std::time::Duration;

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::RecordType,
};
use portolan_core::snapshot::Snapshot;
use tokio::{
    net::UdpSocket,
    task::{spawn_local, yield_now},
    time::{Instant, timeout},
};

use super::{
    super::{Forwarding, Mode, Rebind},
    fake::{FakeUpstream, HERE, Listening, Mood, locally},
    question, zones,
};

/// How long it goes on; `PORTOLAN_SOAK=600` makes it ten minutes.
fn length() -> Duration {
    let seconds = std::env::var("PORTOLAN_SOAK").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(3))
}

const MOODS: [Mood; 9] = [
    Mood::Answers,
    Mood::Drops,
    Mood::Fails,
    Mood::Truncates,
    Mood::Lies,
    Mood::SaysNo,
    Mood::LeadsInside,
    Mood::Lowers,
    Mood::IsHere,
];

#[tokio::test]
async fn names_of_ours_never_suffer() {
    locally(async {
        let mut upstreams = Vec::new();
        for mood in MOODS.iter().take(4) {
            upstreams.push(FakeUpstream::start(*mood).await);
        }
        let mut settings = Forwarding {
            upstreams: upstreams.iter().map(|upstream| upstream.address.into()).collect(),
            ..Forwarding::default()
        };
        settings.filter.rebind = Rebind::All;
        settings.cache.max_ttl = 1;
        settings.cache.bytes = 64 << 10;
        let mut listening = Listening::with(settings.clone());
        let (udp, end) = (listening.udp, Instant::now() + length());
        let strangers = spawn_local(foreign(udp, end));
        let begin = UdpSocket::bind(HERE).await.unwrap();
        begin.connect(udp).await.unwrap();
        let mut round = 0;
        while Instant::now() < end {
            round += 1;
            ours(&begin, round).await;
            // The catalog has changed: here into the same, so that the answers are known.
            let edges = ["10.9.9.9".parse().unwrap()];
            if round % 10 == 0 {
                let snapshot = Snapshot { zones: zones(&edges), ..Snapshot::default() };
                listening.world.publisher.publish(snapshot.into());
            }
            if round % 7 == 0 {
                let place = round / 7 % upstreams.len();
                upstreams[place].mood.set(MOODS[round / 28 % MOODS.len()]);
            }
            if round % 500 == 0 {
                let modes = [Mode::Fastest, Mode::Strict, Mode::Parallel];
                settings.mode = modes[round / 500 % modes.len()];
                listening.world.forwarding.set(settings.clone());
                listening.world.forwarding.flush(None);
            }
        }
        let asked = strangers.await.unwrap();
        assert!(round > 100 && asked > 100, "{round} rounds, {asked} questions for others");
        // Nobody waits for ever: what is under way has a deadline.
        let figures = &listening.world.figures;
        let left = Instant::now() + Duration::from_secs(10);
        while figures.waiting.value() > 0 && Instant::now() < left {
            listening.ask("one.service.consul.").await;
        }
        assert_eq!(figures.waiting.value(), 0);
        assert!(figures.cache_bytes.value() <= 64 << 10);
    })
    .await;
}

/// Asks for names of ours; each has its answer, at once.
async fn ours(socket: &UdpSocket, round: usize) {
    let cases = [
        ("one.service.consul.", RecordType::A, 1),
        ("some.service.consul.", RecordType::SRV, 14),
        ("absent.consul.", RecordType::A, 0),
        ("box.home.arpa.", RecordType::AAAA, 1),
        ("shop.example.org.", RecordType::A, 1),
    ];
    let (name, rtype, count) = cases[round % cases.len()];
    let mut asked = question(name, rtype, Some(1232));
    asked.metadata.id = round as u16;
    socket.send(&asked.to_vec().unwrap()).await.unwrap();
    let mut buffer = [0; 4096];
    let received = timeout(Duration::from_secs(2), socket.recv(&mut buffer)).await;
    let length = received.unwrap_or_else(|_| panic!("no answer in round {round}")).unwrap();
    let reply = Message::from_vec(&buffer[..length]).unwrap();
    assert_eq!((reply.metadata.id, reply.answers.len()), (round as u16, count), "{name}");
}

/// Asks for names of others, many at once, and takes what comes: it is a good answer or a failure,
/// and never leads inside.
async fn foreign(server: std::net::SocketAddr, end: Instant) -> usize {
    let socket = UdpSocket::bind(HERE).await.unwrap();
    socket.connect(server).await.unwrap();
    let (mut asked, mut buffer) = (0_usize, [0; 4096]);
    while Instant::now() < end {
        let mut message =
            question(&format!("n{}.example.", asked % 300), RecordType::A, Some(1232));
        message.metadata.id = asked as u16;
        socket.send(&message.to_vec().unwrap()).await.unwrap();
        asked += 1;
        while let Ok(length) = socket.try_recv(&mut buffer) {
            let reply = Message::from_vec(&buffer[..length]).unwrap();
            let code = reply.metadata.response_code;
            let known = [ResponseCode::NoError, ResponseCode::NXDomain, ResponseCode::ServFail];
            assert!(known.contains(&code), "{code}");
            let is_inside = |text: String| text.starts_with("10.") || text.starts_with("127.");
            assert!(!reply.answers.iter().any(|record| is_inside(record.data.to_string())));
        }
        yield_now().await;
    }
    asked
}
