//! DNS cookies (RFC 7873, in the form of RFC 9018): who sends back what we gave it has the address
//! that it says it has, and is not limited like those who might have forged it.

use std::{
    hash::Hasher as _,
    net::IpAddr,
    time::{SystemTime, UNIX_EPOCH},
};

use siphasher::sip::SipHasher24;

use crate::random::Random;

/// How long a cookie is good, and how far its clock may be ahead, in seconds (RFC 9018, 4.3).
const LIFE: u32 = 3_600;
const AHEAD: u32 = 300;
/// The longest part that is a server's (RFC 7873, 4.2).
const MOST: usize = 32;
/// Version 1 and three reserved bytes (RFC 9018, 4.1 and 4.2).
const VERSION: [u8; 4] = [1, 0, 0, 0];

/// What an asker sends: its own part and, perhaps, what a server gave it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Cookie {
    client: [u8; 8],
    server: [u8; MOST],
    length: u8,
}

/// What the option holds in a reply.
pub(super) type Answered = [u8; 24];

impl Cookie {
    /// Reads the data of an option. `None`: it is malformed, which is a format error (RFC 7873,
    /// 5.2.2).
    pub(super) fn parse(data: &[u8]) -> Option<Self> {
        let (client, server) = data.split_first_chunk()?;
        let mut kept = [0; MOST];
        match server.len() {
            0 | 8..=MOST => kept.get_mut(..server.len())?.copy_from_slice(server),
            _ => return None,
        }
        Some(Self { client: *client, server: kept, length: server.len() as u8 })
    }

    /// Whether it has a part that a server gave.
    pub(super) fn is_returned(&self) -> bool {
        self.length > 0
    }
}

/// Makes and knows cookies. Workers share the key; other processes do not, and who comes from one
/// of them is given a new cookie.
#[derive(Clone, Copy, Debug)]
pub(super) struct Baker {
    key: [u8; 16],
}

impl Default for Baker {
    fn default() -> Self {
        let random = Random::seeded();
        let mut key = [0; 16];
        for part in key.chunks_mut(4) {
            part.copy_from_slice(&random.next().to_ne_bytes());
        }
        Self { key }
    }
}

impl Baker {
    /// The cookie for a reply, and whether the asker has shown a good one.
    pub(super) fn answer(&self, cookie: &Cookie, client: IpAddr) -> (Answered, bool) {
        let now = seconds();
        let fresh = self.bake(&cookie.client, now, client);
        (fresh, cookie.length == 16 && self.is_good(cookie, now, client))
    }

    fn is_good(&self, cookie: &Cookie, now: u32, client: IpAddr) -> bool {
        let (Some(shown), Some(time)) =
            (cookie.server.first_chunk::<16>(), cookie.server[4..].first_chunk().copied())
        else {
            return false;
        };
        let time = u32::from_be_bytes(time);
        // Serial numbers (RFC 1982): the clock of 32 bits may go round.
        let age = now.wrapping_sub(time);
        let is_young = age <= LIFE || time.wrapping_sub(now) <= AHEAD;
        let expected = self.bake(&cookie.client, time, client);
        is_young && is_same(&expected[8..], shown)
    }

    fn bake(&self, own: &[u8; 8], time: u32, client: IpAddr) -> Answered {
        let mut hasher = SipHasher24::new_with_key(&self.key);
        hasher.write(own);
        hasher.write(&VERSION);
        hasher.write(&time.to_be_bytes());
        match client {
            IpAddr::V4(client) => hasher.write(&client.octets()),
            IpAddr::V6(client) => hasher.write(&client.octets()),
        }
        let mut cookie = [0; 24];
        let parts = [own.as_slice(), &VERSION, &time.to_be_bytes(), &hasher.finish().to_le_bytes()];
        for (to, from) in cookie.iter_mut().zip(parts.into_iter().flatten()) {
            *to = *from;
        }
        cookie
    }
}

/// Compares without telling by the time it takes where the first difference is.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    let difference = one.iter().zip(other).fold(0, |all, (one, other)| all | (one ^ other));
    one.len() == other.len() && difference == 0
}

fn seconds() -> u32 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // The low 32 bits are what the protocol has.
    since.as_secs() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// RFC 9018, appendix A.1.
    #[test]
    fn the_example_of_the_rfc_is_baked() {
        let key = 0xe5e9_73e5_a6b2_a43f_48e7_dc84_9e37_bfcf_u128.to_be_bytes();
        let own = 0x2464_c4ab_cf10_c957_u64.to_be_bytes();
        let cookie = Baker { key }.bake(&own, 1_559_731_985, address("198.51.100.100"));
        assert_eq!(cookie[8..16], [1, 0, 0, 0, 0x5c, 0xf7, 0x9f, 0x11]);
        assert_eq!(cookie[16..], 0x1f81_30c3_eee2_9480_u64.to_be_bytes());
    }

    #[test]
    fn a_cookie_is_good_for_its_address_and_its_time() {
        let (baker, client) = (Baker::default(), address("10.0.0.1"));
        let own = [7; 8];
        let shown = |time| Cookie::parse(&baker.bake(&own, time, client)).unwrap();
        let now = seconds();
        assert!(baker.is_good(&shown(now), now, client));
        assert!(baker.is_good(&shown(now.wrapping_sub(LIFE)), now, client));
        assert!(!baker.is_good(&shown(now.wrapping_sub(LIFE + 1)), now, client));
        assert!(baker.is_good(&shown(now.wrapping_add(AHEAD)), now, client));
        assert!(!baker.is_good(&shown(now.wrapping_add(AHEAD + 1)), now, client));
        assert!(!baker.is_good(&shown(now), now, address("10.0.0.2")));
        assert!(!Baker::default().is_good(&shown(now), now, client));
    }

    #[test]
    fn a_cookie_has_its_lengths() {
        for length in 0..50 {
            let is_right = length == 8 || (16..=40).contains(&length);
            assert_eq!(Cookie::parse(&vec![1; length]).is_some(), is_right, "{length}");
        }
    }
}
