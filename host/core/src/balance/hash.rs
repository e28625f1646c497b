//! Hashes that are the same on every edge and after every restart: clients stay where they are.

use std::net::IpAddr;

use super::cookie;
use crate::{exchange::Headers, policy::HashOn};

/// The number of a text, well mixed.
pub fn key(bytes: &[u8]) -> u64 {
    mix(fnv(0xcbf2_9ce4_8422_2325, bytes))
}

/// The number of a client that is told apart by its address.
pub fn address_key(ip: IpAddr) -> u64 {
    match ip {
        IpAddr::V4(ip) => key(&ip.octets()),
        IpAddr::V6(ip) => key(&ip.octets()),
    }
}

/// What tells a client apart in the headers of a request; `None`: its address does.
pub fn mark<'a>(hash_on: &'a HashOn, headers: &'a Headers) -> Option<&'a [u8]> {
    let mark = match hash_on {
        HashOn::ClientIp => None,
        HashOn::Header(name) => headers.first(name),
        HashOn::Cookie(name) => cookie(headers, name).map(str::as_bytes),
    };
    // What is empty tells nobody apart: a logout may leave it.
    mark.filter(|mark| !mark.is_empty())
}

/// The number of texts that belong together.
pub(super) fn key_of(parts: &[&str]) -> u64 {
    let hash = parts.iter().fold(0xcbf2_9ce4_8422_2325, |hash, part| {
        // What separates them stands in none of them.
        fnv(fnv(hash, part.as_bytes()), &[0xff])
    });
    mix(hash)
}

/// Every bit of the answer depends on every bit of the number (the finaliser of SplitMix64).
pub const fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// FNV-1a.
fn fnv(start: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(start, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
