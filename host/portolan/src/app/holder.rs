//! Who holds a port: told where the system lets us see it, so that nobody has to search.
//!
//! Linux lists sockets by the number of their inode (proc(5), `/proc/net/tcp`), and open files of
//! each process beside it (`/proc/PID/fd`). Those of other users are seen by root alone.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
};

/// What to do about systemd-resolved.
pub(super) const RESOLVED: &str = "set `DNSStubListener=no` in /etc/systemd/resolved.conf and restart \
                                   it, or listen on the addresses of this machine instead of all";

/// A process that listens.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Holder {
    pub(super) pid: u32,
    /// As `ps` shows it, cut to 15 bytes by the system.
    pub(super) name: String,
}

impl Holder {
    /// Who listens on a port of an address, over TCP or UDP; `None`: it cannot be seen.
    pub(super) fn of(address: SocketAddr) -> Option<Self> {
        let inodes: Vec<_> = lists().flat_map(|list| inodes(&list, address)).collect();
        if inodes.is_empty() {
            return None;
        }
        let processes = fs::read_dir("/proc").ok()?.filter_map(|entry| {
            let entry = entry.ok()?;
            Some((entry.file_name().to_str()?.parse().ok()?, entry.path()))
        });
        processes.into_iter().find_map(|(pid, folder): (u32, PathBuf)| {
            if pid == std::process::id() || !holds(&folder, &inodes) {
                return None;
            }
            let name = fs::read_to_string(folder.join("comm")).ok()?;
            Some(Self { pid, name: name.trim_end().to_owned() })
        })
    }

    /// What to do about it.
    pub(super) fn advice(&self) -> &'static str {
        match self.name.as_str() {
            "systemd-resolve" => RESOLVED,
            "dnsmasq" => {
                "stop it (`portolan import dnsmasq` prints what replaces it), or listen on other \
                 addresses than it does"
            }
            "named" | "unbound" | "coredns" | "knotd" | "kresd" => {
                "stop it, or let it listen on another address and name it in `upstreams`"
            }
            "docker-proxy" => "a container publishes this port: `docker ps` shows which",
            "traefik" | "nginx" | "haproxy" | "caddy" | "apache2" | "httpd" => {
                "stop it, or choose another port until the day that you change over"
            }
            "portolan" => "another Portolan runs here: each address is for one of them",
            _ => "stop it, or choose another address",
        }
    }
}

/// Whether it is the stub of systemd-resolved that is in the way: its address is nobody else's. That
/// can be seen where processes of others cannot, as in a unit with `ProtectProc`.
pub(super) fn is_stub(address: SocketAddr) -> bool {
    let is_met = address.ip().is_unspecified() || address.ip() == IpAddr::from([127, 0, 0, 53]);
    address.port() == 53 && is_met && lists().any(|list| has_stub(&list))
}

/// The sockets of the system.
fn lists() -> impl Iterator<Item = String> {
    let lists = ["tcp", "udp", "tcp6", "udp6"].into_iter();
    lists.filter_map(|list| fs::read_to_string(Path::new("/proc/net").join(list)).ok())
}

fn has_stub(list: &str) -> bool {
    list.lines().any(|line| line.split_whitespace().nth(1) == Some("3500007F:0035"))
}

/// The inodes of sockets that are in the way of an address. The second column is address and port in
/// hexadecimal digits, the fourth the state: 0A listens, 07 is any socket of UDP.
fn inodes(list: &str, address: SocketAddr) -> Vec<String> {
    let inode = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        let (ip, port) = words.get(1)?.rsplit_once(':')?;
        let ip = ip_address(ip)?;
        let is_met = ip == address.ip() || ip.is_unspecified() || address.ip().is_unspecified();
        let is_wanted = is_met
            && u16::from_str_radix(port, 16) == Ok(address.port())
            && matches!(*words.get(3)?, "0A" | "07");
        is_wanted.then(|| words.get(9).map(|inode| format!("socket:[{inode}]"))).flatten()
    };
    list.lines().skip(1).filter_map(inode).collect()
}

/// An address as the system lists it: words of 32 bits as they lie in its memory.
fn ip_address(digits: &str) -> Option<IpAddr> {
    let word = |at: usize| {
        let word = u32::from_str_radix(digits.get(8 * at..8 * at + 8)?, 16).ok()?;
        Some(word.to_ne_bytes())
    };
    match digits.len() {
        8 => Some(IpAddr::from(word(0)?)),
        32 => {
            let words = [word(0)?, word(1)?, word(2)?, word(3)?].concat();
            let octets: [u8; 16] = words.try_into().ok()?;
            Some(IpAddr::from(octets).to_canonical())
        }
        _ => None,
    }
}

fn holds(folder: &Path, inodes: &[String]) -> bool {
    let Ok(files) = fs::read_dir(folder.join("fd")) else { return false };
    files.filter_map(|file| fs::read_link(file.ok()?.path()).ok()).any(|target| {
        target.to_str().is_some_and(|target| inodes.iter().any(|inode| inode == target))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_found_in_the_lists_of_the_system() {
        let list = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            0: 3500007F:0035 00000000:0000 0A 00000000:00000000 00:00000000 00000000   101        0 18101 1 0 100 0 0 10 0\n\
            1: 0100007F:0035 0100007F:1234 01 00000000:00000000 00:00000000 00000000     0        0 18102 1 0 100 0 0 10 0\n\
            2: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 18103 1 0 100 0 0 10 0\n\
            nonsense\n";
        let inodes = |address: &str| inodes(list, address.parse().unwrap());
        assert_eq!(inodes("127.0.0.53:53"), ["socket:[18101]"]);
        assert_eq!(inodes("0.0.0.0:53"), ["socket:[18101]"]);
        assert_eq!(inodes("127.0.0.1:8080"), ["socket:[18103]"]);
        for free in ["127.0.0.1:53", "127.0.0.53:54"] {
            assert!(inodes(free).is_empty(), "another address, or port, is not in the way");
        }
        assert_eq!(ip_address("00000000000000000000000001000000"), "::1".parse().ok());
        assert_eq!(ip_address("0100007"), None);
        assert!(has_stub(list) && !has_stub(&list.replace("3500007F", "3600007F")));
    }

    #[test]
    fn the_holder_of_a_port_is_named_and_told_what_to_do() {
        // Not this process: whoever asks knows of itself.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(Holder::of(listener.local_addr().unwrap()), None);
        let holder = |name: &str| Holder { pid: 7, name: name.to_owned() };
        assert!(holder("systemd-resolve").advice().contains("DNSStubListener=no"));
        assert!(holder("dnsmasq").advice().contains("import dnsmasq"));
        assert!(holder("something").advice().contains("choose another address"));
    }
}
