//! Requests that went through a router, a service or an entrypoint, and their outcomes.
//!
//! Each worker adds to counters of its own, so that recording never waits for another processor's
//! cache; whoever reads adds them up.
//!
//! **Invariant:** there are at most [`KEYS`] series for one worker and one object, and five more
//! that stand for the rest.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use arc_swap::ArcSwapOption;

use super::{
    AnswerKey, Combination, Combinations, Counter, Encryption, Histogram, MethodLabel,
    ProtocolLabel, cells::Cells, combination::OTHERS, combined::Combined,
};

/// So many workers have counters of their own; with more, some share.
const SHARDS: usize = 16;

/// So many kinds of answers are told apart; clients and backends could make up thousands.
const KEYS: usize = 256;

/// The first bucket of durations, in nanoseconds.
const FIRST: u64 = 100_000;

/// The bounds of the buckets into which whole requests are sorted by their duration.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Buckets(Arc<[u64]>);

/// Requests and their outcomes.
#[derive(Debug, Default)]
pub struct TrafficFigures {
    shards: [OnceLock<Arc<TrafficShard>>; SHARDS],
    /// Attempts beyond the first, over all requests. Of a service that is made of others: none, they
    /// are counted where they were made.
    pub retries: Counter,
}

/// What one worker adds to.
#[derive(Debug)]
pub struct TrafficShard {
    /// From the first byte of the request to the head of the response.
    head: Histogram,
    failures: Counter,
    answers: Cells<AnswerCell, 16>,
    encrypted: Cells<(Encryption, Counter), 1>,
    /// The same requests by what their headers say, where that is wanted. Who wants something else puts
    /// another one here.
    combined: ArcSwapOption<Combined>,
}

/// Answers of one kind.
#[derive(Debug)]
struct AnswerCell {
    /// By duration; the last one takes what is beyond the bounds.
    buckets: Box<[Counter]>,
    nanos: Counter,
    request_bytes: Counter,
    response_bytes: Counter,
}

/// A request that was answered, to its end.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// Its kind.
    pub key: AnswerKey,
    /// Nanoseconds to the head of the response; absent when there was none.
    pub head_nanos: Option<u64>,
    /// Nanoseconds to its end.
    pub nanos: u64,
    /// The content of the request.
    pub request_bytes: u64,
    /// The content of the response.
    pub response_bytes: u64,
    /// Portolan itself answered with 502, 503 or 504.
    pub is_failure: bool,
    /// How the connection is encrypted, and a number that stands for it.
    pub encryption: Option<(u32, Encryption)>,
}

/// Answers of one kind, added up.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct AnswerReading {
    /// By duration, each without the ones before; the last one takes what is beyond the bounds.
    pub buckets: Vec<u64>,
    /// Nanoseconds, altogether.
    pub nanos: u64,
    /// The content of the requests.
    pub request_bytes: u64,
    /// The content of the responses.
    pub response_bytes: u64,
}

impl Buckets {
    /// The most bounds that there may be.
    pub const MOST: usize = 32;

    /// Buckets with these upper bounds in nanoseconds, which must grow.
    pub fn new(bounds: impl IntoIterator<Item = u64>) -> Self {
        Self(bounds.into_iter().take(Self::MOST).collect())
    }

    /// The upper bounds in nanoseconds.
    pub fn bounds(&self) -> &[u64] {
        &self.0
    }

    fn place(&self, nanos: u64) -> usize {
        self.0.iter().take_while(|bound| nanos > **bound).count()
    }
}

impl Default for Buckets {
    /// Traefik's: 0.1, 0.3, 1.2 and 5 seconds.
    fn default() -> Self {
        Self::new([100, 300, 1_200, 5_000].map(|millis: u64| millis * 1_000_000))
    }
}

impl TrafficFigures {
    /// What a worker adds to, by its number.
    pub fn shard(&self, worker: usize) -> &Arc<TrafficShard> {
        self.shards[worker % SHARDS].get_or_init(Arc::default)
    }

    /// Answers by the first digit of their status: `[1xx, 2xx, 3xx, 4xx, 5xx]`. Of gRPC, code 0
    /// counts as 2xx and the others as 5xx.
    pub fn classes(&self) -> [u64; 5] {
        let mut classes = [0; 5];
        for (key, cell) in self.shards().flat_map(|shard| shard.answers.iter()) {
            classes[AnswerKey::unpack(key).class() - 1] += cell.count();
        }
        classes
    }

    /// Whether there was any request.
    pub fn is_used(&self) -> bool {
        self.shards().any(|shard| shard.answers.len() > 0)
    }

