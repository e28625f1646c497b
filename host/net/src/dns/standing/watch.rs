//! Says which upstreams do not answer: once in the log when that begins and when it ends, and as a
//! problem while nobody of those who stand in for each other does.

use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};

use hashbrown::HashMap;
use portolan_core::problem::Problem;
use tokio::time::{Instant, sleep_until};

use super::{
    super::{
        forward::{Forwardings, UpstreamConfig},
        upstream::REST,
    },
    Failure, KnownUpstream,
    table::{Purpose, Standings, Together},
};

/// An upstream that comes and goes has a line for this once in this time.
const QUIET: Duration = Duration::from_secs(60);

/// Looks after the upstreams until it is dropped: writes to the log which of them do not answer any
/// more and which do again, and tells `tell` what is wrong whenever that changes.
pub async fn tend_upstreams<F>(
    forwardings: Arc<Forwardings>,
    mut tell: impl FnMut(Vec<Problem>) -> F,
) where
    F: Future<Output = ()>,
{
    let standings = &forwardings.standings;
    let mut watch = Watch::default();
    let mut told = Vec::new();
    loop {
        let (lines, due) = watch.look(standings, Instant::now());
        lines.iter().for_each(Line::write);
        let problems = problems(standings, &forwardings.loops.found());
        if problems != told {
            told.clone_from(&problems);
            tell(problems).await;
        }
        tokio::select! {
            () = standings.changed() => (),
            () = until(due) => (),
        }
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// What the log knows of each upstream.
#[derive(Default)]
struct Watch(HashMap<UpstreamConfig, Told>);

struct Told {
    /// When it was last said of it that it does not answer.
    at: Instant,
    /// Since when it did not, unless it was said since that it does again.
    lost: Option<Instant>,
}

/// A line of the log.
#[derive(Debug, Eq, PartialEq)]
enum Line {
    Lost { upstream: String, keys: String, fault: String, answering: String },
    Found { upstream: String, keys: String, after: Duration },
}

impl Watch {
    /// What is to be said now, and when something may be that is not said yet.
    fn look(&mut self, standings: &Standings, now: Instant) -> (Vec<Line>, Option<Instant>) {
        let all = standings.all();
        let (mut lines, mut due) = (Vec::new(), None);
        for known in &all {
            let told = self.0.get_mut(&known.config);
            match (known.standing.lost(), told) {
                (Some(lost), Some(told)) if told.lost.is_none() => {
                    let may = told.at + QUIET;
                    if may > now {
                        due = Some(due.map_or(may, |due: Instant| due.min(may)));
                        continue;
                    }
                    *told = Told { at: now, lost: Some(lost) };
                    lines.push(Line::lost(known, &all));
                }
                (Some(lost), None) => {
                    self.0.insert(known.config.clone(), Told { at: now, lost: Some(lost) });
                    lines.push(Line::lost(known, &all));
                }
                (None, Some(told)) => lines.extend(told.lost.take().map(|lost| Line::Found {
                    upstream: known.config.to_string(),
                    keys: known.keys.join(", "),
                    after: now.saturating_duration_since(lost),
                })),
                _ => (),
            }
        }
        self.0.retain(|config, _| all.iter().any(|known| known.config == *config));
        (lines, due)
    }
}

impl Line {
    fn lost(known: &KnownUpstream, all: &[KnownUpstream]) -> Self {
        let is_other = |other: &&KnownUpstream| {
            other.config != known.config
                && other.standing.lost().is_none()
                && other.keys.iter().any(|key| known.keys.contains(key))
        };
        let others = all.iter().filter(is_other).map(|other| match other.standing.answered() {
            Some(_) => other.config.to_string(),
            None => format!("{} (not heard yet)", other.config),
        });
        let others: Vec<_> = others.collect();
        Self::Lost {
            upstream: known.config.to_string(),
            keys: known.keys.join(", "),
            fault: fault(known),
            answering: if others.is_empty() { "nobody".to_owned() } else { others.join(", ") },
        }
    }

    fn write(&self) {
        let rest = REST.as_secs();
        match self {
            Self::Lost { upstream, keys, fault, answering } => tracing::warn!(
                upstream,
                of = keys,
                error = fault,
                answering,
                "no answers from an upstream: it is asked last for {rest} s at a time, until it answers"
            ),
            Self::Found { upstream, keys, after } => tracing::info!(
                upstream, of = keys, after = ?after,
                "an upstream answers again"
            ),
        }
    }
}

/// Of each group of which nobody answers; those that are not asked, since they lead back to us, are
/// told of elsewhere.
fn problems(standings: &Standings, looping: &[SocketAddr]) -> Vec<Problem> {
    let all = standings.all();
    let known: HashMap<_, _> = all.iter().map(|known| (&known.config, known)).collect();
    let mut problems = Vec::new();
    for group in standings.groups() {
        let is_asked =
            |config: &&UpstreamConfig| !config.address().is_some_and(|at| looping.contains(&at));
        let asked = group.upstreams.iter().filter(is_asked);
        let asked: Vec<_> = asked.filter_map(|config| known.get(config).copied()).collect();
        let failures: Vec<_> =
            asked.iter().filter_map(|known| Some(known.standing.fault()?.0)).collect();
        if !asked.is_empty() && failures.len() == asked.len() {
            problems.push(problem(&group, &asked, &failures));
        }
    }
    problems
}

fn problem(group: &Together, asked: &[&KnownUpstream], failures: &[Failure]) -> Problem {
    let mut each: Vec<String> = Vec::new();
    for known in asked {
        let text = format!("{} ({})", known.config, fault(known));
        // It may stand there twice.
        if !each.contains(&text) {
            each.push(text);
        }
    }
    let each = each.join(", ");
    let message = match &group.purpose {
        Purpose::Rest => format!("no upstream answers: {each}"),
        Purpose::Suffix(suffix) => format!("no upstream of `{suffix}` answers: {each}"),
        Purpose::Bootstrap => format!("nobody says where upstreams are that have a name: {each}"),
    };
    // Who refuses is there, and what was asked may be names that nobody can resolve.
    let problem = match failures.contains(&Failure::Refused) {
        true => Problem::warning("dns", &group.key, message),
        false => Problem::error("dns", &group.key, message),
    };
    problem.hint("they are asked on, and this goes away with the first answer; old answers serve where there are any")
}

fn fault(known: &KnownUpstream) -> String {
    known.standing.fault().map(|(_, fault)| fault.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use portolan_core::{problem::Severity, zone::Name};

    use super::{super::super::forward::Forwarding, *};

    const PATIENCE: Duration = Duration::from_millis(400);

    fn upstream(number: u8) -> UpstreamConfig {
        SocketAddr::from(([10, 0, 0, number], 53)).into()
    }

    /// Two for all names, and the second of them for some.
    fn settings() -> Forwarding {
        Forwarding {
            upstreams: vec![upstream(1), upstream(2)],
            suffixes: vec![(Name::parse("corp.example").unwrap(), vec![upstream(2)])],
            ..Forwarding::default()
        }
    }

    async fn falls_silent(standings: &Standings, number: u8) {
        let (standing, begun) = (standings.of(&upstream(number)), Instant::now());
        tokio::time::advance(PATIENCE).await;
        for _ in 0..3 {
            standing.fails(Failure::Silent);
            standing.rests(Failure::Silent, begun, || "no answer in time".to_owned());
        }
    }

    fn lost(number: u8, keys: &str, answering: &str) -> Line {
        Line::Lost {
            upstream: upstream(number).to_string(),
            keys: keys.to_owned(),
            fault: "no answer in time".to_owned(),
            answering: answering.to_owned(),
        }
    }

    fn told(standings: &Standings, looping: &[SocketAddr]) -> Vec<(Severity, String)> {
        let problems = problems(standings, looping).into_iter();
        problems.map(|it| (it.severity, format!("{}: {}", it.origin, it.message))).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_falls_silent_is_told_once_and_when_it_answers_again() {
        let (standings, mut watch) = (Standings::default(), Watch::default());
        let mut look = || watch.look(&standings, Instant::now());
        standings.follow(&settings());
        assert_eq!(look(), (vec![], None));
        standings.of(&upstream(2)).answers(Instant::now());
        falls_silent(&standings, 1).await;
        assert_eq!(look().0, [lost(1, "dns.upstreams", "10.0.0.2:53")]);
        // Another worker finds it too, and settings change: nothing new.
        falls_silent(&standings, 1).await;
        standings.follow(&Forwarding { mix_case: true, ..settings() });
        assert_eq!(look().0, []);
        standings.of(&upstream(1)).answers(Instant::now());
        let (upstream, keys) = (upstream(1).to_string(), "dns.upstreams".to_owned());
        assert_eq!(look().0, [Line::Found { upstream, keys, after: PATIENCE }]);
        assert_eq!(look().0, []);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_comes_and_goes_has_a_line_once_a_minute() {
        let (standings, mut watch) = (Standings::default(), Watch::default());
        let mut look = || watch.look(&standings, Instant::now());
        standings.follow(&settings());
        falls_silent(&standings, 1).await;
        let begun = Instant::now();
        assert_eq!(look().0, [lost(1, "dns.upstreams", "10.0.0.2:53 (not heard yet)")]);
        standings.of(&upstream(1)).answers(Instant::now());
        assert_eq!(look().0.len(), 1);
        falls_silent(&standings, 1).await;
        assert_eq!(look(), (vec![], Some(begun + QUIET)));
        tokio::time::advance(QUIET).await;
        assert_eq!(look().0.len(), 1, "it is silent still");
    }

    #[tokio::test(start_paused = true)]
    async fn a_group_is_a_problem_while_nobody_in_it_answers() {
        let standings = Standings::default();
        standings.follow(&settings());
        falls_silent(&standings, 2).await;
        let suffix = "dns.forward.corp.example: no upstream of `corp.example` answers: \
                      10.0.0.2:53 (no answer in time)";
        assert_eq!(told(&standings, &[]), [(Severity::Error, suffix.to_owned())]);
        // One that leads back to us is not asked, so it is nobody who could answer.
        let looping = upstream(1).address().unwrap();
        assert_eq!(told(&standings, &[looping]).len(), 2);
        falls_silent(&standings, 1).await;
        let all = "dns.upstreams: no upstream answers: 10.0.0.1:53 (no answer in time), \
                   10.0.0.2:53 (no answer in time)";
        assert_eq!(told(&standings, &[])[0], (Severity::Error, all.to_owned()));
        // One that is taken out is nobody's problem any more, and what is known of the other stays.
        standings.follow(&Forwarding { upstreams: vec![upstream(1)], ..Forwarding::default() });
        assert_eq!(told(&standings, &[]).len(), 1);
        standings.of(&upstream(1)).answers(Instant::now());
        assert_eq!(told(&standings, &[]), []);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_comes_back_is_watched_by_workers_that_have_not_seen_it_gone() {
        let standings = Standings::default();
        standings.follow(&settings());
        let noted = standings.of(&upstream(1));
        let other = Forwarding { upstreams: vec![upstream(2)], ..Forwarding::default() };
        standings.follow(&other);
        standings.follow(&Forwarding { mix_case: true, ..other.clone() });
        assert_eq!(standings.all().len(), 1);
        standings.follow(&settings());
        assert!(Arc::ptr_eq(&noted, &standings.of(&upstream(1))));
        // Once no worker has it any more, nothing is kept of it.
        noted.asked.increment();
        drop(noted);
        standings.follow(&other);
        standings.follow(&settings());
        assert_eq!(standings.of(&upstream(1)).asked.value(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_silent_is_lost_after_three_times_in_a_row() {
        let standing = super::super::Standing::default();
        let silent = || {
            standing.fails(Failure::Silent);
            standing.rests(Failure::Silent, Instant::now(), String::new);
            standing.lost().is_some()
        };
        standing.answers(Instant::now());
        tokio::time::advance(PATIENCE).await;
        assert_eq!([silent(), silent()], [false; 2]);
        standing.answers(Instant::now());
        tokio::time::advance(PATIENCE).await;
        assert_eq!([silent(), silent(), silent()], [false, false, true]);
        // That it cannot be reached is no lost datagram.
        standing.answers(Instant::now());
        tokio::time::advance(PATIENCE).await;
        standing.fails(Failure::Unreachable);
        standing.rests(Failure::Unreachable, Instant::now(), String::new);
        assert!(standing.lost().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_another_worker_hears_is_not_lost() {
        let standing = super::super::Standing::default();
        let begun = Instant::now();
        tokio::time::advance(PATIENCE).await;
        standing.answers(Instant::now());
        standing.rests(Failure::Silent, begun, String::new);
        assert_eq!(standing.lost(), None, "a datagram was lost");
        // Names that nobody can resolve are no failure of who says so.
        for number in 1..=8 {
            standing.fails(Failure::Refused);
            standing.rests(Failure::Refused, Instant::now(), || "code 2".to_owned());
            assert_eq!(standing.lost().is_some(), number == 8, "{number}");
        }
        // What is wrong with it may be something else by and by.
        let (begun, before) = (Instant::now(), standing.lost());
        tokio::time::advance(PATIENCE).await;
        standing.rests(Failure::Silent, begun, || "no answer".to_owned());
        assert_eq!(standing.fault(), Some((Failure::Silent, Arc::new("no answer".to_owned()))));
        assert_eq!(standing.lost(), before);
    }
}
