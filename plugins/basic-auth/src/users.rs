//! Who is who.

use std::cell::RefCell;

use portolan_plugin::{Invalid, header};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use crate::password::Hash;

/// Names and the hashes of their passwords.
pub(crate) struct Users {
    users: Vec<User>,
    /// Random, so that what is remembered means nothing outside this instance.
    key: Vec<u8>,
}

struct User {
    name: String,
    hash: Hash,
    /// The keyed hash of the password that was right the last time. Hashes of passwords are slow on
    /// purpose, and browsers send the password with every request.
    known: RefCell<Option<[u8; 32]>>,
}

impl Users {
    /// Reads the lines of a password file, and adds to `invalid` what is wrong with them.
    pub(crate) fn parse(lines: &[String], key: Vec<u8>, invalid: &mut Invalid) -> Self {
        let mut users: Vec<User> = Vec::new();
        for (place, line) in lines.iter().enumerate() {
            match User::parse(line.trim()) {
                Ok(user) => {
                    // As in a password file that is read into a table: the last one counts.
                    users.retain(|other| other.name != user.name);
                    users.push(user);
                }
                Err(message) => invalid.add(format!("/users/{place}"), message),
            }
        }
        if lines.is_empty() {
            invalid.add("/users", "there is no user, so nobody would be let in");
        }
        Self { users, key }
    }

    /// The user's name if the password is right.
    pub(crate) fn admit(&self, name: &[u8], password: &[u8]) -> Option<&str> {
        let found = self.users.iter().find(|user| bool::from(user.name.as_bytes().ct_eq(name)));
        // An unknown name costs what a wrong password costs.
        let user = found.or_else(|| self.users.first())?;
        let seal = self.seal(name, password);
        let known = user.known.borrow().is_some_and(|known| known.ct_eq(&seal).into());
        let right = known || user.hash.fits(password);
        if right & bool::from(Choice::from(u8::from(found.is_some()))) {
            if !known {
                user.known.replace(Some(seal));
            }
            return Some(&user.name);
        }
        None
    }

    fn seal(&self, name: &[u8], password: &[u8]) -> [u8; 32] {
        let length = u64::try_from(name.len()).unwrap_or(u64::MAX).to_be_bytes();
        let hash = Sha256::new().chain_update(&self.key).chain_update(length);
        hash.chain_update(name).chain_update(password).finalize().into()
    }
}

impl User {
    /// The messages never repeat a hash.
    fn parse(line: &str) -> Result<Self, String> {
        let (name, hash) = line
            .split_once(':')
            .ok_or("a user is written as `name:hash`; `htpasswd -nB name` prints one")?;
        if name.is_empty() {
            return Err("the name is empty".to_owned());
        }
        header::check_value(name)?;
        let hash = Hash::parse(hash).map_err(|reason| format!("`{name}`: {reason}"))?;
        Ok(Self { name: name.to_owned(), hash, known: RefCell::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA_SECRET: &str = "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=";

    fn parse(lines: &[&str]) -> (Users, String) {
        let lines: Vec<_> = lines.iter().map(|&line| line.to_owned()).collect();
        let mut invalid = Invalid::none();
        let users = Users::parse(&lines, vec![7; 32], &mut invalid);
        (users, invalid.to_string())
    }

    #[test]
    fn the_right_password_is_admitted_again_and_again() {
        let (users, problems) = parse(&[&format!("ada:{SHA_SECRET}"), "bob:{SHA}AAAA"]);
        assert_eq!(problems, "/users/1: `bob`: the SHA-1 hash is not 20 bytes in base64");
        for _ in 0..2 {
            assert_eq!(users.admit(b"ada", b"secret"), Some("ada"));
            assert_eq!(users.admit(b"ada", b"wrong"), None);
            assert_eq!(users.admit(b"eve", b"secret"), None);
            assert_eq!(users.admit(b"", b""), None);
        }
    }

    #[test]
    fn what_is_remembered_is_bound_to_the_name() {
        let (users, _) = parse(&[&format!("ada:{SHA_SECRET}")]);
        assert_eq!(users.admit(b"ada", b"secret"), Some("ada"));
        assert_ne!(users.seal(b"ad", b"asecret"), users.seal(b"ada", b"secret"));
    }

    #[test]
    fn bad_lines_are_named_and_hashes_are_not_repeated() {
        let (_, problems) = parse(&["ada", ":{SHA}x", "bob:plain", "eve:$2y$20$x", " "]);
        let expected = "/users/0: a user is written as `name:hash`; `htpasswd -nB name` prints one\n\
            /users/1: the name is empty\n\
            /users/2: `bob`: neither bcrypt (`$2y$…`), nor MD5 (`$apr1$…`), nor SHA-1 (`{SHA}…`)\n\
            /users/3: `eve`: a bcrypt cost is 4 to 14: more takes seconds\n\
            /users/4: a user is written as `name:hash`; `htpasswd -nB name` prints one";
        assert_eq!(problems, expected);
        assert_eq!(parse(&[]).1, "/users: there is no user, so nobody would be let in");
    }
}
