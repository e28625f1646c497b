//! The upstreams of the system, and which upstreams would be ourselves.

use std::{
    fs,
    net::{IpAddr, SocketAddr, SocketAddrV6, UdpSocket},
};

use nix::net::if_::if_nametoindex;

use super::forward::UpstreamConfig;

/// In this order: what systemd-resolved itself asks is better than its stub, which would ask us
/// when it is told to.
const FILES: [&str; 2] = ["/run/systemd/resolve/resolv.conf", "/etc/resolv.conf"];
/// The stubs of systemd-resolved: to ask them would be a detour, or a loop.
const STUBS: [&str; 2] = ["127.0.0.53", "127.0.0.54"];

/// The upstreams that the system uses, without those that would be ourselves.
pub fn system_upstreams(own: &[SocketAddr]) -> Vec<UpstreamConfig> {
    for file in FILES {
        let Ok(text) = fs::read_to_string(file) else { continue };
        let upstreams: Vec<_> = nameservers(&text).into_iter().map(UpstreamConfig::from).collect();
        let upstreams = without_own(&upstreams, own).0;
        if !upstreams.is_empty() {
            return upstreams;
        }
    }
    Vec::new()
}

/// Splits upstreams into those that can be asked and those that are our own listen addresses: to
/// ask them would be a loop.
pub fn without_own(
    upstreams: &[UpstreamConfig],
    own: &[SocketAddr],
) -> (Vec<UpstreamConfig>, Vec<UpstreamConfig>) {
    let is_other = |it: &UpstreamConfig| {
        !it.address().is_some_and(|address| own.iter().any(|own| is_same(address, *own)))
    };
    upstreams.iter().cloned().partition(is_other)
}

/// The files that say which upstreams the system uses.
pub fn system_files() -> [&'static str; 2] {
    FILES
}

/// A socket that listens on every address listens on each one of this machine.
fn is_same(upstream: SocketAddr, own: SocketAddr) -> bool {
    upstream.port() == own.port()
        && (upstream.ip() == own.ip() || own.ip().is_unspecified() && is_here(upstream.ip()))
}

/// An address can be bound exactly when it is one of this machine.
fn is_here(address: IpAddr) -> bool {
    address.is_loopback() || UdpSocket::bind((address, 0)).is_ok()
}

/// The `nameserver` lines of a resolv.conf (resolv.conf(5)); lines that make no sense are skipped.
fn nameservers(text: &str) -> Vec<SocketAddr> {
    let address = |line: &str| {
        let mut words = line.split_whitespace();
        let word = (words.next() == Some("nameserver")).then(|| words.next()).flatten()?;
        let is_stub = STUBS.contains(&word);
        if is_stub {
            return None;
        }
        match word.split_once('%') {
            None => Some(SocketAddr::new(word.parse().ok()?, 53)),
            // Where a link-local address is.
            Some((ip, interface)) => {
                let (ip, scope) = (ip.parse().ok()?, if_nametoindex(interface).ok()?);
                Some(SocketAddrV6::new(ip, 53, 0, scope).into())
            }
        }
    };
    text.lines().filter_map(address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(text: &str) -> Vec<SocketAddr> {
        text.split_whitespace().map(|word| word.parse().unwrap()).collect()
    }

    fn upstreams(text: &str) -> Vec<UpstreamConfig> {
        addresses(text).into_iter().map(UpstreamConfig::from).collect()
    }

    #[test]
    fn resolv_conf_is_read_without_stubs_and_nonsense() {
        let text = "# nameserver 1.1.1.1\nsearch lan\nnameserver 127.0.0.53\n\
                    nameserver 10.0.0.1 # router\n  nameserver fd00::1\nnameserver nonsense\n\
                    nameserver\nnameserver fe80::1%absent\nnameserver fe80::2%lo\noptions edns0";
        let scope = if_nametoindex("lo").unwrap();
        let linked = SocketAddrV6::new("fe80::2".parse().unwrap(), 53, 0, scope);
        let plain = addresses("10.0.0.1:53 [fd00::1]:53");
        assert_eq!(nameservers(text), [plain, vec![linked.into()]].concat());
    }

    #[test]
    fn we_do_not_ask_ourselves() {
        let all = upstreams("127.0.0.1:53 127.0.0.1:5300 10.0.0.1:53 [::1]:53");
        let (asked, own) = without_own(&all, &addresses("127.0.0.1:53"));
        assert_eq!(asked, upstreams("127.0.0.1:5300 10.0.0.1:53 [::1]:53"));
        assert_eq!(own, upstreams("127.0.0.1:53"));
        let (asked, _) = without_own(&all, &addresses("0.0.0.0:53"));
        assert!(!asked.contains(&upstreams("127.0.0.1:53")[0]));
    }
}
