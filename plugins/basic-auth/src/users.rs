//! Who is who.

use std::{cell::RefCell, collections::HashMap};

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
    /// Or why there is none that a password could fit: such a user never gets in.
    hash: Result<Hash, String>,
    /// The keyed hash of the password that was right the last time. Hashes of passwords are slow on
    /// purpose, and browsers send the password with every request.
    known: RefCell<Option<[u8; 32]>>,
}

/// What is wrong with a hash that was pasted from a file of docker-compose.
const OF_COMPOSE: &str =
    "`$$` is how docker-compose writes `$`: write `name:$…` with one each time";

impl Users {
    /// Reads the lines of the configuration and those of a password file, and adds to `invalid` what
    /// is wrong with them.
    pub(crate) fn parse(
        lines: &[String],
        file: Option<&str>,
        key: Vec<u8>,
        invalid: &mut Invalid,
    ) -> Self {
        let mut users = Vec::new();
        let mut places = HashMap::new();
        // As Traefik reads both into one table: the last one of a name counts.
        let mut add = |user: User| match places.get(&user.name) {
            Some(&place) => users[place] = user,
            None => {
                places.insert(user.name.clone(), users.len());
                users.push(user);
            }
        };
        if let Some(file) = file {
            read(file, &mut add, invalid);
        }
        for (place, line) in lines.iter().enumerate() {
            match User::parse(line.trim()) {
                Ok(user) => add(user),
                Err(message) => invalid.add(format!("/users/{place}"), message),
            }
        }
        // Where anybody gets in, that is the matter of those who do not. Else nothing would tell why.
        let of_compose = lines.iter().position(|line| line.contains(":$$"));
        if let Some(place) = of_compose
            && users.iter().all(|user| user.hash.is_err())
        {
            invalid.add(format!("/users/{place}"), OF_COMPOSE);
        }
        Self { users, key }
    }

    /// The names of those who never get in, and why.
    pub(crate) fn kept_out(&self) -> impl Iterator<Item = (&str, &str)> {
        self.users.iter().filter_map(|user| {
            let reason = user.hash.as_ref().err()?;
            Some((user.name.as_str(), reason.as_str()))
        })
    }

    /// Whether there is nobody who could get in.
    pub(crate) fn is_empty(&self) -> bool {
        self.users.iter().all(|user| user.hash.is_err())
    }

    /// The user's name if the password is right.
    pub(crate) fn admit(&self, name: &[u8], password: &[u8]) -> Option<&str> {
        let found = self.users.iter().find(|user| bool::from(user.name.as_bytes().ct_eq(name)));
        let found = found.and_then(User::with_hash);
        // A name that is unknown, or never gets in, costs what a wrong password costs.
        let (user, hash) = found.or_else(|| self.users.iter().find_map(User::with_hash))?;
        let seal = self.seal(name, password);
        let known = user.known.borrow().is_some_and(|known| known.ct_eq(&seal).into());
        let right = known || hash.fits(password);
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

/// Lines of a file that are told of; the others are counted.
const TOLD: usize = 3;

/// Reads a password file, in which lines may be empty or comments.
fn read(file: &str, add: &mut impl FnMut(User), invalid: &mut Invalid) {
    let (mut bad, mut read) = (0, 0);
    for (line, number) in file.lines().map(str::trim).zip(1..) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        read += 1;
        match User::parse(line) {
            Ok(user) => add(user),
            Err(message) => {
                bad += 1;
                if bad <= TOLD {
                    invalid.add("/users-file", format!("line {number}: {message}"));
                }
            }
        }
    }
    if read == 0 {
        // It may be about to be written: what it held before goes on.
        invalid.add("/users-file", "there is nobody in it");
    }
    if bad > TOLD {
        invalid.add("/users-file", format!("{} more lines are of no use", bad - TOLD));
    }
}

impl User {
    /// An error is a line that names nobody. As in Traefik, a hash of no use is the matter of its
    /// user alone. The messages never repeat a hash.
    fn parse(line: &str) -> Result<Self, &'static str> {
        let (name, hash) = line.split_once(':').filter(|(_, hash)| !hash.contains(':')).ok_or(
            "a user is written as `name:hash`, with one colon; `htpasswd -nB name` prints one",
        )?;
        let hash = match name {
            "" => Err("the name is empty".to_owned()),
            _ if hash.starts_with("$$") => Err(OF_COMPOSE.to_owned()),
            _ => header::check_value(name).and_then(|()| Ok(Hash::parse(hash)?)),
        };
        Ok(Self { name: name.to_owned(), hash, known: RefCell::default() })
    }

