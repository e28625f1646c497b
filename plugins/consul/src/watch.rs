//! One blocking query: what to ask next, and when.
//!
//! **Invariant:** an index is believed only from a good answer, never goes back, and is forgotten
//! whenever it might: then the next question does not block.

/// How many questions may follow each other at once; then one for each [`REFILL_MS`]. It keeps a
/// server that always answers at once (a proxy without blocking queries) from being asked for ever.
const BURST: u64 = 10;
const REFILL_MS: u64 = 500;

/// After a failure: twice as long each time.
const FIRST_BACKOFF_MS: u64 = 500;
const LAST_BACKOFF_MS: u64 = 30_000;

/// One blocking query. Times are milliseconds since some fixed moment.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// 0: the next question does not block.
    index: u64,
    /// Names the question under way.
    serial: Option<u64>,
    not_before: u64,
    failures: u32,
    /// When the bucket would be full again.
    full_at: u64,
    /// Whether there was a good answer.
    pub(crate) is_ready: bool,
}

impl Watch {
    /// When the next question may be asked; none while one is under way.
    pub(crate) fn due(&self) -> Option<u64> {
        let earliest = self.full_at.saturating_sub((BURST - 1) * REFILL_MS);
        self.serial.is_none().then_some(self.not_before.max(earliest))
    }

    /// Begins a question, and answers the index to block on.
    pub(crate) fn begin(&mut self, serial: u64, now: u64) -> Option<u64> {
        self.serial = Some(serial);
        self.full_at = self.full_at.max(now) + REFILL_MS;
        (self.index != 0).then_some(self.index)
    }

    /// Whether this is the question under way; an answer to another one is not wanted any more.
    pub(crate) fn awaits(&self, serial: u64) -> bool {
        self.serial == Some(serial)
    }

    /// Forgets the question under way, and asks again without blocking.
    pub(crate) fn restart(&mut self) {
        self.serial = None;
        self.index = 0;
    }

    /// A good answer came, with this index.
    pub(crate) fn succeeded(&mut self, index: Option<u64>) {
        self.serial = None;
        self.not_before = 0;
        self.failures = 0;
        self.is_ready = true;
        // Without an index, or with 0, blocking on it would return at once for ever; and one that
        // went back means another history (a restored snapshot): ask for what is true now.
        let index = index.unwrap_or_default().max(1);
        self.index = if index < self.index { 0 } else { index };
    }

    /// No answer, or a bad one. Whoever answers next may be another server, or the same with
    /// another history, in which the old index lies in the future and blocks: so it is forgotten.
    pub(crate) fn failed(&mut self, now: u64) {
        self.restart();
        let backoff = FIRST_BACKOFF_MS.saturating_mul(1 << self.failures.min(10));
        self.failures += 1;
        self.wait_until(now + backoff.min(LAST_BACKOFF_MS));
    }

    /// Asks no sooner than this.
    pub(crate) fn wait_until(&mut self, time: u64) {
        self.not_before = time;
    }

    /// Whether the last answer was a failure.
    pub(crate) fn is_failing(&self) -> bool {
        self.failures > 0
    }

    /// How many failures there were since the last good answer.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers with these indexes in turn, and says what was asked.
    fn asked(indexes: &[Option<u64>]) -> Vec<Option<u64>> {
        let mut watch = Watch::default();
        let ask = |watch: &mut Watch| watch.begin(0, 0);
        let mut asked = Vec::new();
        for index in indexes {
            asked.push(ask(&mut watch));
            watch.succeeded(*index);
        }
        asked.push(ask(&mut watch));
        asked
    }

    #[test]
    fn the_index_of_the_last_answer_is_blocked_on() {
        assert_eq!(asked(&[Some(7), Some(9), Some(9)]), [None, Some(7), Some(9), Some(9)]);
    }

    #[test]
    fn an_index_that_went_back_is_forgotten() {
        assert_eq!(asked(&[Some(7), Some(3), Some(3)]), [None, Some(7), None, Some(3)]);
    }

    #[test]
    fn a_missing_index_never_becomes_a_loop_on_zero() {
        assert_eq!(asked(&[None, Some(0), Some(5)]), [None, Some(1), Some(1), Some(5)]);
        assert_eq!(asked(&[Some(5), None]), [None, Some(5), None]);
    }

    #[test]
    fn a_failure_forgets_the_index_and_backs_off() {
        let mut watch = Watch::default();
        watch.begin(0, 0);
        watch.succeeded(Some(7));
        let mut waits = Vec::new();
        for _ in 0..9 {
            watch.begin(0, 100_000);
            watch.failed(100_000);
            waits.push(watch.due().unwrap() - 100_000);
        }
        assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
        assert_eq!(watch.begin(0, 200_000), None);
        watch.succeeded(Some(2));
        assert!(watch.due().is_some_and(|due| due <= 200_000));
        assert!(!watch.is_failing());
    }

    #[test]
    fn answers_at_once_are_slowed_down_after_a_burst() {
        let mut watch = Watch::default();
        let mut now = 1_000_000;
        let start = now;
        for _ in 0..30 {
            now = now.max(watch.due().unwrap());
            watch.begin(0, now);
            watch.succeeded(Some(1));
        }
        assert_eq!(now - start, 20 * REFILL_MS);
    }

    #[test]
    fn nothing_is_asked_twice_at_once() {
        let mut watch = Watch::default();
        assert_eq!(watch.due(), Some(0));
        watch.begin(4, 0);
        assert_eq!(watch.due(), None);
        assert!(watch.awaits(4) && !watch.awaits(3));
        watch.restart();
        assert!(!watch.awaits(4));
    }
}
