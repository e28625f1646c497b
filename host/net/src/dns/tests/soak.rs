//! Everything goes wrong at once outside, and the catalog changes all the time: names of ours never
//! suffer.

use std::{cell::Cell, net::SocketAddr, rc::Rc, time::Duration};

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::RecordType,
};
use portolan_core::snapshot::Snapshot;
use tokio::{
    net::{TcpListener, UdpSocket},
    task::{spawn_local, yield_now},
    time::{Instant, timeout},
};

use super::{
    super::{Forwarding, Mode, Place, Protocol, Rebind, UpstreamConfig},
    churn::{Case, Churn, Dice},
    fake::{FakeUpstream, HERE, Listening, Mood, locally},
    question,
    streams::Manner,
};

/// How long it goes on; `PORTOLAN_SOAK=600` makes it ten minutes.
fn length() -> Duration {
    let seconds = std::env::var("PORTOLAN_SOAK").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(3))
}

/// How much longer it may take.
const SLOW: Duration = Duration::from_secs(20);

const SEED: u64 = 0x5eed_5eed;

const MOODS: [Mood; 13] = [
    Mood::Answers,
    Mood::Drops,
    Mood::Fails,
    Mood::Truncates,
    Mood::Lies,
    Mood::SaysNo,
    Mood::LeadsInside,
    Mood::LeadsOnInside,
    Mood::LeadsToNothing,
    Mood::Lowers,
    Mood::IsHere,
    Mood::KnowsNoEdns,
    Mood::WantsOtherEdns,
];

#[tokio::test]
async fn names_of_ours_never_suffer() {
    locally(Box::pin(async {
        let mut upstreams = Vec::new();
        for mood in MOODS.iter().take(5) {
            upstreams.push(FakeUpstream::start(*mood).await);
        }
        let mut settings = settings(&upstreams).await;
        let mut listening = Listening::with(settings.clone());
        let (udp, end) = (listening.udp, Instant::now() + length());
        let is_over = Rc::<Cell<bool>>::default();
        let strangers = spawn_local(foreign(udp, is_over.clone()));
        let begin = UdpSocket::bind(HERE).await.unwrap();
        begin.connect(udp).await.unwrap();
        let (mut churn, mut dice) = (Churn::new(SEED), Dice(SEED));
        let mut round = 0;
        let was_met = |manner| upstreams.iter().any(|it| it.streams.was_met(manner));
        // On a slow machine it takes longer until everything was met.
        while Instant::now() < end || !Manner::all().all(was_met) && Instant::now() < end + SLOW {
            if round % 3 == 0 {
                let snapshot = Snapshot { zones: churn.step(), ..Snapshot::default() };
                listening.world.publisher.publish(snapshot.into());
            }
            round += 1;
            ours(&begin, round, &churn.question()).await;
            if round % 7 == 0 {
                let upstream = &upstreams[dice.below(upstreams.len())];
                upstream.mood.set(dice.pick(&MOODS));
                let manners: Vec<_> = Manner::all().collect();
                upstream.streams.manner.set(dice.pick(&manners));
            }
            if round % 500 == 0 {
                settings.mode = dice.pick(&[Mode::Fastest, Mode::Strict, Mode::Parallel]);
                listening.world.forwarding.set(settings.clone());
                listening.world.forwarding.flush(None);
            }
        }
        is_over.set(true);
        let asked = strangers.await.unwrap();
        assert!(round > 300 && asked > 100, "{round} rounds, {asked} questions for others");
        for manner in Manner::all() {
            assert!(was_met(manner), "nobody was so: {manner:?}");
        }
        // Nobody waits for ever: what is under way has a deadline.
        let figures = &listening.world.figures;
        let left = Instant::now() + Duration::from_secs(10);
        while figures.waiting.value() > 0 && Instant::now() < left {
            listening.ask("nothing.service.consul.").await;
        }
        assert_eq!(figures.waiting.value(), 0);
        assert!(figures.cache_bytes.value() <= 64 << 10);
    }))
    .await;
}

/// These are asked by UDP, one of them over TCP alone, and one that is dead.
async fn settings(upstreams: &[FakeUpstream]) -> Forwarding {
    let mut asked: Vec<UpstreamConfig> =
        upstreams.iter().map(|upstream| upstream.address.into()).collect();
    asked[0].protocol = Protocol::Tcp;
    let dead = TcpListener::bind(HERE).await.unwrap().local_addr().unwrap();
    asked.push(UpstreamConfig { place: Place::At(dead), protocol: Protocol::Udp });
    let mut settings = Forwarding { upstreams: asked, ..Forwarding::default() };
    settings.filter.rebind = Rebind::All;
    settings.cache.max_ttl = 1;
    settings.cache.bytes = 64 << 10;
    settings
}

/// Asks for a name of ours; it has its answer, at once, as the catalog is now.
async fn ours(socket: &UdpSocket, round: usize, case: &Case) {
    let mut asked = question(&case.name, case.rtype, Some(1232));
    asked.metadata.id = round as u16;
    socket.send(&asked.to_vec().unwrap()).await.unwrap();
    let mut buffer = [0; 4096];
    let received = timeout(Duration::from_secs(2), socket.recv(&mut buffer)).await;
    let length = received.unwrap_or_else(|_| panic!("no answer in round {round}")).unwrap();
    let reply = Message::from_vec(&buffer[..length]).unwrap();
    assert_eq!(reply.metadata.id, round as u16);
    case.check(&reply);
}

/// Asks for names of others, many at once, and takes what comes: it is a good answer or a failure,
/// and never leads inside.
async fn foreign(server: SocketAddr, is_over: Rc<Cell<bool>>) -> usize {
    let socket = UdpSocket::bind(HERE).await.unwrap();
    socket.connect(server).await.unwrap();
    let (mut asked, mut buffer) = (0_usize, [0; 4096]);
    while !is_over.get() {
        for _ in 0..8 {
            let name = format!("n{}.example.", asked % 300);
            let mut message = question(&name, RecordType::A, Some(1232));
            message.metadata.id = asked as u16;
            socket.send(&message.to_vec().unwrap()).await.unwrap();
            asked += 1;
        }
        while let Ok(length) = socket.try_recv(&mut buffer) {
            let reply = Message::from_vec(&buffer[..length]).unwrap();
            let code = reply.metadata.response_code;
            let known = [ResponseCode::NoError, ResponseCode::NXDomain, ResponseCode::ServFail];
            assert!(known.contains(&code), "{code}");
            let is_inside = |text: String| text.starts_with("10.") || text.starts_with("127.");
            assert!(!reply.answers.iter().any(|record| is_inside(record.data.to_string())));
            let queried = reply.queries[0].name();
            assert!(queried.to_ascii().ends_with(".example."), "{queried}");
            let mut owners = reply.answers.iter().map(|record| record.name.to_ascii());
            assert!(!owners.any(|owner| owner == "evil.example."));
        }
        yield_now().await;
    }
    asked
}
