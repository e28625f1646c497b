//! The matchers of all plugins, by name, and what their calls in rules mean.
//!
//! **Invariant:** a plugin is asked once for a call, for as long as its code does not change.

use std::sync::{Arc, Mutex, PoisonError};

use hashbrown::HashMap;

use crate::{
    name::{fold, nearest},
    port::{MatcherPlugin, Signature},
    problem::Problem,
    rule::{Call, Expression, Predicate, Rule, RuleError, RuleFault, Whole},
};

/// What calls were found to mean. Handed from one [`MatcherSet`] to the next.
#[derive(Debug, Default)]
pub struct MatcherCache(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// Grows with every set that uses the cache.
    generation: u64,
    calls: HashMap<CallKey, (u64, Predicate)>,
}

#[derive(Debug, Eq, Hash, PartialEq)]
struct CallKey {
    fingerprint: Arc<str>,
    matcher: Arc<str>,
    args: Vec<String>,
}

/// The matchers of all plugins.
#[derive(Debug)]
pub struct MatcherSet {
    by_spelling: HashMap<String, Arc<Matcher>>,
    cache: Arc<MatcherCache>,
}

#[derive(Debug)]
struct Matcher {
    plugin: Arc<dyn MatcherPlugin>,
    fingerprint: Arc<str>,
    name: Arc<str>,
    signature: Signature,
}

impl MatcherSet {
    /// Takes the matchers of these plugins, and what the cache knows of them. Where two plugins
    /// have a matcher of the same name, the first keeps it.
    pub fn build(
        plugins: &[Arc<dyn MatcherPlugin>],
        cache: &Arc<MatcherCache>,
    ) -> (Self, Vec<Problem>) {
        let mut by_spelling: HashMap<String, Arc<Matcher>> = HashMap::new();
        let mut problems = Vec::new();
        for plugin in plugins {
            let fingerprint: Arc<str> = plugin.fingerprint().into();
            for signature in plugin.signatures() {
                let matcher = Arc::new(Matcher {
                    plugin: plugin.clone(),
                    fingerprint: fingerprint.clone(),
                    name: signature.name.as_str().into(),
                    signature: signature.clone(),
                });
                if let Some(other) = matcher.enter(&mut by_spelling) {
                    problems.push(clash(&matcher, &other));
                }
            }
        }
        cache.begin_generation();
        (Self { by_spelling, cache: cache.clone() }, problems)
    }

    /// The names of all matchers, as their plugins write them, sorted.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> =
            self.by_spelling.values().map(|matcher| &*matcher.name).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    fn call(&self, call: &Call) -> Result<Predicate, RuleError> {
        let matcher = self.by_spelling.get(&call.name).ok_or_else(|| self.unknown(call))?;
        matcher.check(call)?;
        let key = CallKey {
            fingerprint: matcher.fingerprint.clone(),
            matcher: matcher.name.clone(),
            args: call.args.iter().map(|arg| arg.value.clone()).collect(),
        };
        if let Some(known) = self.cache.find(&key) {
            return Ok(known);
        }
        // The cache is not locked while the plugin works.
        let predicate = matcher.compile(call, &key.args)?;
        self.cache.keep(key, predicate.clone());
        Ok(predicate)
    }

    fn unknown(&self, call: &Call) -> RuleError {
        let fault = RuleFault::UnknownMatcher(call.name.clone());
        let error = RuleError::new(call.name_span.clone(), fault);
        let names = self.names();
        // Traefik 2 had two names for one.
        let is_of_host = fold(&call.name) == "hostheader" && names.contains(&"Host");
        let meant =
            if is_of_host { Some("Host") } else { nearest(&call.name, names.iter().copied()) };
        match meant {
            Some(name) => error.hint(format!("did you mean `{name}`?")),
            None if names.is_empty() => error.hint("no plugin that adds matchers is loaded"),
            None => error.hint(format!("there are {}", names.join(", "))),
        }
    }
}

impl Rule {
    /// What the rule means, with these matchers.
    pub fn compile(&self, matchers: &MatcherSet) -> Result<Predicate, RuleError> {
        compile(self.expression(), matchers).map(Predicate::simplify)
    }
}

fn compile(expression: &Expression, matchers: &MatcherSet) -> Result<Predicate, RuleError> {
    let all = |parts: &[Expression]| -> Result<Vec<Predicate>, RuleError> {
        parts.iter().map(|part| compile(part, matchers)).collect()
    };
    Ok(match expression {
        Expression::All(parts) => Predicate::All(all(parts)?),
        Expression::Any(branches) => Predicate::Any(all(branches)?),
        Expression::Not(inner) => Predicate::Not(Box::new(compile(inner, matchers)?)),
        Expression::Call(call) => matchers.call(call)?,
    })
}

