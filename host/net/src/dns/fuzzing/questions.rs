//! Whatever a client sends.

use std::{
    cell::Cell,
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::Record,
};
use tokio::time::Instant;

use super::{
    super::{
        asker::{Asker, Handled, Transport},
        message::{Incoming, MAX_TCP, PLAIN_UDP},
    },
    world::{LOCAL, Server, World},
};

const NEIGHBOUR: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7));
/// What a cookie of ours is longer than the part of one that an asker sends at least.
const COOKIE: usize = 16;

/// Servers with names of every kind, whose upstreams are not asked.
pub struct Questions {
    world: World,
    begin: Instant,
    second: Cell<u64>,
}

/// A reply, and what another implementation makes of it.
struct Reply {
    length: usize,
    message: Message,
}

/// What becomes of a packet.
enum Outcome {
    Reply(Reply),
    Nothing,
    /// An upstream or a source would be asked.
    Others,
}

impl Default for Questions {
    fn default() -> Self {
        Self::new()
    }
}

impl Questions {
    /// The same names each time.
    pub fn new() -> Self {
        Self { world: World::new(), begin: Instant::now(), second: Cell::new(0) }
    }

    /// Whatever it is, the reply is one that others can read, no longer than its asker takes, and says
    /// so where something is missing. Nobody else is asked for strangers, who get no more than their
    /// share.
    pub fn ask(&self, packet: &[u8]) {
        let which = packet.first().map_or(0, |byte| usize::from(*byte));
        let count = self.world.servers.len();
        let Some(server) = self.world.servers.get(which % count) else { return };
        let [neighbour, stranger] = [NEIGHBOUR, STRANGER].map(|client| {
            // A new share.
            self.second.set(self.second.get() + 1);
            let udp = self.outcome(server, packet, client, Transport::Udp);
            let tcp = self.outcome(server, packet, client, Transport::Tcp);
            compare(&udp, &tcp);
            tcp
        });
        compare_askers(&neighbour, &stranger);
        self.share(server, packet);
    }

    fn outcome(
        &self,
        server: &Server,
        packet: &[u8],
        client: IpAddr,
        transport: Transport,
    ) -> Outcome {
        let mut out = vec![0; MAX_TCP];
        let asker = Asker { transport, client, local: LOCAL };
        let now = self.begin + Duration::from_secs(self.second.get());
        let handled = server
            .context
            .with_zones(|zones| server.context.handle(packet, asker, zones, now, &mut out));
        match handled {
            Handled::Reply(length) => {
                let reply = out.get(..length).unwrap_or_default();
                Outcome::Reply(check(server, packet, asker, reply))
            }
            Handled::Ignore => Outcome::Nothing,
            Handled::Forward => Outcome::Others,
        }
    }

    /// A stranger has had its share of this second: of two replies one is sent, cut short.
    fn share(&self, server: &Server, packet: &[u8]) {
        if !matches!(Incoming::parse(packet), Incoming::Question(_)) {
            return;
        }
        let mut sent = 0;
        for _ in 0..2 {
            let Outcome::Reply(reply) = self.outcome(server, packet, STRANGER, Transport::Udp)
            else {
                continue;
            };
            sent += 1;
            let Reply { length, message } = reply;
            assert!(message.metadata.truncation, "{message:?}");
            assert!(records(&message).next().is_none(), "{message:?}");
            assert!(length <= packet.len() + COOKIE, "{length} for {}", packet.len());
        }
        assert_eq!(sent, 1, "of two replies beyond the share");
    }
}

