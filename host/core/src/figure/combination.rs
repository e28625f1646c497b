//! Labels that headers of requests say, and the combinations of values that were seen.
//!
//! Clients choose the values, so there is a bound to what is kept of them, for the whole process: of
//! combinations, of series, and of the length of a value. What is beyond it is counted as [`OTHER`].
//!
//! **Invariant:** to find a combination that was seen before takes no lock and writes nothing.

use std::{
    borrow::Cow,
    hash::{BuildHasher as _, RandomState},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
};

use http::HeaderName;

use super::{Counter, Gauge};

/// What labels say of requests whose values are not told apart.
pub const OTHER: &str = "other";

/// Of a value no more bytes are kept. Most lines of `User-Agent` are shorter.
const MOST_BYTES: usize = 256;

/// So many series there may be for each combination, in the mean, on each worker: a combination is
/// counted at each entrypoint, router and service that it comes to, for each kind of answer.
const SERIES_EACH: u64 = 64;

/// Numbers of combinations: one for which there is no room, and the one that is [`OTHER`] by itself.
const BEYOND: u32 = 0;
pub(super) const OTHERS: u32 = 1;

/// Each `Combinations` has a number of its own: a request may end under others than it began with.
static LAST: AtomicU32 = AtomicU32::new(0);

/// A label, and the header of requests that says its value: Traefik's `headerLabels`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HeaderLabel {
    /// The name of the label.
    pub name: Arc<str>,
    /// The header. Where a request has several lines of it, the first counts; without one the value is
    /// empty.
    pub header: HeaderName,
}

/// By which headers requests are counted, and how far.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HeaderLabels {
    /// At most [`MOST`](Self::MOST); without any nothing is told apart.
    pub labels: Vec<HeaderLabel>,
    /// The most combinations of values that are told apart.
    pub limit: u32,
}

impl HeaderLabels {
    /// The most labels that there may be.
    pub const MOST: usize = 8;
    /// The most combinations that may be told apart.
    pub const MOST_COMBINATIONS: u32 = 10_000;
}

impl Default for HeaderLabels {
    /// None.
    fn default() -> Self {
        Self { labels: Vec::new(), limit: 1000 }
    }
}

/// A combination of values, as a number. The default is for requests that began when nothing was told
/// apart.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Combination {
    of: u32,
    number: u32,
}

/// The combinations that were seen.
#[derive(Debug)]
pub struct Combinations {
    id: u32,
    wanted: HeaderLabels,
    hasher: RandomState,
    heads: Box<[Next]>,
    /// The number of the next one.
    next: AtomicU32,
    series: Gauge,
    most_series: u64,
    beyond: Counter,
    is_told: AtomicBool,
}

type Next = OnceLock<Box<Node>>;

#[derive(Debug)]
struct Node {
    hash: u64,
    number: u32,
    values: Box<[Box<str>]>,
    next: Next,
}

impl Combinations {
    /// None were seen yet. Each of so many workers has series of its own.
    pub fn new(mut wanted: HeaderLabels, workers: usize) -> Self {
        wanted.labels.truncate(HeaderLabels::MOST);
        let heads = (wanted.limit as usize).clamp(1, 4096).next_power_of_two();
        let new = Self {
            id: LAST.fetch_add(1, Relaxed).wrapping_add(1),
            hasher: RandomState::new(),
            heads: (0..heads).map(|_| OnceLock::new()).collect(),
            next: AtomicU32::new(OTHERS),
            series: Gauge::default(),
            most_series: u64::from(wanted.limit) * SERIES_EACH * workers.max(1) as u64,
            beyond: Counter::default(),
            is_told: AtomicBool::new(false),
            wanted,
        };
        // The first number is for clients that send just that.
        new.find(|_| Some(OTHER.as_bytes()));
        new
    }

    /// By what requests are counted.
    pub fn wanted(&self) -> &HeaderLabels {
        &self.wanted
    }

