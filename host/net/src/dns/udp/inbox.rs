//! Questions, as many as have come in, by one system call.

use std::{
    io::{self, IoSliceMut},
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use nix::{
    cmsg_space,
    libc::{in_pktinfo, in6_pktinfo},
    sys::socket::{
        ControlMessageOwned, MsgFlags, MultiHeaders, RecvMsg, SockaddrStorage, recvmmsg,
    },
};

use super::port::{Port, Way};

/// Questions that are answered before others on this thread have their turn.
pub(super) const BATCH: usize = 64;
/// The longest question that is read: one with every option there is fits.
const LONGEST_QUESTION: usize = 2048;

/// Room for the questions of one batch.
pub(super) struct Inbox {
    packets: Box<[[u8; LONGEST_QUESTION]; BATCH]>,
    headers: MultiHeaders<SockaddrStorage>,
    came: [Came; BATCH],
}

/// How long a question is and which way it came.
#[derive(Clone, Copy)]
struct Came {
    length: usize,
    way: Way,
}

impl Inbox {
    pub(super) fn new(port: &Port) -> Self {
        let nobody = Way {
            peer: SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0),
            local: Ipv4Addr::UNSPECIFIED.into(),
        };
        // Only where it is asked for does the system say which address was asked.
        let space = port.is_everywhere().then(|| cmsg_space!(in6_pktinfo, in_pktinfo));
        Self {
            packets: vec![[0; LONGEST_QUESTION]; BATCH]
                .try_into()
                .unwrap_or_else(|_| Box::new([[0; LONGEST_QUESTION]; BATCH])),
            headers: MultiHeaders::preallocate(BATCH, space),
            came: [Came { length: 0, way: nobody }; BATCH],
        }
    }

    /// Reads what has come in and tells how many questions that is.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`]: nothing has come in. Any other is the fate of an earlier
    /// reply (ICMP), and is over with this call.
    pub(super) fn receive(&mut self, port: &Port) -> io::Result<usize> {
        let Self { packets, headers, came } = self;
        let mut slices = packets.each_mut().map(|packet| [IoSliceMut::new(packet)]);
        port.read(|fd| {
            let flags = MsgFlags::MSG_DONTWAIT;
            let received = recvmmsg(fd, headers, slices.iter_mut(), flags, None)?;
            let mut count = 0;
            for (came, message) in came.iter_mut().zip(received) {
                *came = Came { length: message.bytes, way: way(port, &message) };
                count += 1;
            }
            Ok(count)
        })
    }

    /// The question at a place, and which way it came.
    pub(super) fn question(&self, place: usize) -> Option<(&[u8], Way)> {
        let came = self.came.get(place)?;
        Some((self.packets.get(place)?.get(..came.length)?, came.way))
    }
}

fn way(port: &Port, message: &RecvMsg<'_, '_, SockaddrStorage>) -> Way {
    let peer = message.address.and_then(|address| {
        let v4 = address.as_sockaddr_in().map(|it| SocketAddr::V4((*it).into()));
        v4.or_else(|| address.as_sockaddr_in6().map(|it| SocketAddr::V6((*it).into())))
    });
    let told = || message.cmsgs().ok()?.find_map(local);
    let local = if port.is_everywhere() { told() } else { None };
    Way {
        // Port 0: whoever cannot be told cannot be answered.
        peer: peer.unwrap_or_else(|| SocketAddr::new(port.bound(), 0)),
        local: local.unwrap_or_else(|| port.bound()),
    }
}

/// The address of ours that a message came to.
fn local(message: ControlMessageOwned) -> Option<IpAddr> {
    match message {
        ControlMessageOwned::Ipv4PacketInfo(info) => {
            Some(IpAddr::from(info.ipi_spec_dst.s_addr.to_ne_bytes()))
        }
        ControlMessageOwned::Ipv6PacketInfo(info) => Some(IpAddr::from(info.ipi6_addr.s6_addr)),
        _ => None,
    }
}
