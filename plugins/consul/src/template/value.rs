//! What a template computes with.

use std::{cmp::Ordering, collections::BTreeMap};

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// A field that is not there; it can be tested and given a default, but not written.
    Missing(String),
    Bool(bool),
    Int(i64),
    Text(String),
    List(Vec<Self>),
    Map(BTreeMap<String, Self>),
}

impl Value {
    /// Go's truth: what is empty, zero or not there is false.
    pub(super) fn is_true(&self) -> bool {
        match self {
            Self::Missing(_) => false,
            Self::Bool(value) => *value,
            Self::Int(number) => *number != 0,
            Self::Text(text) => !text.is_empty(),
            Self::List(list) => !list.is_empty(),
            Self::Map(map) => !map.is_empty(),
        }
    }

    /// As it is written.
    pub(super) fn to_text(&self) -> Result<String, String> {
        match self {
            Self::Missing(name) => Err(format!("there is no `{name}`")),
            Self::Bool(value) => Ok(value.to_string()),
            Self::Int(number) => Ok(number.to_string()),
            Self::Text(text) => Ok(text.clone()),
            Self::List(list) => {
                let texts = list.iter().map(Self::to_text).collect::<Result<Vec<_>, _>>()?;
                Ok(format!("[{}]", texts.join(" ")))
            }
            Self::Map(map) => {
                let text =
                    |(key, value): (&String, &Self)| Ok(format!("{key}:{}", value.to_text()?));
                let texts = map.iter().map(text).collect::<Result<Vec<_>, String>>()?;
                Ok(format!("map[{}]", texts.join(" ")))
            }
        }
    }

    /// A field: `.Labels` of the root, `.x` of a map.
    pub(super) fn field(&self, name: &str) -> Result<Self, String> {
        match self {
            Self::Map(map) => {
                let missing = || Self::Missing(format!(".{name}"));
                Ok(map.get(name).cloned().unwrap_or_else(missing))
            }
            Self::Missing(of) => Ok(Self::Missing(format!("{of}.{name}"))),
            other => Err(format!("{} has no field `.{name}`", other.kind())),
        }
    }

    /// A text that a function asks for.
    pub(super) fn text(&self) -> Result<&str, String> {
        match self {
            Self::Text(text) => Ok(text),
            other => Err(other.is_no("text")),
        }
    }

    /// A number that a function asks for.
    pub(super) fn int(&self) -> Result<i64, String> {
        match self {
            Self::Int(number) => Ok(*number),
            other => Err(other.is_no("number")),
        }
    }

    /// A list that a function asks for.
    pub(super) fn list(&self) -> Result<&[Self], String> {
        match self {
            Self::List(list) => Ok(list),
            other => Err(other.is_no("list")),
        }
    }

    /// Which of two of a kind comes first.
    pub(super) fn order(&self, other: &Self) -> Result<Ordering, String> {
        match (self, other) {
            (Self::Int(one), Self::Int(other)) => Ok(one.cmp(other)),
            (Self::Text(one), Self::Text(other)) => Ok(one.cmp(other)),
            (Self::Bool(one), Self::Bool(other)) => Ok(one.cmp(other)),
            (one, other) => Err(format!("{} and {} cannot be compared", one.kind(), other.kind())),
        }
    }

    fn is_no(&self, wanted: &str) -> String {
        match self {
            Self::Missing(name) => format!("there is no `{name}`"),
            other => format!("{} is no {wanted}", other.kind()),
        }
    }

    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Missing(_) => "nothing",
            Self::Bool(_) => "a truth value",
            Self::Int(_) => "a number",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }
}
