//! Asks, and tells all of an answer that can be compared.

use std::{
    collections::BTreeSet,
    fmt::{self, Debug, Formatter},
    net::SocketAddr,
    time::Duration,
};

use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query, ResponseCode},
    rr::{Name, RData, Record, RecordType},
};
use tokio::{net::UdpSocket, time::timeout};

/// A record. Names mean the same in any case, so its owner is in lower case.
#[derive(Clone, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Line {
    pub(super) owner: String,
    pub(super) ttl: u32,
    pub(super) rtype: RecordType,
    pub(super) data: String,
}

/// The records of a section; their order is left to chance by both.
pub(super) type Lines = BTreeSet<Line>;

/// An answer, all of it but whether somebody else would be asked (RA): we would, this Consul not.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Answer {
    pub(super) code: ResponseCode,
    pub(super) is_authoritative: bool,
    pub(super) is_truncated: bool,
    pub(super) answers: Lines,
    pub(super) authority: Lines,
    pub(super) additional: Lines,
    /// What stands in a section twice (RFC 2181, 5).
    pub(super) repeated: Lines,
}

impl Line {
    pub(super) fn new(owner: &str, ttl: u32, rtype: RecordType, data: &str) -> Self {
        Self { owner: owner.to_owned(), ttl, rtype, data: data.to_owned() }
    }
}

impl Debug for Line {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { owner, ttl, rtype, data } = self;
        write!(f, "{owner} {ttl} {rtype} {data}")
    }
}

/// One socket to one server; an answer that was lost is asked for again.
pub(super) struct Asker {
    socket: UdpSocket,
    id: u16,
}

impl Asker {
    pub(super) async fn new(server: SocketAddr) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.connect(server).await.unwrap();
        Self { socket, id: 0 }
    }

    pub(super) async fn ask(&mut self, name: &str, rtype: RecordType) -> Answer {
        let mut buffer = [0; 8192];
        self.id = self.id.wrapping_add(1);
        let mut message = Message::new(self.id, MessageType::Query, OpCode::Query);
        message.add_query(Query::query(Name::from_ascii(name).unwrap(), rtype));
        let mut edns = Edns::new();
        edns.set_max_payload(4096);
        message.set_edns(edns);
        let question = message.to_vec().unwrap();
        loop {
            self.socket.send(&question).await.unwrap();
            let received = timeout(Duration::from_secs(2), self.socket.recv(&mut buffer)).await;
            let Ok(Ok(length)) = received else { continue };
            let reply = Message::from_vec(&buffer[..length]).unwrap();
            if reply.metadata.id != self.id {
                continue;
            }
            // Letter by letter: who asks may look for that (0x20).
            let echo = reply.queries.first().map(|query| query.name().to_ascii());
            assert_eq!(echo.as_deref(), Some(name));
            return answer(&reply);
        }
    }
}

impl Answer {
    /// The same, if it had been asked for by another name.
    pub(super) fn renamed(mut self, from: &str, to: &str) -> Self {
        let from = from.to_ascii_lowercase();
        for lines in [&mut self.answers, &mut self.authority, &mut self.additional] {
            let renamed = std::mem::take(lines).into_iter().map(|line| match line.owner == from {
                true => Line { owner: to.to_owned(), ..line },
                false => line,
            });
            *lines = renamed.collect();
        }
        self
    }
}

fn answer(reply: &Message) -> Answer {
    Answer {
        code: reply.metadata.response_code,
        is_authoritative: reply.metadata.authoritative,
        is_truncated: reply.metadata.truncation,
        answers: lines(&reply.answers),
        authority: lines(&reply.authorities),
        additional: lines(&reply.additionals),
        repeated: [&reply.answers, &reply.authorities, &reply.additionals]
            .into_iter()
            .flat_map(|section| repeated(section))
            .collect(),
    }
}

fn repeated(section: &[Record]) -> Lines {
    let twice = |(place, record): &(usize, &Record)| section[..*place].contains(record);
    section.iter().enumerate().filter(twice).map(|(_, record)| line(record)).collect()
}

fn lines(records: &[Record]) -> Lines {
    records.iter().map(line).collect()
}

fn line(record: &Record) -> Line {
    let data = match record.data.clone() {
        // The serial is a time with Consul, with us the number of a snapshot.
        RData::SOA(mut soa) => {
            soa.serial = 0;
            RData::SOA(soa)
        }
        data => data,
    };
    let owner = record.name.to_ascii().to_ascii_lowercase();
    Line::new(&owner, record.ttl, record.record_type(), &data.to_string())
}
