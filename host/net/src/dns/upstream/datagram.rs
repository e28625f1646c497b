//! Questions over UDP: sockets that many questions share.
//!
//! **Invariant:** an answer is taken only when it comes from the address that was asked (sockets
//! are connected), to the port that asked (ports are the system's random choice, and change), and
//! has the random id and the question that was asked (RFC 5452).

use std::{
    cell::{Cell, RefCell},
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    rc::Rc,
};

use hashbrown::HashMap;
use tokio::{net::UdpSocket, sync::oneshot, task::JoinHandle};

use super::super::message::{HEADER, Header, number};

/// Sockets that are used in turn.
const CHANNELS: usize = 8;
/// Questions that one socket asks before another port is taken.
const QUESTIONS_PER_CHANNEL: u32 = 256;
/// Larger than any datagram that we ask for.
const DATAGRAM: usize = 4096;

/// The sockets of one upstream.
pub(super) struct Channels {
    /// `None`: it is not asked by datagrams.
    upstream: Option<SocketAddr>,
    channels: RefCell<Vec<Rc<Channel>>>,
    next: Cell<usize>,
}

/// What came for a question.
pub(super) enum Answer {
    /// A message that repeats the question.
    Message(Vec<u8>),
    /// One that repeats it in other letters: the upstream does not keep them, or it is a guess.
    OtherCase,
}

impl Channels {
    pub(super) fn new(upstream: Option<SocketAddr>) -> Self {
        Self { upstream, channels: RefCell::default(), next: Cell::new(0) }
    }

    /// Asks a question, written by `write` for an id, and waits for what comes.
    pub(super) async fn ask(
        &self,
        id: u16,
        write: impl FnOnce(u16) -> Vec<u8>,
    ) -> io::Result<Answer> {
        let channel = self.channel().await?;
        let id = channel.free(id);
        let question = write(id);
        let (answered, answer) = oneshot::channel();
        // The name, its type and class, and nothing behind them.
        let end = question.len().saturating_sub(OPT);
        let asked = question.get(HEADER..end).unwrap_or_default().into();
        let _waiting = channel.expect(id, asked, answered);
        channel.socket.send(&question).await?;
        answer.await.map_err(|_closed| io::ErrorKind::ConnectionRefused.into())
    }

    /// The socket whose turn it is. One that has asked enough is forgotten here, and closes when
    /// its last question is done.
    async fn channel(&self) -> io::Result<Rc<Channel>> {
        let turn = self.next.get();
        self.next.set(turn.wrapping_add(1));
        let place = turn % CHANNELS;
        let kept = self.channels.borrow().get(place).cloned();
        if let Some(channel) = kept.filter(|channel| channel.may_ask()) {
            return Ok(channel);
        }
        let fresh = Channel::open(self.upstream.ok_or(io::ErrorKind::HostUnreachable)?).await?;
        let mut channels = self.channels.borrow_mut();
        match channels.get_mut(place) {
            Some(place) => *place = fresh.clone(),
            None => channels.push(fresh.clone()),
        }
        Ok(fresh)
    }
}

/// What every question of ours ends with: OPT without options.
pub(super) const OPT: usize = 11;

/// A connected socket, and the questions that wait for answers on it.
struct Channel {
    socket: Rc<UdpSocket>,
    waiting: Rc<RefCell<HashMap<u16, Waiting>>>,
    asked: Cell<u32>,
    reader: JoinHandle<()>,
}

struct Waiting {
    /// The question as it was written.
    asked: Box<[u8]>,
    answered: oneshot::Sender<Answer>,
}

impl Channel {
    async fn open(upstream: SocketAddr) -> io::Result<Rc<Self>> {
        let any: IpAddr = match upstream {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = UdpSocket::bind((any, 0)).await?;
        socket.connect(upstream).await?;
        let socket = Rc::new(socket);
        let waiting = Rc::<RefCell<HashMap<u16, Waiting>>>::default();
        let reader = tokio::task::spawn_local(read(socket.clone(), waiting.clone()));
        Ok(Rc::new(Self { socket, waiting, asked: Cell::new(0), reader }))
    }

    fn may_ask(&self) -> bool {
        self.asked.get() < QUESTIONS_PER_CHANNEL && !self.reader.is_finished()
    }

    /// An id that nobody waits for yet. A channel asks 256 questions in its life, so there is one.
    fn free(&self, mut id: u16) -> u16 {
        let waiting = self.waiting.borrow();
        while waiting.contains_key(&id) {
            id = id.wrapping_add(1);
        }
        id
    }

    fn expect(&self, id: u16, asked: Box<[u8]>, answered: oneshot::Sender<Answer>) -> Guard<'_> {
        self.asked.set(self.asked.get() + 1);
        self.waiting.borrow_mut().insert(id, Waiting { asked, answered });
        Guard { channel: self, id }
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// Stops waiting when the question is given up.
struct Guard<'a> {
    channel: &'a Channel,
    id: u16,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.channel.waiting.borrow_mut().remove(&self.id);
    }
}

/// Hands answers to those who wait for them. Ends when the socket fails: who waits learns it by
/// the end of the channel, and the next question takes a new socket.
async fn read(socket: Rc<UdpSocket>, waiting: Rc<RefCell<HashMap<u16, Waiting>>>) {
    let mut datagram = vec![0; DATAGRAM];
    loop {
        let Ok(length) = socket.recv(&mut datagram).await else {
            waiting.borrow_mut().clear();
            return;
        };
        let Some(wire) = datagram.get(..length) else { continue };
        let Some(header) = Header::parse(wire) else { continue };
        let mut waiting = waiting.borrow_mut();
        let Some(answer) = waiting.get(&header.id).and_then(|it| answer(wire, &it.asked)) else {
            continue;
        };
        if let Some(Waiting { answered, .. }) = waiting.remove(&header.id) {
            // Nobody may want it any more.
            drop(answered.send(answer));
        }
    }
}

/// Whether a message repeats a question. One that does not is somebody else's guess, and must not
/// end the wait for the true answer. An upstream that cannot read us repeats no question.
fn answer(wire: &[u8], asked: &[u8]) -> Option<Answer> {
    let repeated = wire.get(HEADER..HEADER + asked.len());
    match repeated {
        _ if number(wire, 4) == Some(0) => Some(Answer::Message(wire.to_vec())),
        Some(repeated) if repeated == asked => Some(Answer::Message(wire.to_vec())),
        Some(repeated) if repeated.eq_ignore_ascii_case(asked) => Some(Answer::OtherCase),
        _ => None,
    }
}