/// What holds for a reply by itself.
fn check(server: &Server, packet: &[u8], asker: Asker, reply: &[u8]) -> Reply {
    assert_eq!(reply.get(..2), packet.get(..2), "the id is another");
    let message = Message::from_vec(reply).map_err(|error| error.to_string());
    let message = message.unwrap_or_else(|error| panic!("{error}: {reply:02x?}"));
    let limit = match asker.transport {
        Transport::Udp => udp_limit(server, packet, &message),
        _ => MAX_TCP,
    };
    assert!(reply.len() <= limit, "{} of {limit}", reply.len());
    let is_cut = message.metadata.truncation;
    assert!(!is_cut || asker.transport == Transport::Udp, "cut for a stream: {message:?}");
    let may_recurse = asker.client == NEIGHBOUR;
    let says_so = message.metadata.recursion_available;
    // To what cannot be read no more is said than that.
    assert!(says_so == may_recurse || reply.len() == 12, "{message:?}");
    Reply { length: reply.len(), message }
}

/// How long a reply over UDP may be: as another implementation reads the question, where it does.
fn udp_limit(server: &Server, packet: &[u8], reply: &Message) -> usize {
    let most = usize::from(server.udp_size);
    match (Message::from_vec(packet), &reply.edns) {
        (Ok(asked), Some(_)) => {
            let payload = asked.edns.as_ref().map(|edns| edns.max_payload());
            let payload =
                payload.unwrap_or_else(|| panic!("EDNS though nobody spoke it: {reply:?}"));
            usize::from(payload).clamp(PLAIN_UDP, most)
        }
        (Err(_), Some(_)) => most,
        (_, None) => PLAIN_UDP,
    }
}

/// What does not fit into a datagram is missing there and nowhere else, and TC says so.
fn compare(udp: &Outcome, tcp: &Outcome) {
    match (udp, tcp) {
        (Outcome::Reply(udp), Outcome::Reply(tcp)) => {
            let (short, whole) = (&udp.message, &tcp.message);
            if short.metadata.truncation {
                let is_missing = short.answers.len() < whole.answers.len();
                assert!(is_missing, "nothing is missing: {short:?}\n{whole:?}");
                return;
            }
            assert_eq!(short.metadata.response_code, whole.metadata.response_code);
            let is_whole = is_same(&short.answers, &whole.answers)
                && is_same(&short.authorities, &whole.authorities);
            assert!(is_whole, "not said to be cut: {short:?}\n{whole:?}");
        }
        // Aliases did not fit.
        (Outcome::Reply(udp), Outcome::Others) => assert!(udp.message.metadata.truncation),
        (Outcome::Nothing, Outcome::Nothing) | (Outcome::Others, Outcome::Others) => (),
        _ => panic!("a datagram is treated otherwise than a stream"),
    }
}

/// A stranger is told what is ours, as everybody is, and nothing else.
fn compare_askers(neighbour: &Outcome, stranger: &Outcome) {
    match (neighbour, stranger) {
        (Outcome::Nothing, Outcome::Nothing) => (),
        (Outcome::Others, Outcome::Reply(stranger)) => {
            // Perhaps an alias of ours that leads outside.
            let code = stranger.message.metadata.response_code;
            let is_alias = code == ResponseCode::NoError && !stranger.message.answers.is_empty();
            assert!(is_alias || code == ResponseCode::Refused, "{:?}", stranger.message);
        }
        (Outcome::Reply(neighbour), Outcome::Reply(stranger)) => {
            let (neighbour, stranger) = (&neighbour.message, &stranger.message);
            let codes = [neighbour, stranger].map(|it| it.metadata.response_code);
            let is_ours = neighbour.metadata.authoritative;
            assert!(codes[0] == codes[1] || !is_ours && codes[1] == ResponseCode::Refused);
            assert!(!is_ours || is_same(&neighbour.answers, &stranger.answers));
        }
        _ => panic!("others are asked for a stranger"),
    }
}

/// Whether the same records are there, in any order.
fn is_same(one: &[Record], other: &[Record]) -> bool {
    one.len() == other.len() && one.iter().all(|record| other.contains(record))
}

fn records(message: &Message) -> impl Iterator<Item = &Record> {
    message.answers.iter().chain(&message.authorities).chain(&message.additionals)
}
