//! Options of middlewares that are no plugins.

use serde_json::{Map, Value, json};

use super::{
    Flaw,
    reader::{Keys, Reader},
};
use crate::{name::camel, policy::Retries, problem::Severity};

const CHAIN: Keys = Keys { known: &["middlewares"], foreign: &[] };
const RETRY: Keys = Keys {
    known: &[
        "attempts",
        "initial-interval",
        "timeout",
        "max-request-body-bytes",
        "status",
        "disable-retry-on-network-error",
        "retry-non-idempotent-method",
    ],
    foreign: &[],
};

/// Nobody means more tries than these, and each costs a backend.
const MOST_ATTEMPTS: u32 = 100;

/// What a chain stands for (Traefik's `chain`).
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ChainSpec {
    /// The middlewares, outermost first, perhaps with `@provider`. None: it has no effect, as in Traefik.
    pub members: Vec<String>,
    /// JSON Pointer to their list, below the options.
    pub pointer: String,
}

/// Reads the options of a chain. A flaw costs all of it: part of a chain protects less than was meant.
pub fn chain(options: &Value) -> Result<ChainSpec, Vec<Flaw>> {
    let (mut spec, mut flaws) = (ChainSpec::default(), Vec::new());
    for (_, list) in Reader::root(options, "").fields(&CHAIN, &mut flaws) {
        spec.members = list.list(&mut flaws);
        spec.pointer = list.pointer;
    }
    if flaws.is_empty() { Ok(spec) } else { Err(flaws) }
}

/// Reads the options of the middleware `retry`, which are Traefik's.
pub fn retry(options: &Value) -> Result<Retries, Vec<Flaw>> {
    let (mut retries, mut flaws) = (Retries::new(0), Vec::new());
    let root = Reader::root(options, "");
    let mut is_said = false;
    for (key, value) in root.fields(&RETRY, &mut flaws) {
        match key {
            "attempts" => {
                is_said = true;
                let expected = "a number from 1 to 100: how many tries there are in all";
                let count = value.integer(&mut flaws, expected);
                if count.is_some_and(|count| count == 0 || count > MOST_ATTEMPTS) {
                    value.wrong::<u32>(&mut flaws, expected, value.value);
                }
                retries.attempts = count.unwrap_or_default();
            }
            "initial-interval" => {
                retries.interval = value.duration(&mut flaws).unwrap_or_default();
            }
            "timeout" => retries.timeout = value.limit(&mut flaws),
            // Less than nothing is no bound there; here there is always one.
            "max-request-body-bytes" if is_negative(value.value) => (),
            "max-request-body-bytes" => retries.max_body = value.bytes(&mut flaws),
            "status" => retries.statuses = value.statuses(&mut flaws),
            "disable-retry-on-network-error" => {
                retries.on_network_error = !value.boolean(&mut flaws).unwrap_or_default();
            }
            _ => retries.any_method = value.boolean(&mut flaws).unwrap_or_default(),
        }
    }
    if !is_said {
        root.flaw(&mut flaws, "`attempts` is missing: how many tries there are in all".to_owned());
    }
    if !retries.on_network_error && retries.statuses.is_empty() {
        let message = "without `status` nothing is ever tried again where \
            `disableRetryOnNetworkError` is said";
        root.flaw(&mut flaws, message.to_owned());
    }
    flaws.retain(|flaw| flaw.severity == Severity::Error);
    if flaws.is_empty() { Ok(retries) } else { Err(flaws) }
}

/// The options of a middleware `retry` that was read, as Traefik's API would write them.
pub fn shown_retry(options: &Value) -> Value {
    let nothing = &mut Vec::new();
    let fields = Reader::root(options, "").fields(&RETRY, nothing);
    let shown = fields.into_iter().map(|(key, value)| {
        let typed = match key {
            "attempts" | "max-request-body-bytes" => {
                value.integer::<i64>(nothing, "").map(|number| json!(number))
            }
            "status" => Some(json!(value.list(nothing))),
            "initial-interval" | "timeout" => None,
            _ => value.boolean(nothing).map(|is_so| json!(is_so)),
        };
        (camel(key), typed.unwrap_or_else(|| value.value.clone()))
    });
    Value::Object(shown.collect::<Map<_, _>>())
}

fn is_negative(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.as_i64().is_some_and(|number| number < 0),
        Value::String(text) => text.trim().parse::<i64>().is_ok_and(|number| number < 0),
        _ => false,
    }
}
