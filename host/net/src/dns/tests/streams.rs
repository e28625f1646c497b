//! How an upstream behaves on a stream.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use hickory_proto::{op::Message, rr::RecordType};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::spawn_local,
};

use super::{fake::answer, question};

/// What an upstream does on a stream.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Manner {
    /// Answers one question, and closes.
    #[default]
    Leaves,
    /// Answers one question after the other.
    Stays,
    /// Closes what it has accepted.
    Closes,
    /// Closes in the middle of an answer.
    Breaks,
    /// Says no more in the middle of an answer.
    Stalls,
    /// Says nothing.
    IsSilent,
    /// Answers under another id.
    OtherId,
    /// Answers another question.
    OtherQuestion,
    /// Tells of more than it sends, and closes.
    Promises,
    /// Sends what is no message.
    Babbles,
}

impl Manner {
    /// Those that give no answer.
    pub(super) const BAD: [Self; 8] = [
        Self::Closes,
        Self::Breaks,
        Self::Stalls,
        Self::IsSilent,
        Self::OtherId,
        Self::OtherQuestion,
        Self::Promises,
        Self::Babbles,
    ];

    pub(super) fn all() -> impl Iterator<Item = Self> {
        Self::BAD.into_iter().chain([Self::Leaves, Self::Stays])
    }
}

/// The streams of an upstream.
#[derive(Default)]
pub(super) struct Streams {
    /// How it behaves from now on.
    pub(super) manner: Cell<Manner>,
    /// How it has behaved to anybody.
    met: RefCell<Vec<Manner>>,
}

impl Streams {
    fn meet(&self) -> Manner {
        let manner = self.manner.get();
        if !self.was_met(manner) {
            self.met.borrow_mut().push(manner);
        }
        manner
    }

    /// Whether anybody met it so.
    pub(super) fn was_met(&self, manner: Manner) -> bool {
        self.met.borrow().contains(&manner)
    }

    /// Accepts whoever comes.
    pub(super) async fn serve(self: Rc<Self>, listener: TcpListener) {
        while let Ok((stream, _)) = listener.accept().await {
            let streams = self.clone();
            spawn_local(async move { streams.converse(stream).await });
        }
    }

    async fn converse(&self, mut stream: TcpStream) -> Option<()> {
        if self.manner.get() == Manner::Closes {
            self.meet();
            return None;
        }
        loop {
            let asked = read(&mut stream).await?;
            let manner = self.meet();
            stream.write_all(&reply(&asked, manner)).await.ok()?;
            match manner {
                Manner::Stays | Manner::IsSilent | Manner::OtherId | Manner::OtherQuestion => (),
                // Until the other side has had enough.
                Manner::Stalls => while read(&mut stream).await.is_some() {},
                _ => return None,
            }
        }
    }
}

async fn read(stream: &mut TcpStream) -> Option<Message> {
    let mut bytes = vec![0; usize::from(stream.read_u16().await.ok()?)];
    stream.read_exact(&mut bytes).await.ok()?;
    Message::from_vec(&bytes).ok()
}

/// The bytes that are sent.
fn reply(asked: &Message, manner: Manner) -> Vec<u8> {
    let framed = |length: usize, bytes: &[u8]| [&(length as u16).to_be_bytes(), bytes].concat();
    let mut good = answer(asked, 100);
    match manner {
        Manner::Closes | Manner::IsSilent => return Vec::new(),
        Manner::Babbles => return framed(7, b"nothing"),
        Manner::OtherId => good.metadata.id = good.metadata.id.wrapping_add(1),
        Manner::OtherQuestion => {
            good = answer(&question("evil.example.", RecordType::A, None), 9);
            good.metadata.id = asked.metadata.id;
        }
        _ => (),
    }
    let bytes = good.to_vec().unwrap();
    match manner {
        Manner::Breaks | Manner::Stalls => framed(bytes.len(), &bytes[..bytes.len() / 2]),
        Manner::Promises => framed(bytes.len() + 1, &bytes),
        _ => framed(bytes.len(), &bytes),
    }
}