    fn with_hash(&self) -> Option<(&Self, &Hash)> {
        self.hash.as_ref().ok().map(|hash| (self, hash))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA_SECRET: &str = "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=";

    fn parse(lines: &[&str]) -> (Users, String) {
        with_file(lines, None)
    }

    fn with_file(lines: &[&str], file: Option<&str>) -> (Users, String) {
        let lines: Vec<_> = lines.iter().map(|&line| line.to_owned()).collect();
        let mut invalid = Invalid::none();
        let users = Users::parse(&lines, file, vec![7; 32], &mut invalid);
        (users, invalid.to_string())
    }

    #[test]
    fn a_hash_of_docker_compose_is_a_problem_of_the_middleware() {
        let (_, problems) = parse(&["ada:$$apr1$$lZL6V/ci$$sQw6g73nRuoOIj/gnD18Z."]);
        assert!(
            problems.starts_with("/users/0: `$$` is how docker-compose writes `$`"),
            "{problems}"
        );
        // Beside somebody who gets in it is the matter of that user.
        let (users, problems) = parse(&["ada:$$apr1$$x$$y", &format!("bob:{SHA_SECRET}")]);
        assert_eq!(problems, "");
        assert!(users.kept_out().any(|(name, reason)| name == "ada" && reason == OF_COMPOSE));
        assert!(users.admit(b"bob", b"secret").is_some());
    }

    #[test]
    fn the_right_password_is_admitted_again_and_again() {
        let (users, problems) = parse(&[&format!("ada:{SHA_SECRET}")]);
        assert_eq!(problems, "");
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
    fn lines_that_name_nobody_are_problems_and_hashes_are_not_repeated() {
        let (_, problems) = parse(&["ada", "bob:x:y", " "]);
        let message =
            "a user is written as `name:hash`, with one colon; `htpasswd -nB name` prints one";
        let expected = [0, 1, 2].map(|place| format!("/users/{place}: {message}"));
        assert_eq!(problems, expected.join("\n"));
    }

    #[test]
    fn a_hash_of_no_use_keeps_out_its_user_and_nobody_else() {
        let right = format!("ada:{SHA_SECRET}");
        let high = "eve:$2y$17$DCq7YPn5Rq63x1Lad4cll.TV4S6ytwfsfvkgY8jIucDrjc8deX1s.";
        let lines = ["bob:$6$salt$hash", high, ":{SHA}x", &right, "cid:", "eve2:secret"];
        let (users, problems) = parse(&lines);
        assert_eq!(problems, "");
        assert_eq!(users.admit(b"ada", b"secret"), Some("ada"));
        for name in ["bob", "eve", "", "cid", "eve2", "dan"] {
            for password in ["secret", "", "hash"] {
                assert_eq!(users.admit(name.as_bytes(), password.as_bytes()), None, "{name}");
            }
        }
        let unknown = "neither bcrypt (`$2y$…`), nor MD5 (`$apr1$…`), nor SHA-1 (`{SHA}…`)";
        let kept_out: Vec<_> = users.kept_out().collect();
        let expected = [
            ("bob", unknown),
            ("eve", "a bcrypt cost is 4 to 14: more takes seconds"),
            ("", "the name is empty"),
            ("cid", unknown),
            ("eve2", unknown),
        ];
        assert_eq!(kept_out, expected);
        assert!(!users.is_empty());
    }

    #[test]
    fn the_last_line_of_a_name_counts_also_where_it_is_of_no_use() {
        let (users, _) = parse(&[&format!("ada:{SHA_SECRET}"), "ada:x"]);
        assert_eq!(users.admit(b"ada", b"secret"), None);
        assert!(users.is_empty());
    }

    #[test]
    fn where_there_is_no_user_nobody_gets_in() {
        for (file, told) in [
            (None, ""),
            (Some("bob:plain"), ""),
            (Some(""), "/users-file: there is nobody in it"),
            (Some("# nobody\n\n"), "/users-file: there is nobody in it"),
        ] {
            let (users, problems) = with_file(&[], file);
            assert!(users.is_empty());
            assert_eq!((problems.as_str(), users.admit(b"bob", b"plain")), (told, None));
        }
    }

    #[test]
    fn a_file_may_have_comments_and_what_is_written_out_counts_before_it() {
        // `test` as SHA-1.
        const SHA_TEST: &str = "{SHA}qUqP5cyxm6YcTAhz05Hph5gvu9M=";
        let file = format!(
            "# who may pass\r\n\r\n  ada:{SHA_TEST}\n#bob:{SHA_TEST}\neve:{SHA_TEST}\neve:{SHA_SECRET}"
        );
        let (users, problems) = with_file(&[&format!("ada:{SHA_SECRET}")], Some(&file));
        assert_eq!(problems, "");
        assert_eq!(users.admit(b"ada", b"secret"), Some("ada"));
        assert_eq!(users.admit(b"ada", b"test"), None);
        assert_eq!(users.admit(b"bob", b"test"), None);
        // The last line of a name counts.
        assert_eq!(users.admit(b"eve", b"secret"), Some("eve"));
        assert_eq!(users.admit(b"eve", b"test"), None);
        let (users, problems) = with_file(&[], Some(&file));
        assert_eq!((users.users.len(), problems.as_str()), (2, ""));
    }

    #[test]
    fn bad_lines_of_a_file_are_named_by_their_numbers() {
        let (_, problems) = with_file(&[], Some("\nbob:plain\n# x\nada\n"));
        let expected = "/users-file: line 4: a user is written as `name:hash`, with one colon; \
            `htpasswd -nB name` prints one";
        assert_eq!(problems, expected);
        let (_, problems) = with_file(&[], Some(&"x\n".repeat(20)));
        assert_eq!(problems.lines().count(), 4);
        assert!(problems.ends_with("/users-file: 17 more lines are of no use"));
    }
}