    /// Requests answered with 502, 503 or 504 by Portolan itself.
    pub fn failures(&self) -> u64 {
        self.shards().map(|shard| shard.failures.value()).sum()
    }

    /// From the first byte of the request to the head of the response.
    pub fn duration(&self) -> Histogram {
        Histogram::merged(FIRST, self.shards().map(|shard| &shard.head))
    }

    /// Answers by kind.
    pub fn answers(&self) -> BTreeMap<AnswerKey, AnswerReading> {
        let mut sum = BTreeMap::<AnswerKey, AnswerReading>::new();
        for (key, cell) in self.shards().flat_map(|shard| shard.answers.iter()) {
            sum.entry(AnswerKey::unpack(key)).or_default().add(cell);
        }
        sum
    }

    /// How many answers there were, by kind and by the number of what the requests' headers said. What
    /// was counted before anybody looked at these is among those that are not told apart.
    pub fn combined(&self, by: &Combinations) -> BTreeMap<(AnswerKey, u32), u64> {
        let mut sum = BTreeMap::new();
        for (kind, number, count) in self.shards().flat_map(|shard| shard.counts(by)) {
            *sum.entry((AnswerKey::unpack(kind), number)).or_default() += count;
        }
        sum
    }

    /// Requests on encrypted connections.
    pub fn encrypted(&self) -> BTreeMap<Encryption, u64> {
        let mut sum = BTreeMap::new();
        for (_, (encryption, count)) in self.shards().flat_map(|shard| shard.encrypted.iter()) {
            *sum.entry(*encryption).or_default() += count.value();
        }
        sum
    }

    fn shards(&self) -> impl Iterator<Item = &Arc<TrafficShard>> {
        self.shards.iter().filter_map(OnceLock::get)
    }
}

impl Default for TrafficShard {
    fn default() -> Self {
        Self {
            head: Histogram::starting_at(FIRST),
            failures: Counter::default(),
            answers: Cells::default(),
            encrypted: Cells::default(),
            combined: ArcSwapOption::empty(),
        }
    }
}

impl TrafficShard {
    /// Records a request that was answered.
    pub fn record(&self, answer: &Answer, buckets: &Buckets) {
        if let Some(nanos) = answer.head_nanos {
            self.head.record(nanos);
        }
        if answer.is_failure {
            self.failures.increment();
        }
        if let Some((number, encryption)) = answer.encryption {
            let make = || (encryption, Counter::default());
            self.encrypted.get_or_make(number, make).1.increment();
        }
        self.cell(answer.key, buckets).record(answer, buckets);
    }

    fn cell(&self, key: AnswerKey, buckets: &Buckets) -> &AnswerCell {
        if let Some(cell) = self.answers.get(key.pack()) {
            return cell;
        }
        self.answers.get_or_make(self.kind(key), || AnswerCell::new(buckets))
    }

    /// The key of a kind of answer that has no cell yet, or of what stands for it.
    fn kind(&self, key: AnswerKey) -> u32 {
        if self.answers.len() < KEYS { key.pack() } else { key.coarse().pack() }
    }

    /// Counts a request by what its headers say, before it is [recorded](Self::record). Answers whether
    /// there was room to tell it apart.
    pub fn combine(
        &self,
        key: AnswerKey,
        by: &Arc<Combinations>,
        combination: Combination,
    ) -> bool {
        let known = self.answers.get(key.pack()).is_some();
        let kind = if known { key.pack() } else { self.kind(key) };
        if let Some(combined) = &*self.combined.load()
            && combined.is_of(by)
        {
            return combined.count(kind, combination);
        }
        self.begin_to_combine(by);
        self.combined.load().as_ref().is_none_or(|combined| combined.count(kind, combination))
    }

    #[cold]
    fn begin_to_combine(&self, by: &Arc<Combinations>) {
        self.combined.rcu(|now| match now {
            // Of workers that share this one, another was first.
            Some(combined) if combined.is_of(by) => combined.clone(),
            _ => Arc::new(Combined::new(by, self.whole())),
        });
    }

    /// How many answers there were of each kind.
    fn whole(&self) -> Vec<(u32, u64)> {
        self.answers.iter().map(|(kind, cell)| (kind, cell.count())).collect()
    }

