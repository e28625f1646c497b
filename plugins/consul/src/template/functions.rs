//! The functions of templates: Go's own, Traefik's `normalize`, and those of sprig that work on
//! texts and lists. The order of arguments is sprig's: what a pipeline hands over comes last.

use regex_lite::Regex;

use super::value::Value;
use crate::tags::normalize;

/// A function.
#[derive(Debug)]
pub(super) struct Function {
    pub(super) name: &'static str,
    least: usize,
    /// `usize::MAX`: any number.
    most: usize,
    pub(super) run: fn(&[Value]) -> Outcome,
}

type Outcome = Result<Value, String>;

/// The function of this name.
pub(super) fn find(name: &str) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|function| function.name == name)
}

/// All names.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    FUNCTIONS.iter().map(|function| function.name)
}

impl Function {
    /// Whether it takes so many arguments.
    pub(super) fn check(&self, given: usize) -> Result<(), String> {
        let Self { name, least, most, .. } = self;
        if (*least..=*most).contains(&given) {
            return Ok(());
        }
        let takes = match *most {
            usize::MAX => format!("{least} or more"),
            most if most == *least => least.to_string(),
            most => format!("{least} to {most}"),
        };
        Err(format!("`{name}` takes {takes} arguments, found {given}"))
    }
}

const fn function(
    name: &'static str,
    least: usize,
    most: usize,
    run: fn(&[Value]) -> Outcome,
) -> Function {
    Function { name, least, most, run }
}

const ANY: usize = usize::MAX;

/// Listed in the README of the plugin as well.
static FUNCTIONS: &[Function] = &[
    // Go's own.
    function("and", 1, ANY, |all| Ok(first(all, |value| !value.is_true()))),
    function("or", 1, ANY, |all| Ok(first(all, Value::is_true))),
    function("not", 1, 1, |all| Ok(Value::Bool(!all.iter().any(Value::is_true)))),
    function("eq", 2, ANY, |all| {
        let [one, others @ ..] = all else { return Ok(Value::Bool(false)) };
        Ok(Value::Bool(others.iter().any(|other| alike(one, other))))
    }),
    function("ne", 2, 2, |all| with2(all, |one, other| Ok(Value::Bool(!alike(one, other))))),
    function("lt", 2, 2, |all| compare(all, std::cmp::Ordering::is_lt)),
    function("le", 2, 2, |all| compare(all, std::cmp::Ordering::is_le)),
    function("gt", 2, 2, |all| compare(all, std::cmp::Ordering::is_gt)),
    function("ge", 2, 2, |all| compare(all, std::cmp::Ordering::is_ge)),
    function("len", 1, 1, |all| with1(all, length)),
    function("index", 2, ANY, index),
    function("print", 0, ANY, |all| texts(all).map(|texts| Value::Text(texts.concat()))),
    function("printf", 1, ANY, printf),
    // Traefik's.
    function("normalize", 1, 1, |all| text1(all, normalize)),
    // Of sprig: texts.
    function("lower", 1, 1, |all| text1(all, str::to_lowercase)),
    function("upper", 1, 1, |all| text1(all, str::to_uppercase)),
    function("trim", 1, 1, |all| text1(all, |text| text.trim().to_owned())),
    function("trimAll", 2, 2, |all| {
        text2(all, |cut, text| text.trim_matches(|letter| cut.contains(letter)).to_owned())
    }),
    function("trimPrefix", 2, 2, |all| {
        text2(all, |prefix, text| text.strip_prefix(prefix).unwrap_or(text).to_owned())
    }),
    function("trimSuffix", 2, 2, |all| {
        text2(all, |suffix, text| text.strip_suffix(suffix).unwrap_or(text).to_owned())
    }),
    function("nospace", 1, 1, |all| text1(all, |text| text.split_whitespace().collect())),
    function("replace", 3, 3, |all| {
        let [old, new, text] = all else { return missing() };
        Ok(Value::Text(text.text()?.replace(old.text()?, new.text()?)))
    }),
    function("contains", 2, 2, |all| test(all, |part, text| Ok(text.contains(part)))),
    function("hasPrefix", 2, 2, |all| test(all, |prefix, text| Ok(text.starts_with(prefix)))),
    function("hasSuffix", 2, 2, |all| test(all, |suffix, text| Ok(text.ends_with(suffix)))),
    function("quote", 1, 1, |all| text1(all, |text| format!("{text:?}"))),
    function("trunc", 2, 2, |all| {
        with2(all, |most, text| {
            let (most, text) = (most.int()?, text.text()?);
            let count = usize::try_from(most.unsigned_abs()).unwrap_or(usize::MAX);
            let skipped = if most < 0 { text.chars().count().saturating_sub(count) } else { 0 };
            Ok(Value::Text(text.chars().skip(skipped).take(count).collect()))
        })
    }),
    function("regexMatch", 2, 2, |all| {
        test(all, |pattern, text| Ok(regex(pattern)?.is_match(text)))
    }),
    function("regexFind", 2, 2, |all| {
        with2(all, |pattern, text| {
            let found = regex(pattern.text()?)?;
            let found = found.find(text.text()?).map(|found| found.as_str());
            Ok(Value::Text(found.unwrap_or_default().to_owned()))
        })
    }),
    function("regexReplaceAll", 3, 3, |all| {
        let [pattern, text, new] = all else { return missing() };
        let replaced = regex(pattern.text()?)?;
        Ok(Value::Text(replaced.replace_all(text.text()?, new.text()?).into_owned()))
    }),
    // Of sprig: lists and choices.
    function("list", 0, ANY, |all| Ok(Value::List(all.to_vec()))),
    function("splitList", 2, 2, |all| {
        with2(all, |separator, text| {
            let parts = text.text()?.split(separator.text()?);
            Ok(Value::List(parts.map(|part| Value::Text(part.to_owned())).collect()))
        })
    }),
    function("join", 2, 2, |all| {
        with2(all, |separator, list| Ok(Value::Text(texts(list.list()?)?.join(separator.text()?))))
    }),
    function("first", 1, 1, |all| with1(all, |list| Ok(or_empty(list.list()?.first())))),
    function("last", 1, 1, |all| with1(all, |list| Ok(or_empty(list.list()?.last())))),
    function("default", 2, 2, |all| {
        with2(all, |other, value| Ok(if value.is_true() { value } else { other }.clone()))
    }),
    function("empty", 1, 1, |all| with1(all, |value| Ok(Value::Bool(!value.is_true())))),
    function("coalesce", 1, ANY, |all| Ok(first(all, Value::is_true))),
    function("ternary", 3, 3, |all| {
        let [yes, no, condition] = all else { return missing() };
        Ok(if condition.is_true() { yes } else { no }.clone())
    }),
    function("hasKey", 2, 2, |all| {
        with2(all, |map, key| {
            Ok(Value::Bool(!matches!(map.field(key.text()?)?, Value::Missing(_))))
        })
    }),
    function("get", 2, 2, |all| with2(all, at)),
];

