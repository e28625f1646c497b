//! How much a guest may write to the log.
//!
//! **Invariant:** one call writes a bounded amount, so that requests of one client fill no disk.

/// What a guest has said in one call.
#[derive(Debug, Default)]
pub(crate) struct Said {
    bytes: usize,
}

/// Whether a line is written.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Admitted {
    Yes,
    /// It is the first that is not, which is said.
    Last,
    No,
}

impl Said {
    /// A call begins.
    pub(crate) fn begin(&mut self) {
        self.bytes = 0;
    }

    /// Counts a line of so many bytes.
    pub(crate) fn admit(&mut self, bytes: usize) -> Admitted {
        let before = self.bytes;
        self.bytes = before.saturating_add(bytes + LINE_OVERHEAD);
        match (before <= MAX_SAID, self.bytes <= MAX_SAID) {
            (_, true) => Admitted::Yes,
            (true, false) => Admitted::Last,
            (false, false) => Admitted::No,
        }
    }
}

/// What all lines of one call may have, in bytes.
const MAX_SAID: usize = 32 << 10;
/// What a line has besides its text.
const LINE_OVERHEAD: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_call_says_no_more_than_a_page() {
        let mut said = Said::default();
        for _ in 0..2 {
            said.begin();
            let lines = (0..10_000).map(|_| said.admit(100)).collect::<Vec<_>>();
            let written = lines.iter().filter(|line| **line == Admitted::Yes).count();
            assert_eq!(written, MAX_SAID / (100 + LINE_OVERHEAD));
            assert_eq!(lines.iter().filter(|line| **line == Admitted::Last).count(), 1);
        }
    }
}