    /// How many answers there were, by kind and number of combination.
    fn counts(&self, by: &Combinations) -> Vec<(u32, u32, u64)> {
        let apart = || {
            let combined = self.combined.load();
            let combined = combined.as_ref().filter(|combined| combined.is_of(by))?;
            Some(combined.counts().collect())
        };
        let whole =
            || self.whole().into_iter().map(|(kind, count)| (kind, OTHERS, count)).collect();
        apart().unwrap_or_else(|| {
            let whole = whole();
            // Where that begins just now, the first request may be among them, and is none of them.
            apart().unwrap_or(whole)
        })
    }
}

impl AnswerCell {
    fn new(buckets: &Buckets) -> Self {
        let count = buckets.bounds().len() + 1;
        Self {
            buckets: (0..count).map(|_| Counter::default()).collect(),
            nanos: Counter::default(),
            request_bytes: Counter::default(),
            response_bytes: Counter::default(),
        }
    }

    fn record(&self, answer: &Answer, buckets: &Buckets) {
        // Of other buckets than it was made with, it takes what it has a place for.
        let place = buckets.place(answer.nanos).min(self.buckets.len() - 1);
        self.buckets[place].increment();
        self.nanos.add(answer.nanos);
        // Most requests have no content.
        if answer.request_bytes > 0 {
            self.request_bytes.add(answer.request_bytes);
        }
        if answer.response_bytes > 0 {
            self.response_bytes.add(answer.response_bytes);
        }
    }

    fn count(&self) -> u64 {
        self.buckets.iter().map(Counter::value).sum()
    }
}

impl AnswerReading {
    /// How many there were.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    fn add(&mut self, cell: &AnswerCell) {
        self.buckets.resize(cell.buckets.len().max(self.buckets.len()), 0);
        for (into, from) in self.buckets.iter_mut().zip(&cell.buckets) {
            *into += from.value();
        }
        self.nanos += cell.nanos.value();
        self.request_bytes += cell.request_bytes.value();
        self.response_bytes += cell.response_bytes.value();
    }
}