fn missing() -> Outcome {
    Err("an argument is missing".to_owned())
}

fn with1(all: &[Value], run: impl Fn(&Value) -> Outcome) -> Outcome {
    all.first().map_or_else(missing, run)
}

fn with2(all: &[Value], run: impl Fn(&Value, &Value) -> Outcome) -> Outcome {
    match all {
        [one, other] => run(one, other),
        _ => missing(),
    }
}

fn text1(all: &[Value], run: impl Fn(&str) -> String) -> Outcome {
    with1(all, |text| Ok(Value::Text(run(text.text()?))))
}

fn text2(all: &[Value], run: impl Fn(&str, &str) -> String) -> Outcome {
    with2(all, |one, other| Ok(Value::Text(run(one.text()?, other.text()?))))
}

fn test(all: &[Value], run: impl Fn(&str, &str) -> Result<bool, String>) -> Outcome {
    with2(all, |one, other| Ok(Value::Bool(run(one.text()?, other.text()?)?)))
}

fn compare(all: &[Value], wanted: fn(std::cmp::Ordering) -> bool) -> Outcome {
    with2(all, |one, other| Ok(Value::Bool(wanted(one.order(other)?))))
}

/// The first that is as wanted, else the last.
fn first(all: &[Value], wanted: impl Fn(&Value) -> bool) -> Value {
    or_empty(all.iter().find(|value| wanted(value)).or_else(|| all.last()))
}

fn or_empty(value: Option<&Value>) -> Value {
    value.cloned().unwrap_or_else(|| Value::Text(String::new()))
}

/// A label that is not there equals the empty text.
fn alike(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Missing(_), Value::Text(text)) | (Value::Text(text), Value::Missing(_)) => {
            text.is_empty()
        }
        _ => one == other,
    }
}

fn texts(all: &[Value]) -> Result<Vec<String>, String> {
    all.iter().map(Value::to_text).collect()
}

fn length(value: &Value) -> Outcome {
    let length = match value {
        Value::Text(text) => text.len(),
        Value::List(list) => list.len(),
        Value::Map(map) => map.len(),
        other => return Err(format!("{} has no length", other.kind())),
    };
    Ok(Value::Int(i64::try_from(length).unwrap_or(i64::MAX)))
}

fn index(all: &[Value]) -> Outcome {
    let [value, keys @ ..] = all else { return missing() };
    keys.iter().try_fold(value.clone(), |value, key| at(&value, key))
}

/// As in Go, a label that is not there is the empty text.
fn at(value: &Value, key: &Value) -> Outcome {
    match value {
        Value::Map(map) => Ok(or_empty(map.get(key.text()?))),
        Value::List(list) => {
            let place = key.int()?;
            let found = usize::try_from(place).ok().and_then(|place| list.get(place));
            found.cloned().ok_or_else(|| format!("there is no place {place} in the list"))
        }
        other => Err(format!("{} has nothing inside", other.kind())),
    }
}

fn regex(pattern: &str) -> Result<Regex, String> {
    Regex::new(pattern).map_err(|error| format!("`{pattern}`: {error}"))
}

/// `%s`, `%v`, `%d`, `%q` and `%%`, without widths.
fn printf(all: &[Value]) -> Outcome {
    let [format, values @ ..] = all else { return missing() };
    let (mut values, mut text) = (values.iter(), String::new());
    let mut letters = format.text()?.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            text.push(letter);
            continue;
        }
        let verb = letters.next();
        if verb == Some('%') {
            text.push('%');
            continue;
        }
        let value = values.next().ok_or("there are fewer values than verbs")?;
        match verb {
            Some('s' | 'v') => text.push_str(&value.to_text()?),
            Some('d') => text.push_str(&value.int()?.to_string()),
            Some('q') => text.push_str(&format!("{:?}", value.to_text()?)),
            _ => return Err("of the verbs only %s, %v, %d and %q are known".to_owned()),
        }
    }
    match values.next() {
        Some(_) => Err("there are more values than verbs".to_owned()),
        None => Ok(Value::Text(text)),
    }
}
