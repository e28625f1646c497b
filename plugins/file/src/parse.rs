//! Text to JSON, by the name of the file.

use serde_json::Value;

/// What is wrong with a file.
#[derive(Debug, PartialEq)]
pub(crate) struct Problem {
    /// Line and column, from 1.
    pub(crate) place: Option<(usize, usize)>,
    pub(crate) message: String,
}

#[derive(Clone, Copy)]
enum Format {
    Toml,
    Json,
    Yaml,
}

/// Whether the name says that it is configuration.
pub(crate) fn is_known(path: &str) -> bool {
    format(path).is_some()
}

/// The content as the text of a JSON object.
pub(crate) fn parse(path: &str, content: &[u8]) -> Result<String, Problem> {
    let nowhere = |message: &str| Problem { place: None, message: message.to_owned() };
    let format = format(path)
        .ok_or_else(|| nowhere("is neither `.toml` nor `.json` nor `.yaml` by its name"))?;
    let text = std::str::from_utf8(content).map_err(|error| {
        let good = content.get(..error.valid_up_to()).unwrap_or_default();
        let place = Some(place(&String::from_utf8_lossy(good), good.len()));
        Problem { place, message: "is not UTF-8".to_owned() }
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let value = match format {
        Format::Toml => toml(text),
        Format::Json => json(text),
        Format::Yaml => yaml(text),
    };
    match value {
        Ok(object @ Value::Object(_)) => Ok(object.to_string()),
        // An empty YAML file, or one with comments only.
        Ok(Value::Null) => Ok("{}".to_owned()),
        Ok(_) => Err(nowhere("is not a table of keys and values")),
        Err(mut problem) => {
            if text.contains("{{") {
                problem.message += "; templates are not filled in";
            }
            Err(problem)
        }
    }
}

fn format(path: &str) -> Option<Format> {
    match path.rsplit_once('.')?.1.to_ascii_lowercase().as_str() {
        "toml" => Some(Format::Toml),
        "json" => Some(Format::Json),
        "yaml" | "yml" => Some(Format::Yaml),
        _ => None,
    }
}

fn toml(text: &str) -> Result<Value, Problem> {
    toml::from_str(text).map_err(|error| Problem {
        place: error.span().map(|span| place(text, span.start)),
        message: one_line(error.message()),
    })
}

fn json(text: &str) -> Result<Value, Problem> {
    serde_json::from_str(text).map_err(|error| {
        let place = Some((error.line(), error.column().max(1)));
        Problem { place, message: without_place(&error.to_string()) }
    })
}

/// Scalars as Traefik's parser takes them, YAML 1.2: only `true` and `false` are booleans, since `on`
/// and `yes` are the values of headers. A number with zeros before it is text, which it would not be
/// again without them.
fn yaml(text: &str) -> Result<Value, Problem> {
    let options = serde_saphyr::options! {
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let error = error.without_snippet();
        let place = error.location().map(|location| {
            let number = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
            (number(location.line()), number(location.column()))
        });
        Problem { place, message: without_advice(&error.to_string()) }
    })
}

/// Line and column of an offset, from 1.
fn place(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.rsplit('\n').next().unwrap_or_default();
    (before.matches('\n').count() + 1, line.chars().count() + 1)
}

/// The place stands elsewhere.
fn without_place(message: &str) -> String {
    message.rsplit_once(" at line ").map_or(message, |(head, _)| head).to_owned()
}

/// The library ends some messages with advice to programmers.
fn without_advice(message: &str) -> String {
    let message = message.lines().next().unwrap_or_default();
    without_place(message.split_once(", set ").map_or(message, |(head, _)| head))
}

fn one_line(message: &str) -> String {
    message.lines().map(str::trim).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, content: &str, expected: &str) {
        let found = match parse(path, content.as_bytes()) {
            Ok(json) => json,
            Err(Problem { place: Some((line, column)), message }) => {
                format!("{line}:{column}: {message}")
            }
            Err(Problem { place: None, message }) => message,
        };
        assert_eq!(found, expected, "{path}: {content}");
    }

    #[test]
    fn all_formats_say_the_same() {
        let expected = r#"{"http":{"routers":{"a":{"priority":7,"rule":"Path(`/`)"}}}}"#;
        check("a.toml", "[http.routers.a]\nrule = \"Path(`/`)\"\npriority = 7", expected);
        check("a.JSON", expected, expected);
        let yaml = "http:\n  routers:\n    a:\n      rule: Path(`/`)\n      priority: 7\n";
        check("a.yaml", yaml, expected);
        check("d/a.b.yml", yaml, expected);
    }

    #[test]
    fn words_and_numbers_of_yaml_are_the_text_that_they_are_written_as() {
        let expected = r#"{"a":"on","b":"yes","c":"No","d":"0600","e":"y"}"#;
        check("a.yaml", "{ a: on, b: yes, c: No, d: 0600, e: y }", expected);
        let expected = r#"{"a":true,"b":false,"c":1000,"d":1.5,"e":"true","f":"0"}"#;
        check("a.yaml", "{ a: true, b: False, c: 1_000, d: 1.5, e: 'true', f: \"0\" }", expected);
    }

    #[test]
    fn an_empty_file_is_an_empty_table() {
        check("a.toml", "", "{}");
        check("a.yaml", "# nothing yet\n", "{}");
    }

    #[test]
    fn a_mistake_is_named_with_its_place() {
        check("a.toml", "a = 1\nb = [1,\n", "2:8: unclosed array, expected `]`");
        check("a.toml", "a = 1\na = 2", "2:1: duplicate key");
        check("a.json", "{\n  \"a\": 1,\n}", "3:1: trailing comma");
        check("a.json", "", "1:1: EOF while parsing a value");
        check("a.yaml", "a: 1\n  b: [", "2:4: mapping values are not allowed in this context");
        check("a.yaml", "a: 1\na: 2", "2:1: duplicate mapping key: a");
        check("a.yaml", "- a\n", "is not a table of keys and values");
        check("a.json", "[1]", "is not a table of keys and values");
        check("a.txt", "", "is neither `.toml` nor `.json` nor `.yaml` by its name");
    }

    #[test]
    fn a_template_is_told_what_it_is() {
        check(
            "a.yaml",
            "a: {{ env \"X\" }",
            "1:4: unclosed bracket '{'; templates are not filled in",
        );
    }

    #[test]
    fn bytes_that_are_no_text_are_refused() {
        let problem = parse("a.toml", b"a = 1\nb\xff").unwrap_err();
        assert_eq!(problem.place, Some((2, 2)));
    }
}