impl Answer {
    /// A `GET` of this status that took so many nanoseconds, for tests and sketches.
    pub fn plain(status: http::StatusCode, nanos: u64) -> Self {
        Self {
            key: AnswerKey::new(status, MethodLabel::Get, ProtocolLabel::Http),
            head_nanos: Some(nanos),
            nanos,
            request_bytes: 0,
            response_bytes: 0,
            is_failure: false,
            encryption: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;
    use crate::figure::{HeaderLabel, HeaderLabels};

    fn status(code: u16) -> StatusCode {
        StatusCode::from_u16(code).unwrap()
    }

    #[test]
    fn answers_are_counted_by_class_whichever_worker_gave_them() {
        let (figures, buckets) = (TrafficFigures::default(), Buckets::default());
        assert!(!figures.is_used());
        for (worker, code) in [100, 200, 204, 301, 404, 502, 599, 999].into_iter().enumerate() {
            figures.shard(worker * 5).record(&Answer::plain(status(code), 1), &buckets);
        }
        assert_eq!(figures.classes(), [1, 2, 1, 1, 3]);
        assert_eq!(figures.duration().count(), 8);
        assert_eq!(figures.answers().len(), 8);
        assert!(figures.is_used());
    }

    #[test]
    fn a_kind_of_answer_adds_up_over_workers() {
        let (figures, buckets) = (TrafficFigures::default(), Buckets::default());
        let cipher = Encryption { version: "1.3", cipher: "TLS_AES_128_GCM_SHA256" };
        for (worker, millis) in [(0, 100), (1, 101), (0, 6_000), (1, 300)] {
            let answer = Answer {
                request_bytes: 7,
                response_bytes: 11,
                is_failure: worker == 1,
                encryption: Some((1, cipher)),
                ..Answer::plain(status(200), millis * 1_000_000)
            };
            figures.shard(worker).record(&answer, &buckets);
        }
        let key = AnswerKey::new(status(200), MethodLabel::Get, ProtocolLabel::Http);
        let reading = &figures.answers()[&key];
        assert_eq!(reading.buckets, [1, 2, 0, 0, 1]);
        assert_eq!((reading.count(), reading.nanos), (4, 6_501_000_000));
        assert_eq!((reading.request_bytes, reading.response_bytes), (28, 44));
        assert_eq!((figures.failures(), figures.encrypted()[&cipher]), (2, 4));
    }

    #[test]
    fn a_backend_that_makes_up_codes_does_not_fill_the_memory() {
        let (figures, buckets) = (TrafficFigures::default(), Buckets::default());
        let methods = [MethodLabel::Get, MethodLabel::Post];
        for (code, method) in (100..1000).flat_map(|code| methods.map(|method| (code, method))) {
            let key = AnswerKey::new(status(code), method, ProtocolLabel::Http);
            figures.shard(0).record(&Answer { key, ..Answer::plain(status(200), 1) }, &buckets);
        }
        let answers = figures.answers();
        assert!(answers.len() <= KEYS + 9, "{}", answers.len());
        assert_eq!(answers.values().map(AnswerReading::count).sum::<u64>(), 1800);
    }

    fn combinations(limit: u32) -> Arc<Combinations> {
        let header = http::HeaderName::from_static("x-tenant");
        let labels = vec![HeaderLabel { name: "tenant".into(), header }];
        Arc::new(Combinations::new(HeaderLabels { labels, limit }, 1))
    }

    /// Counts a request of a tenant. Answers whether it was told apart.
    fn count(shard: &TrafficShard, by: &Arc<Combinations>, tenant: &str, answer: &Answer) -> bool {
        let combination = by.find(|_| Some(tenant.as_bytes()));
        let is_apart = shard.combine(answer.key, by, combination);
        shard.record(answer, &Buckets::default());
        is_apart
    }

    /// Tenants, and how many requests each had, whatever became of them.
    fn tenants(figures: &TrafficFigures, by: &Combinations) -> BTreeMap<String, u64> {
        let (values, mut sum) = (by.values(), BTreeMap::new());
        for ((_, number), count) in figures.combined(by) {
            *sum.entry(values[number as usize][0].to_string()).or_default() += count;
        }
        sum
    }

    fn are<const N: usize>(all: [(&str, u64); N]) -> BTreeMap<String, u64> {
        all.into_iter().map(|(tenant, count)| (tenant.to_owned(), count)).collect()
    }

    #[test]
    fn requests_are_told_apart_up_to_the_limit_and_none_is_lost() {
        let (figures, by) = (TrafficFigures::default(), combinations(2));
        let answer = Answer::plain(status(200), 1);
        let apart = [(0, "a"), (1, "a"), (1, "b"), (0, "c"), (0, "other"), (0, "a")]
            .map(|(worker, tenant)| count(figures.shard(worker), &by, tenant, &answer));
        assert_eq!(apart, [true, true, true, false, true, true]);
        assert_eq!(tenants(&figures, &by), are([("a", 3), ("b", 1), ("other", 2)]));
        assert_eq!(figures.answers()[&answer.key].count(), 6);
        assert!(by.went_beyond());
        assert!(!by.went_beyond(), "it is told once");
        assert_eq!(by.beyond(), 2);
    }

    #[test]
    fn what_was_counted_before_a_change_of_labels_is_kept() {
        let figures = TrafficFigures::default();
        let [first, second] = [combinations(9), combinations(9)];
        let (shard, answer) = (figures.shard(0), Answer::plain(status(200), 1));
        shard.record(&answer, &Buckets::default());
        assert_eq!(tenants(&figures, &first), are([("other", 1)]));
        count(shard, &first, "a", &answer);
        assert_eq!(tenants(&figures, &first), are([("a", 1), ("other", 1)]));
        assert_eq!(tenants(&figures, &second), are([("other", 2)]), "nobody has looked yet");
        count(shard, &second, "b", &answer);
        // One that began before the change.
        shard.combine(answer.key, &second, first.find(|_| Some(b"a")));
        shard.record(&answer, &Buckets::default());
        assert_eq!(tenants(&figures, &second), are([("b", 1), ("other", 3)]));
        assert_eq!(first.series(), 0, "its room is given back");
    }

    #[test]
    fn series_are_bounded_beside_combinations() {
        let (figures, by) = (TrafficFigures::default(), combinations(1));
        let kinds = (100..300).map(|code| Answer::plain(status(code), 1));
        let apart = kinds.filter(|answer| count(figures.shard(0), &by, "a", answer)).count();
        assert_eq!((apart as u64, by.series()), (64, 64));
        assert_eq!(tenants(&figures, &by), are([("a", 64), ("other", 136)]));
        drop(figures);
        assert_eq!(by.series(), 0, "an object that is gone has no series");
    }

    #[test]
    fn codes_of_grpc_have_a_class() {
        let (figures, buckets) = (TrafficFigures::default(), Buckets::default());
        for code in [0, 0, 14] {
            let key = AnswerKey { code, method: MethodLabel::Post, protocol: ProtocolLabel::Grpc };
            figures.shard(0).record(&Answer { key, ..Answer::plain(status(200), 1) }, &buckets);
        }
        assert_eq!(figures.classes(), [0, 2, 0, 0, 1]);
    }
}
