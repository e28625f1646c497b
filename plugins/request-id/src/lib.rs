//! `request-id`: takes the request's id or makes one, sends it on, and repeats it in the response.
//!
//! **Invariant:** an id that goes on is 1 to 128 visible ASCII characters, whoever made it, so it
//! can be logged and put into a header as it is.

use std::cell::Cell;

use portolan_plugin::{
    Interest, Invalid, Middleware, OnRequestSlots, Plugin, Slots, Verdict, entropy, header,
    register,
};
use schemars::JsonSchema;
use serde::Deserialize;

/// `[http.middlewares.<name>.request-id]`
#[derive(Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Config {
    /// The header that carries the id, in requests and in responses.
    header: String,
    /// Makes a new id even when the client sent one.
    replace: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self { header: "x-request-id".to_owned(), replace: false }
    }
}

struct RequestId {
    config: Config,
    ids: Ids,
}

/// The place of the header among the slots that the interest declares.
const ID: u32 = 0;

impl Plugin for RequestId {
    type Config = Config;
    const NAME: &'static str = "request-id";
    const SUMMARY: &'static str = "Gives every request an id, and repeats it in the response.";

    fn new(config: Config) -> Result<Self, Invalid> {
        header::check_name(&config.header).map_err(|reason| Invalid::at("/header", reason))?;
        Ok(Self { config, ids: Ids::new(entropy::next_u64(), entropy::next_u64()) })
    }
}

impl Middleware for RequestId {
    fn interest(&self) -> Interest {
        let header = [self.config.header.as_str()];
        Interest::default().request_headers(header).response_headers(header)
    }
}

impl OnRequestSlots for RequestId {
    fn on_request(&self, request: &mut Slots) -> Verdict {
        if !self.config.replace
            && let Some(sent) = request.slot(ID).filter(|id| is_fit(id))
        {
            let sent = sent.to_vec();
            request.set_response_slot(ID, &sent);
        } else {
            let id = self.ids.next();
            request.set_slot(ID, &id);
            request.set_response_slot(ID, &id);
        }
        // All is said: nobody has to ask once more when the response comes.
        Verdict::proceed()
    }
}

register!(RequestId: Middleware + OnRequestSlots);

/// Makes ids: 128 bits in lower-case hex.
///
/// Two Weyl sequences from random beginnings, each mixed as SplitMix64 does: no id comes twice from
/// one instance, two instances meet as rarely as random numbers do, and nobody has to be asked for
/// randomness while a request waits. The ids are unique, not secret.
struct Ids {
    high: Cell<u64>,
    low: Cell<u64>,
}

impl Ids {
    fn new(high: u64, low: u64) -> Self {
        Self { high: Cell::new(high), low: Cell::new(low) }
    }

    fn next(&self) -> [u8; 32] {
        self.high.set(self.high.get().wrapping_add(0x9e37_79b9_7f4a_7c15));
        self.low.set(self.low.get().wrapping_add(0xd1b5_4a32_d192_ed03));
        let id = u128::from(mix(self.high.get())) << 64 | u128::from(mix(self.low.get()));
        hex(id)
    }
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number
/// Generators, 2014): one to one.
fn mix(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// Eight digits at a time, in the eight bytes of a word: this runs for each request.
fn hex(id: u128) -> [u8; 32] {
    let mut text = [0; 32];
    let (words, _) = text.as_chunks_mut::<8>();
    for (place, word) in words.iter_mut().enumerate() {
        *word = digits((id >> (96 - 32 * place)) as u32).to_be_bytes();
    }
    text
}

/// The digits of a word, the first of them in the highest byte.
fn digits(word: u32) -> u64 {
    let word = u64::from(word);
    let pairs = (word << 16 | word) & 0x0000_ffff_0000_ffff;
    let bytes = (pairs << 8 | pairs) & 0x00ff_00ff_00ff_00ff;
    let nibbles = (bytes << 4 | bytes) & 0x0f0f_0f0f_0f0f_0f0f;
    // Those above nine reach 16 when six is added.
    let letters = ((nibbles + 0x0606_0606_0606_0606) >> 4) & 0x0101_0101_0101_0101;
    nibbles + 0x3030_3030_3030_3030 + letters * u64::from(b'a' - b'9' - 1)
}

fn is_fit(id: &[u8]) -> bool {
    (1..=128).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn an_id_is_32_hex_digits() {
        assert_eq!(
            &hex(0x0123_4567_89ab_cdef_0000_0000_0000_00ff),
            b"0123456789abcdef00000000000000ff"
        );
        assert!(is_fit(&Ids::new(0, 0).next()));
    }

    #[test]
    fn ids_of_one_instance_do_not_repeat() {
        let ids = Ids::new(u64::MAX - 3, 7);
        let seen: HashSet<_> = (0..10_000).map(|_| ids.next()).collect();
        assert_eq!(seen.len(), 10_000);
    }

    #[test]
    fn a_client_cannot_pass_on_what_is_no_id() {
        for bad in ["", "two words", "line\nbreak", "naïve", &"x".repeat(129)] {
            assert!(!is_fit(bad.as_bytes()), "{bad:?}");
        }
        for good in ["1", "f81d4fae-7dec-11d0-a765-00a0c91e6bf6", &"x".repeat(128)] {
            assert!(is_fit(good.as_bytes()), "{good:?}");
        }
    }
}
