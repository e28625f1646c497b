//! What the validator finds wrong, said as a person would say it.

use jsonschema::{
    JsonType, ValidationError,
    error::{TypeKind, ValidationErrorKind as Kind},
};
use portolan_core::{name::nearest, port::FieldError};
use serde_json::Value;

/// What there is to say about an error of the validator.
pub(super) fn of(error: &ValidationError<'_>) -> Vec<FieldError> {
    match error.kind() {
        // Of several shapes none fits: what is wrong with the one that was probably meant.
        Kind::AnyOf { context } | Kind::OneOfNotValid { context } => of_branches(error, context),
        kind => vec![FieldError {
            path: error.instance_path().to_string(),
            message: message(error, kind),
            hint: hint(error, kind),
        }],
    }
}

/// The branch that came furthest: one that complains about something inside the value had the
/// right kind of value.
fn of_branches(
    error: &ValidationError<'_>,
    context: &[Vec<ValidationError<'static>>],
) -> Vec<FieldError> {
    let constants: Vec<&Value> = context
        .iter()
        .flatten()
        .flat_map(|error| match error.kind() {
            Kind::Constant { expected_value } => std::slice::from_ref(&**expected_value),
            Kind::Enum { options } => options.as_array().map_or(&[][..], Vec::as_slice),
            _ => &[],
        })
        .collect();
    if !constants.is_empty() {
        return vec![FieldError {
            path: error.instance_path().to_string(),
            message: one_of(&constants),
            hint: meant(error.instance(), &constants),
        }];
    }
    let is_null = |errors: &&Vec<ValidationError<'static>>| {
        errors.iter().any(|error| {
            matches!(error.kind(), Kind::Type { kind: TypeKind::Single(JsonType::Null) })
        })
    };
    let depth = |errors: &&Vec<ValidationError<'static>>| {
        errors.iter().map(|error| error.instance_path().to_string().len()).max()
    };
    let best = context.iter().filter(|errors| !is_null(errors)).max_by_key(depth);
    best.into_iter().flatten().flat_map(of).collect()
}

fn message(error: &ValidationError<'_>, kind: &Kind) -> String {
    match kind {
        Kind::Required { property } => match property.as_str() {
            Some(name) => format!("needs `{name}`"),
            None => error.to_string(),
        },
        Kind::Type { kind } => {
            format!("must be {}, not {}", wanted(kind), shown(error.instance()))
        }
        Kind::Enum { options } => {
            one_of(&options.as_array().map(|it| it.iter().collect::<Vec<_>>()).unwrap_or_default())
        }
        Kind::Constant { expected_value } => one_of(&[expected_value]),
        Kind::Minimum { limit } => format!("must be at least {limit}"),
        Kind::Maximum { limit } => format!("must be at most {limit}"),
        Kind::ExclusiveMinimum { limit } => format!("must be more than {limit}"),
        Kind::ExclusiveMaximum { limit } => format!("must be less than {limit}"),
        Kind::MinLength { limit: 1 } => "must not be empty".to_owned(),
        Kind::MinLength { limit } => format!("must have at least {limit} characters"),
        Kind::MaxLength { limit } => format!("must have at most {limit} characters"),
        Kind::MinItems { limit: 1 } | Kind::MinProperties { limit: 1 } => {
            "needs at least one".to_owned()
        }
        Kind::MinItems { limit } | Kind::MinProperties { limit } => {
            format!("needs at least {limit}")
        }
        Kind::MaxItems { limit } | Kind::MaxProperties { limit } => {
            format!("takes at most {limit}")
        }
        Kind::Pattern { pattern } => format!("does not look like `{pattern}`"),
        Kind::Format { format } => format!("is not a valid {format}"),
        Kind::UniqueItems => "has something twice".to_owned(),
        _ => error.to_string(),
    }
}

fn hint(error: &ValidationError<'_>, kind: &Kind) -> Option<String> {
    let Kind::Enum { options } = kind else { return None };
    let options: Vec<&Value> = options.as_array()?.iter().collect();
    meant(error.instance(), &options)
}

fn meant(value: &Value, options: &[&Value]) -> Option<String> {
    let options = options.iter().filter_map(|option| option.as_str());
    nearest(value.as_str()?, options).map(|option| format!("did you mean `{option}`?"))
}

fn one_of(options: &[&Value]) -> String {
    let options: Vec<String> = options.iter().map(|option| shown(option)).collect();
    match options.as_slice() {
        [only] => format!("must be {only}"),
        _ => format!("must be one of {}", options.join(", ")),
    }
}

fn wanted(kind: &TypeKind) -> String {
    match kind {
        TypeKind::Single(word) => named(*word).to_owned(),
        TypeKind::Multiple(words) => {
            let words = words.iter().filter(|word| *word != JsonType::Null);
            words.map(named).collect::<Vec<_>>().join(" or ")
        }
    }
}

fn named(word: JsonType) -> &'static str {
    match word {
        JsonType::Array => "a list",
        JsonType::Boolean => "true or false",
        JsonType::Integer => "a whole number",
        JsonType::Null => "nothing",
        JsonType::Number => "a number",
        JsonType::Object => "a table",
        JsonType::String => "text",
    }
}

/// A value, short enough for a message.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => {
            let end = text.floor_char_boundary(MAX_SHOWN);
            let dots = if end < text.len() { "…" } else { "" };
            format!("`{}{dots}`", text.get(..end).unwrap_or_default())
        }
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a table".to_owned(),
        Value::Null => "nothing".to_owned(),
        scalar => format!("`{scalar}`"),
    }
}

const MAX_SHOWN: usize = 60;
