//! Hashes of passwords, as Apache's `htpasswd` writes them and Traefik takes them.

use base64::{
    Engine as _,
    alphabet::BCRYPT,
    engine::{GeneralPurpose, general_purpose},
};
use sha1::{Digest, Sha1};
use subtle::ConstantTimeEq;

use crate::md5_crypt::{Magic, md5_crypt};

/// The hash of one password.
pub(crate) enum Hash {
    /// `htpasswd -B`
    Bcrypt { cost: u32, salt: [u8; 16], hash: [u8; 23] },
    /// `htpasswd -m`, and crypt(3)'s kin of it.
    Md5 { magic: Magic, salt: String, hash: String },
    /// `htpasswd -s`: not salted, not slow; there for old files.
    Sha1([u8; 20]),
}

impl Hash {
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        if let Some(encoded) = text.strip_prefix("{SHA}") {
            let hash = general_purpose::STANDARD.decode(encoded).ok();
            let hash = hash.and_then(|hash| hash.try_into().ok());
            return hash.map(Self::Sha1).ok_or("the SHA-1 hash is not 20 bytes in base64");
        }
        for magic in [Magic::Apr1, Magic::Crypt] {
            if let Some(rest) = text.strip_prefix(magic.as_str()) {
                return md5(magic, rest).ok_or("the MD5 hash is not `$apr1$salt$hash`");
            }
        }
        for version in ["$2a$", "$2b$", "$2x$", "$2y$"] {
            if let Some(rest) = text.strip_prefix(version) {
                return bcrypt(rest);
            }
        }
        Err("neither bcrypt (`$2y$…`), nor MD5 (`$apr1$…`), nor SHA-1 (`{SHA}…`)")
    }

    /// Whether this is the hash of the password. Slow, and the more so the better.
    pub(crate) fn fits(&self, password: &[u8]) -> bool {
        match self {
            Self::Bcrypt { cost, salt, hash } => {
                // The algorithm ends a password with a zero byte, and reads 72 bytes of it.
                let mut password = password.to_vec();
                password.push(0);
                password.truncate(72);
                let computed = bcrypt::bcrypt(*cost, *salt, &password);
                computed.iter().zip(hash).fold(0, |wrong, (left, right)| wrong | (left ^ right))
                    == 0
            }
            Self::Md5 { magic, salt, hash } => {
                let computed = md5_crypt(password, salt.as_bytes(), *magic);
                computed.as_bytes().ct_eq(hash.as_bytes()).into()
            }
            Self::Sha1(hash) => Sha1::digest(password).ct_eq(hash).into(),
        }
    }
}

fn md5(magic: Magic, rest: &str) -> Option<Hash> {
    let (salt, hash) = rest.split_once('$')?;
    let is_complete = hash.len() == 22 && hash.is_ascii();
    // The algorithm uses eight bytes of the salt at most.
    let salt = salt.get(..salt.len().min(8))?.to_owned();
    is_complete.then(|| Hash::Md5 { magic, salt, hash: hash.to_owned() })
}

/// The last character of salt and hash has bits to spare, which not every tool leaves zero.
const BCRYPT64: GeneralPurpose =
    GeneralPurpose::new(&BCRYPT, general_purpose::NO_PAD.with_decode_allow_trailing_bits(true));

fn bcrypt(rest: &str) -> Result<Hash, &'static str> {
    const BROKEN: &str = "the bcrypt hash is not `$2y$cost$` with 53 characters after it";
    let (cost, rest) = rest.split_once('$').ok_or(BROKEN)?;
    let cost = cost.parse().ok().filter(|_| cost.len() == 2).ok_or(BROKEN)?;
    if !(4..=14).contains(&cost) {
        return Err("a bcrypt cost is 4 to 14: more takes seconds");
    }
    let (salt, hash) = rest.split_at_checked(22).ok_or(BROKEN)?;
    let decode = |text: &str| BCRYPT64.decode(text).ok();
    let salt = decode(salt).and_then(|salt| salt.try_into().ok()).ok_or(BROKEN)?;
    let hash = decode(hash).and_then(|hash| hash.try_into().ok()).ok_or(BROKEN)?;
    Ok(Hash::Bcrypt { cost, salt, hash })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(hash: &str, password: &str) {
        let hash = Hash::parse(hash).unwrap();
        assert!(hash.fits(password.as_bytes()));
        assert!(!hash.fits(format!("{password}x").as_bytes()));
        assert!(!hash.fits(b"other"));
    }

    #[test]
    fn every_kind_of_htpasswd_is_read() {
        check("{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=", "secret");
        check("$apr1$lZL6V/ci$sQw6g73nRuoOIj/gnD18Z.", "myPassword");
        // The vectors of jBCrypt.
        check("$2a$06$DCq7YPn5Rq63x1Lad4cll.TV4S6ytwfsfvkgY8jIucDrjc8deX1s.", "");
        check("$2y$06$m0CrhHm10qJ3lXRY.5zDGO3rS2KdeeWLuGmsfGlMfOxih58VYVfxe", "a");
    }

    #[test]
    fn broken_hashes_are_refused() {
        let check = |text, expected: &str| match Hash::parse(text) {
            Ok(_) => panic!("{text} was read"),
            Err(reason) => assert!(reason.contains(expected), "{text}: {reason}"),
        };
        check("", "neither bcrypt");
        check("secret", "neither bcrypt");
        check("{SHA}", "SHA-1");
        check("$apr1$salt", "MD5");
        check("$apr1$salt$short", "MD5");
        check("$2y$06$", "53 characters");
        check("$2y$6$DCq7YPn5Rq63x1Lad4cll.TV4S6ytwfsfvkgY8jIucDrjc8deX1s.", "53 characters");
        check("$2y$31$DCq7YPn5Rq63x1Lad4cll.TV4S6ytwfsfvkgY8jIucDrjc8deX1s.", "4 to 14");
        check("$2y$06$DCq7YPn5Rq63x1Lad4cllé", "53 characters");
    }
}
