//! A DNS client on a real socket; messages are hickory's, so our codec is not its own judge.

use std::{net::SocketAddr, time::Duration};

use hickory_proto::{
    op::{Message, MessageType, OpCode, Query, ResponseCode},
    rr::{Name, RecordType},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    time::timeout,
};

/// Asks one server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Resolver(pub(crate) SocketAddr);

/// What came back, in presentation form.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Reply {
    pub(crate) code: ResponseCode,
    /// The data of the answer section, sorted.
    pub(crate) answers: Vec<String>,
    /// Types in the authority section.
    pub(crate) authority: Vec<RecordType>,
    /// The data of the additional section.
    pub(crate) additional: Vec<String>,
}

impl Reply {
    pub(crate) fn is(&self, answers: &[&str]) -> bool {
        self.code == ResponseCode::NoError && self.answers == answers
    }
}

impl Resolver {
    /// Asks over UDP.
    pub(crate) async fn ask(self, name: &str, rtype: RecordType) -> Reply {
        let here = if self.0.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" };
        let socket = UdpSocket::bind(here).await.unwrap();
        socket.connect(self.0).await.unwrap();
        let mut buffer = [0; 4096];
        loop {
            socket.send(&question(name, rtype)).await.unwrap();
            // Datagrams get lost; a resolver asks again.
            let received = timeout(Duration::from_secs(2), socket.recv(&mut buffer)).await;
            if let Ok(Ok(length)) = received {
                return reply(&buffer[..length]);
            }
        }
    }

    /// The A records of a name.
    pub(crate) async fn a(self, name: &str) -> Reply {
        self.ask(name, RecordType::A).await
    }

    /// Asks over TCP.
    pub(crate) async fn ask_tcp(self, name: &str, rtype: RecordType) -> Reply {
        let stream = TcpStream::connect(self.0).await.unwrap();
        Self::ask_stream(stream, name, rtype).await
    }

    /// Asks over a stream that is there.
    pub(crate) async fn ask_stream(
        mut stream: impl AsyncRead + AsyncWrite + Unpin,
        name: &str,
        rtype: RecordType,
    ) -> Reply {
        let question = question(name, rtype);
        stream.write_u16(question.len() as u16).await.unwrap();
        stream.write_all(&question).await.unwrap();
        stream.flush().await.unwrap();
        let length = stream.read_u16().await.unwrap();
        let mut buffer = vec![0; length.into()];
        stream.read_exact(&mut buffer).await.unwrap();
        reply(&buffer)
    }
}

/// A question as it goes over the wire.
pub(crate) fn question(name: &str, rtype: RecordType) -> Vec<u8> {
    let mut message = Message::new(7, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), rtype));
    message.to_vec().unwrap()
}

/// Reads what came over the wire.
pub(crate) fn reply(bytes: &[u8]) -> Reply {
    let message = Message::from_vec(bytes).unwrap();
    let mut answers: Vec<_> =
        message.answers.iter().map(|record| record.data.to_string()).collect();
    answers.sort();
    Reply {
        code: message.metadata.response_code,
        answers,
        authority: message.authorities.iter().map(|record| record.record_type()).collect(),
        additional: message.additionals.iter().map(|record| record.data.to_string()).collect(),
    }
}
