//! What proves to Consul who asks: a token or a password, written down or in a file.
//!
//! **Invariant:** a file is looked at before every round of questions, so one that changes is used
//! at once; while it cannot be read, what it said last goes on.

use portolan_plugin::{
    Invalid,
    files::{self, FileError},
};

/// A secret.
#[derive(Clone, Debug, Default)]
pub(crate) struct Secret {
    /// Empty: there is no file.
    file: String,
    /// Empty: there is none, or it has not been read yet.
    text: String,
    /// Why the file cannot be used now.
    trouble: Option<String>,
}

impl Secret {
    /// A secret that is `text`, or stands in `file`; both may be empty. `path` is the place of the
    /// first in the configuration.
    pub(crate) fn new(text: &str, file: &str, path: &str, invalid: &mut Invalid) -> Self {
        let is_text = !text.is_empty();
        if is_text && !file.is_empty() {
            invalid.add(format!("{path}-file"), "is given both here and in a file");
        }
        if is_text && !is_header_value(text) {
            invalid.add(path, "holds something that cannot be sent");
        }
        Self { file: file.to_owned(), text: text.to_owned(), trouble: None }
    }

    /// Reads the file again, if there is one. An error is why nobody can be asked.
    pub(crate) fn refresh(&mut self) -> Result<(), String> {
        if self.file.is_empty() {
            return Ok(());
        }
        let read = files::read(&self.file);
        self.take(read)
    }

    /// What the file held.
    fn take(&mut self, read: Result<Vec<u8>, FileError>) -> Result<(), String> {
        let told = match read {
            Ok(bytes) => match String::from_utf8(bytes) {
                Ok(text) if text.trim().is_empty() => "it is empty".to_owned(),
                Ok(text) if is_header_value(text.trim()) => {
                    text.trim().clone_into(&mut self.text);
                    self.trouble = None;
                    return Ok(());
                }
                _ => "it holds something that cannot be sent".to_owned(),
            },
            Err(FileError::Denied(told)) => format!("it may not be read: {told}"),
            Err(FileError::NotFound) => "there is no such file".to_owned(),
            Err(FileError::TooLarge) => "it is larger than 16 MiB".to_owned(),
            Err(FileError::Io(told)) => told,
        };
        let told = format!("the file `{}` cannot be used: {told}", self.file);
        self.trouble = Some(told.clone());
        // One that was there goes on: files are replaced in more than one step.
        if self.text.is_empty() { Err(told) } else { Ok(()) }
    }

    /// The secret; empty if there is none.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Why the file cannot be used now.
    pub(crate) fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }
}

/// Control characters end a header, or the request.
fn is_header_value(text: &str) -> bool {
    !text.contains(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_used_as_it_changes_and_its_last_word_outlives_it() {
        let mut secret = Secret::new("", "token", "/token", &mut Invalid::none());
        let told = "the file `token` cannot be used: there is no such file";
        assert_eq!(secret.take(Err(FileError::NotFound)), Err(told.to_owned()));
        assert_eq!(secret.take(Ok(b" one\n".to_vec())), Ok(()));
        assert_eq!((secret.text(), secret.trouble()), ("one", None));
        assert_eq!(secret.take(Ok(b"two".to_vec())), Ok(()));
        assert_eq!(secret.take(Err(FileError::NotFound)), Ok(()));
        assert_eq!((secret.text(), secret.trouble()), ("two", Some(told)));
        for bad in [&b"\n"[..], b"a\nb", b"\xff"] {
            assert_eq!(secret.take(Ok(bad.to_vec())), Ok(()));
            assert!(secret.trouble().is_some_and(|told| told.starts_with("the file `token`")));
        }
        assert_eq!(secret.take(Ok(b"three".to_vec())), Ok(()));
        assert_eq!((secret.text(), secret.trouble()), ("three", None));
    }

    #[test]
    fn a_secret_is_given_once() {
        let told = |text: &str, file: &str| {
            let mut invalid = Invalid::none();
            Secret::new(text, file, "/token", &mut invalid);
            invalid.to_string()
        };
        assert_eq!(told("", ""), "");
        assert_eq!(told("a", ""), "");
        assert_eq!(told("", "a"), "");
        assert_eq!(told("a", "b"), "/token-file: is given both here and in a file");
        assert_eq!(told("a\nb", ""), "/token: holds something that cannot be sent");
    }
}