    /// The combination of a request whose headers have these values. It is new if it was never asked for,
    /// and there is room.
    pub fn find<'v>(&self, value_of: impl Fn(&HeaderName) -> Option<&'v [u8]>) -> Combination {
        self.look(value_of, true)
    }

    /// The same for a request that may not be worth anything: it takes no room, and what was never asked
    /// for is [`OTHER`].
    pub fn known<'v>(&self, value_of: impl Fn(&HeaderName) -> Option<&'v [u8]>) -> Combination {
        self.look(value_of, false)
    }

    fn look<'v>(
        &self,
        value_of: impl Fn(&HeaderName) -> Option<&'v [u8]>,
        may_be_new: bool,
    ) -> Combination {
        let mut values = [const { Cow::Borrowed("") }; HeaderLabels::MOST];
        let mut count = 0;
        for (value, label) in values.iter_mut().zip(&self.wanted.labels) {
            *value = value_of(&label.header).map_or(Cow::Borrowed(""), presentable);
            count += 1;
        }
        Combination { of: self.id, number: self.number(&values[..count], may_be_new) }
    }

    fn number(&self, values: &[Cow<'_, str>], may_be_new: bool) -> u32 {
        let hash = self.hasher.hash_one(values);
        let mut place = &self.heads[hash as usize % self.heads.len()];
        let mut new = None;
        loop {
            match place.get() {
                Some(node) if node.is(hash, values) => return node.number,
                Some(node) => place = &node.next,
                None if !may_be_new => return OTHERS,
                None => {
                    let Some(node) = new.take().or_else(|| self.admit(hash, values)) else {
                        return BEYOND;
                    };
                    // Another worker may have been first, with this combination or another one.
                    new = place.set(node).err();
                }
            }
        }
    }

    /// A combination that was not seen before, if there is room for it.
    fn admit(&self, hash: u64, values: &[Cow<'_, str>]) -> Option<Box<Node>> {
        let end = self.wanted.limit.saturating_add(OTHERS + 1);
        let next = |number: u32| (number < end).then_some(number + 1);
        let number = self.next.fetch_update(Relaxed, Relaxed, next).ok()?;
        let values = values.iter().map(|value| Box::from(&**value)).collect();
        Some(Box::new(Node { hash, number, values, next: OnceLock::new() }))
    }

    /// The values of each combination by its number.
    pub fn values(&self) -> Vec<&[Box<str>]> {
        let mut all = Vec::new();
        for head in &self.heads {
            for node in std::iter::successors(head.get(), |node| node.next.get()) {
                let number = node.number as usize;
                all.resize(all.len().max(number + 1), &[][..]);
                all[number] = &*node.values;
            }
        }
        all
    }

    /// Under which number a request is counted.
    pub(super) fn number_of(&self, combination: Combination) -> u32 {
        if combination.of == self.id { combination.number } else { OTHERS }
    }

    /// Whether this number is told apart from all others.
    pub(super) fn is_apart(number: u32) -> bool {
        !matches!(number, BEYOND | OTHERS)
    }

    /// Takes room for one more series. Answers whether there was any.
    pub(super) fn take_series(&self) -> bool {
        self.series.increment_within(self.most_series)
    }

    /// So many series are no more.
    pub(super) fn give_back(&self, series: u64) {
        self.series.subtract(series);
    }

    /// A request was counted as [`OTHER`], since there was no room for it. Answers whether it is the
    /// first one.
    pub fn went_beyond(&self) -> bool {
        self.beyond.increment();
        !self.is_told.swap(true, Relaxed)
    }

    /// How many requests went beyond.
    pub fn beyond(&self) -> u64 {
        self.beyond.value()
    }

    #[cfg(test)]
    pub(super) fn series(&self) -> u64 {
        self.series.value()
    }
}

impl Node {
    fn is(&self, hash: u64, values: &[Cow<'_, str>]) -> bool {
        self.hash == hash && self.values.iter().zip(values).all(|(one, other)| **one == **other)
    }
}

/// A value as a label has it.
fn presentable(value: &[u8]) -> Cow<'_, str> {
    let is_plain =
        value.len() <= MOST_BYTES && value.iter().all(|byte| matches!(byte, b' '..=b'~'));
    match str::from_utf8(value) {
        Ok(text) if is_plain => Cow::Borrowed(text),
        _ => Cow::Owned(made_presentable(value)),
    }
}

/// What is no text, or a control character, is replaced; what is too long is cut.
fn made_presentable(value: &[u8]) -> String {
    // A character that the cut would go through is beyond it.
    let begin = &value[..value.len().min(MOST_BYTES + 3)];
    let mut text = String::with_capacity(MOST_BYTES);
    for character in String::from_utf8_lossy(begin).chars() {
        let shown = if character.is_control() { char::REPLACEMENT_CHARACTER } else { character };
        if text.len() + shown.len_utf8() > MOST_BYTES {
            text.push('…');
            break;
        }
        text.push(shown);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(limit: u32) -> HeaderLabels {
        let label = |name: &'static str| HeaderLabel {
            name: name.into(),
            header: HeaderName::from_static(name),
        };
        HeaderLabels { labels: vec![label("tenant"), label("plan")], limit }
    }

    fn find(combinations: &Combinations, tenant: &str, plan: &str) -> u32 {
        let values = |name: &HeaderName| if name == "tenant" { tenant } else { plan };
        combinations.find(|name| Some(values(name).as_bytes())).number
    }

    #[test]
    fn a_combination_keeps_its_number_and_its_values() {
        let combinations = Combinations::new(labels(10), 1);
        let blue = find(&combinations, "blue", "");
        assert_eq!(find(&combinations, "blue", ""), blue);
        let others = [find(&combinations, "", "blue"), find(&combinations, "blue", "a")];
        assert!(others[0] != blue && others[1] != blue && others[0] != others[1]);
        assert_eq!(combinations.known(|_| None).number, OTHERS, "it takes no room");
        assert_eq!(combinations.find(|_| None).number, find(&combinations, "", ""));
        let values = combinations.values();
        assert_eq!(*values[blue as usize], ["blue".into(), "".into()]);
        assert_eq!(*values[others[1] as usize], ["blue".into(), "a".into()]);
    }

    #[test]
    fn beyond_the_limit_there_is_one_number_for_all() {
        let combinations = Combinations::new(labels(3), 1);
        let numbers = [0, 1, 2, 3, 4, 0].map(|it| find(&combinations, &it.to_string(), ""));
        assert_eq!(numbers, [2, 3, 4, BEYOND, BEYOND, 2]);
        assert_eq!(find(&combinations, OTHER, OTHER), OTHERS, "it was there before all");
        let known = |tenant: &'static [u8]| {
            let value = move |name: &HeaderName| (name == "tenant").then_some(tenant);
            combinations.known(value).number
        };
        assert_eq!([known(b"1"), known(b"3"), known(b"")], [3, OTHERS, OTHERS]);
        assert_eq!(combinations.values().len(), 5);
    }

    #[test]
    fn workers_that_come_at_once_agree() {
        let combinations = Combinations::new(labels(50), 4);
        let all: Vec<Vec<u32>> = std::thread::scope(|scope| {
            let each = || (0..80).map(|it| find(&combinations, &it.to_string(), "")).collect();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(each)).collect();
            threads.into_iter().map(|it| it.join().unwrap()).collect()
        });
        // A number may be lost where two come at once with one combination, but none is given twice.
        let again: Vec<u32> = (0..80).map(|it| find(&combinations, &it.to_string(), "")).collect();
        let mut known: Vec<u32> = again.iter().copied().filter(|it| *it != BEYOND).collect();
        let count = known.len();
        assert!((1..=50).contains(&count), "{count}");
        known.sort_unstable();
        known.dedup();
        assert_eq!(known.len(), count);
        for numbers in all {
            let agree = |(one, now): (&u32, &u32)| *one == BEYOND || one == now;
            assert!(numbers.iter().zip(&again).all(agree), "{numbers:?} {again:?}");
        }
    }

    #[test]
    fn values_are_text_of_one_line_and_of_a_bounded_length() {
        for (value, shown) in [
            (&b""[..], ""),
            (b"a \"b\" \\c ~", "a \"b\" \\c ~"),
            ("Zürich €".as_bytes(), "Zürich €"),
            (b"a\tb\nc\x7f", "a\u{fffd}b\u{fffd}c\u{fffd}"),
            ("a\u{85}b".as_bytes(), "a\u{fffd}b"),
            (b"caf\xe9!", "caf\u{fffd}!"),
        ] {
            assert_eq!(presentable(value), shown, "{value:?}");
        }
        let fits = "x".repeat(MOST_BYTES);
        assert_eq!(presentable(fits.as_bytes()), fits);
        assert_eq!(presentable(format!("{fits}y").as_bytes()), format!("{fits}…"));
        // The cut goes through a character of two bytes.
        let [half, less] = [MOST_BYTES / 2, MOST_BYTES / 2 - 1].map(|count| "ä".repeat(count));
        assert_eq!(presentable(half.as_bytes()), half);
        assert_eq!(presentable(format!("x{half}").as_bytes()), format!("x{less}…"));
        // What is replaced is longer than what came.
        let shown = presentable(&[0xff; MOST_BYTES]).into_owned();
        assert!(shown.len() <= MOST_BYTES + '…'.len_utf8() && shown.ends_with('…'), "{shown}");
    }
}
