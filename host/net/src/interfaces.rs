//! The addresses of this machine.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use nix::{
    ifaddrs::{InterfaceAddress, getifaddrs},
    sys::socket::SockaddrStorage,
};

/// Every address that an interface has, with the network that it lies in. Empty when the system
/// does not tell.
pub fn interfaces() -> Vec<IpNet> {
    let Ok(all) = getifaddrs() else { return Vec::new() };
    all.filter_map(|interface| network(&interface)).collect()
}

fn network(interface: &InterfaceAddress) -> Option<IpNet> {
    let (address, mask) = (interface.address?, interface.netmask?);
    match (v4(&address), v4(&mask)) {
        (Some(address), Some(mask)) => {
            let prefix = mask.to_bits().leading_ones() as u8;
            Ipv4Net::new(address, prefix).ok().map(IpNet::V4)
        }
        _ => {
            let (address, mask) = (v6(&address)?, v6(&mask)?);
            let prefix = mask.to_bits().leading_ones() as u8;
            Ipv6Net::new(address, prefix).ok().map(IpNet::V6)
        }
    }
}

fn v4(address: &SockaddrStorage) -> Option<Ipv4Addr> {
    address.as_sockaddr_in().map(|it| it.ip())
}

fn v6(address: &SockaddrStorage) -> Option<Ipv6Addr> {
    address.as_sockaddr_in6().map(|it| it.ip())
}
