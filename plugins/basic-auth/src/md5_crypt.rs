//! MD5-crypt, which `htpasswd -m` writes. Poul-Henning Kamp's algorithm of 1994, by which it has
//! to be done here as well: no library that is kept up has it for a target without an operating
//! system.

use md5::{Digest, Md5};

/// Which of the two kin it is.
#[derive(Clone, Copy)]
pub(crate) enum Magic {
    /// Apache's.
    Apr1,
    /// That of crypt(3).
    Crypt,
}

impl Magic {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Apr1 => "$apr1$",
            Self::Crypt => "$1$",
        }
    }
}

/// The 22 characters that stand after the salt.
pub(crate) fn md5_crypt(password: &[u8], salt: &[u8], magic: Magic) -> String {
    let mut hash = first(password, salt, magic);
    for round in 0..1000 {
        let mut next = Md5::new();
        let odd = round % 2 == 1;
        next.update(if odd { password } else { hash.as_slice() });
        if round % 3 != 0 {
            next.update(salt);
        }
        if round % 7 != 0 {
            next.update(password);
        }
        next.update(if odd { hash.as_slice() } else { password });
        hash = next.finalize().into();
    }
    encode(hash)
}

fn first(password: &[u8], salt: &[u8], magic: Magic) -> [u8; 16] {
    let inner = Md5::new().chain_update(password).chain_update(salt).chain_update(password);
    let inner: [u8; 16] = inner.finalize().into();
    let mut outer =
        Md5::new().chain_update(password).chain_update(magic.as_str()).chain_update(salt);
    let mut left = password.len();
    while left > 0 {
        outer.update(&inner[..left.min(16)]);
        left = left.saturating_sub(16);
    }
    let mut bits = password.len();
    while bits > 0 {
        // A slip of the first implementation that became the algorithm.
        outer.update(if bits & 1 == 1 { &[0] } else { &password[..1] });
        bits >>= 1;
    }
    outer.finalize().into()
}

/// crypt(3)'s base64: its own alphabet, low bits first, bytes in an order of their own.
fn encode(hash: [u8; 16]) -> String {
    const ALPHABET: [u8; 64] = *b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let byte = |place: usize| u32::from(hash[place]);
    let mut text = String::with_capacity(22);
    let mut push = |mut bits: u32, count: usize| {
        for _ in 0..count {
            text.push(char::from(ALPHABET[(bits & 63) as usize]));
            bits >>= 6;
        }
    };
    for (high, middle, low) in [(0, 6, 12), (1, 7, 13), (2, 8, 14), (3, 9, 15), (4, 10, 5)] {
        push(byte(high) << 16 | byte(middle) << 8 | byte(low), 4);
    }
    push(byte(11), 2);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    // Made with `openssl passwd -apr1` and `-1`.
    #[test]
    fn it_is_what_openssl_makes() {
        let check = |magic, salt: &str, password: &str, expected: &str| {
            assert_eq!(md5_crypt(password.as_bytes(), salt.as_bytes(), magic), expected);
        };
        check(Magic::Apr1, "lZL6V/ci", "myPassword", "sQw6g73nRuoOIj/gnD18Z.");
        check(Magic::Crypt, "abcdefgh", "secret", "cHJi5PXp/ki/ktXzqlk6I1");
        check(Magic::Apr1, "abcdefgh", "", "L.PT565ESX4Tp2bqNs7Ie.");
        check(Magic::Apr1, "ab", "a password of more than sixteen bytes", "uDhvlaAWXtt1Adg/wca5x0");
    }
}