impl Matcher {
    /// Enters the matcher under all of its spellings, or under none if another has one of them: this
    /// other is answered.
    fn enter(self: &Arc<Self>, by_spelling: &mut HashMap<String, Arc<Self>>) -> Option<Arc<Self>> {
        let spellings = spellings(&self.name);
        if let Some(other) = spellings.iter().find_map(|it| by_spelling.get(it)) {
            return Some(other.clone());
        }
        by_spelling.extend(spellings.map(|spelling| (spelling, self.clone())));
        None
    }

    /// Checks the number of arguments, and that none is empty, as Traefik does.
    fn check(&self, call: &Call) -> Result<(), RuleError> {
        let Signature { min_args: min, max_args: max, .. } = self.signature;
        let found = call.args.len();
        if found < min || found > max {
            let matcher = self.signature.name.clone();
            let fault = RuleFault::Arity { matcher, min, max, found };
            let error = RuleError::new(call.span.clone(), fault);
            // What Traefik 2 wrote as a list, Traefik 3 writes as alternatives.
            let is_list = max == 1 && found > 1;
            return Err(if is_list {
                // Whatever stands beside it holds for all of them, and a `!` before it too.
                error.hint(format!("write ({})", alternatives(call)))
            } else {
                error
            });
        }
        match call.args.iter().find(|arg| arg.value.is_empty()) {
            Some(arg) => Err(RuleError::new(arg.span.clone(), RuleFault::EmptyArgument)),
            None => Ok(()),
        }
    }

    fn compile(&self, call: &Call, args: &[String]) -> Result<Predicate, RuleError> {
        self.plugin.compile(&self.name, args).map_err(|error| {
            let arg = error.arg.and_then(|place| call.args.get(place));
            let span = arg.map_or_else(|| call.span.clone(), |arg| arg.span.clone());
            let matcher = self.signature.name.clone();
            RuleError::new(span, RuleFault::Matcher { matcher, message: error.message })
        })
    }
}

impl MatcherCache {
    /// Forgets what the last two sets did not use: one may have been given up half-way.
    fn begin_generation(&self) {
        let known = &mut *self.lock();
        let before_last = known.generation.saturating_sub(1);
        known.calls.retain(|_, (used, _)| *used >= before_last);
        known.generation += 1;
    }

    fn find(&self, key: &CallKey) -> Option<Predicate> {
        let known = &mut *self.lock();
        let (used, predicate) = known.calls.get_mut(key)?;
        *used = known.generation;
        Some(predicate.clone())
    }

    fn keep(&self, key: CallKey, predicate: Predicate) {
        let known = &mut *self.lock();
        known.calls.insert(key, (known.generation, predicate));
    }

    /// Nothing here panics half-way, so a poisoned cache is as good as any.
    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As it stands, in lower case, in upper case, and with a capital: Traefik's four spellings.
fn spellings(name: &str) -> [String; 4] {
    let lower = name.to_ascii_lowercase();
    let mut title = lower.clone();
    if let Some(first) = title.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    [name.to_owned(), lower, name.to_ascii_uppercase(), title]
}

/// What Traefik 2 wrote as a list, as Traefik 3 has it. There were patterns in such lists, and names
/// among expressions.
fn alternatives(call: &Call) -> String {
    let is_name = |value: &str| {
        value.chars().all(|letter| letter.is_ascii_alphanumeric() || "-._".contains(letter))
    };
    let alone = |value: &String| {
        let matcher = fold(&call.name);
        let pattern = match matcher.as_str() {
            "host" | "hostregexp" => Some(Whole::Host),
            "path" => Some(Whole::Path),
            "pathprefix" => Some(Whole::PathPrefix),
            _ => None,
        };
        if let Some(translated) = pattern.and_then(|pattern| pattern.translated(value)) {
            return translated;
        }
        match matcher.as_str() {
            "hostregexp" if is_name(value) => format!("Host(`{value}`)"),
            _ => format!("{}(`{value}`)", call.name),
        }
    };
    let calls: Vec<String> = call.args.iter().map(|arg| alone(&arg.value)).collect();
    calls.join(" || ")
}

fn clash(matcher: &Matcher, other: &Matcher) -> Problem {
    let message = format!(
        "the matcher `{}` is there already, from plugin `{}`",
        matcher.name,
        other.plugin.name()
    );
    Problem::error("plugins", matcher.plugin.name(), message)
        .hint("a file takes the place of a plugin by declaring its name")
}

#[cfg(test)]
mod tests;
