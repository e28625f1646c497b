//! Who asks, and by what.

use std::net::IpAddr;

use super::{
    message::{MAX_TCP, Question},
    policy::Policy,
};

/// What a question came by.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Transport {
    Udp,
    Tcp,
    Tls,
    Https,
}

impl Transport {
    /// The word for it in the log.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Https => "https",
        }
    }

    /// How long a reply may be.
    pub(super) fn limit(self, question: &Question<'_>, policy: &Policy) -> usize {
        match self {
            Self::Udp => question.udp_limit(policy.udp_size),
            Self::Tcp | Self::Tls | Self::Https => MAX_TCP,
        }
    }
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asker {
    pub(super) transport: Transport,
    pub(super) client: IpAddr,
    /// The address of ours that was asked.
    pub(super) local: IpAddr,
}

/// What is to be done after a question was looked at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Handled {
    /// Send so many bytes.
    Reply(usize),
    /// Send nothing.
    Ignore,
    /// Ask [`super::DnsContext::forward`].
    Forward,
}
