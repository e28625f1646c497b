//! What the system alone costs of a proxied request: passes bytes on without a look at them.
//!
//!     relay LISTEN BACKEND
//!
//! One thread, a connection to `BACKEND` for each of a client, a receive and a send for whatever comes from
//! either: the four socket calls of a request over kept connections, and a share of an `epoll_wait`.
//! Loaded beside a proxy, on the same core, it shows how much of that one's time can be saved at all.

use std::{
    env,
    io::{self, ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream as StdStream},
    process::ExitCode,
};

use mio::{
    Events, Interest, Poll, Token,
    net::{TcpListener, TcpStream},
};

const LISTENER: Token = Token(usize::MAX);

/// Exits with 2 when its arguments make no sense.
fn main() -> ExitCode {
    let mut args = env::args().skip(1).map(|text| text.parse::<SocketAddr>());
    let (Some(Ok(listen)), Some(Ok(backend))) = (args.next(), args.next()) else {
        return ExitCode::from(2);
    };
    relay(listen, backend).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
}

fn relay(listen: SocketAddr, backend: SocketAddr) -> io::Result<()> {
    let mut poll = Poll::new()?;
    let mut listener = TcpListener::bind(listen)?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    // A client and its backend have numbers that differ in the last bit.
    let mut streams = Vec::new();
    let mut events = Events::with_capacity(1024);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() != LISTENER {
                let Token(place) = event.token();
                if event.is_readable() && pass(&mut streams, place, &mut buffer).is_err() {
                    for place in [place, place ^ 1] {
                        drop(streams.get_mut(place).and_then(Option::take));
                    }
                }
                continue;
            }
            while let Ok((client, _)) = listener.accept() {
                let backend = StdStream::connect(backend)?;
                backend.set_nonblocking(true)?;
                for mut stream in [client, TcpStream::from_std(backend)] {
                    stream.set_nodelay(true)?;
                    let place = Token(streams.len());
                    poll.registry().register(&mut stream, place, Interest::READABLE)?;
                    streams.push(Some(stream));
                }
            }
        }
    }
}

/// Passes on what has arrived.
fn pass(streams: &mut [Option<TcpStream>], place: usize, buffer: &mut [u8]) -> io::Result<()> {
    loop {
        let Some(Some(from)) = streams.get_mut(place) else { return Ok(()) };
        let length = match from.read(buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            read => read?,
        };
        let Some(Some(to)) = streams.get_mut(place ^ 1) else { return Ok(()) };
        to.write_all(buffer.get(..length).unwrap_or_default())?;
        if length < buffer.len() {
            // There is no more: the system tells of what comes next.
            return Ok(());
        }
    }
}
