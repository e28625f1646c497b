//! The headers of a request as rules and middlewares would see them, for who asks about one that never comes.
//!
//! **Invariant:** what serves requests makes them, so no explanation contradicts it.

use std::net::IpAddr;

use portolan_core::exchange::{Headers, Peer};

use super::{
    config::Trust,
    edge::host_name,
    forwarded::{Forwarded, client_behind},
    headers::{self, Hop},
};

/// What was taken from the headers of a request of HTTP/1.1, and what is to be told of its client.
#[derive(Debug)]
pub struct Preview {
    hop: Hop,
    told: Forwarded,
}

impl Preview {
    /// Makes the headers what rules see.
    pub fn admit(headers: &mut Headers, peer: &Peer, trust: &Trust) -> Self {
        let is_trusted = trust.takes_headers_of(peer.address.ip());
        let hop =
            headers::clean_request(headers, is_trusted, |name| trust.connection.contains(name));
        let told = Forwarded::new(peer.address.ip(), peer.tls, host_name(), is_trusted)
            .telling(trust.telling());
        told.tell(headers, None, hop.is_websocket());
        headers::show_upgrade(headers, &hop);
        Self { hop, told }
    }

    /// Makes them what middlewares see, when the router is known.
    pub fn choose(&self, headers: &mut Headers) {
        headers::hide_upgrade(headers, &self.hop);
        self.told.add_peer(headers);
    }

    /// The client as services see it that tell clients apart: as trusted proxies have it.
    pub fn client(&self, headers: &Headers, peer: &Peer, trust: &Trust) -> IpAddr {
        let is_ours = |proxy| trust.takes_headers_of(proxy);
        let behind = self.told.is_trusted.then(|| client_behind(headers, is_ours));
        behind.flatten().unwrap_or_else(|| peer.address.ip())
    }
}
