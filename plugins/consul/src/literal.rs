//! Go's string literals, as constraints and templates have them.

use crate::fault::Fault;

/// The string that `text` has at `at`, and where it ends; none if what stands there begins no
/// string. Between backticks everything stands for itself; between double quotes a backslash does
/// not.
pub(crate) fn string(text: &str, at: usize) -> Result<Option<(String, usize)>, Fault> {
    let rest = text.get(at..).unwrap_or_default();
    if let Some(body) = rest.strip_prefix('`') {
        return match body.split_once('`') {
            Some((body, _)) => Ok(Some((body.to_owned(), at + body.len() + 2))),
            None => Err(Fault::new(at, "a string that begins with a backtick ends with one")),
        };
    }
    let Some(body) = rest.strip_prefix('"') else { return Ok(None) };
    let mut read = String::new();
    let mut letters = body.char_indices();
    while let Some((place, letter)) = letters.next() {
        match letter {
            '"' => return Ok(Some((read, at + 1 + place + 1))),
            '\n' => break,
            '\\' => read.push(match letters.next() {
                Some((_, letter @ ('\\' | '"'))) => letter,
                Some((_, 'n')) => '\n',
                Some((_, 't')) => '\t',
                _ => {
                    let message = "only \\\\, \\\", \\n and \\t are known between double quotes; \
                        between backticks a backslash is a backslash";
                    return Err(Fault::new(at + 1 + place, message));
                }
            }),
            letter => read.push(letter),
        }
    }
    Err(Fault::new(at, "a string that begins with a double quote ends with one, on its line"))
}

/// Where the name ends that `text` has at `at`: letters, digits and underscores; `at` itself if
/// there is none.
pub(crate) fn name_end(text: &str, at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    if rest.starts_with(|first: char| first.is_ascii_digit()) {
        return at;
    }
    let end = rest.find(|letter: char| !letter.is_alphanumeric() && letter != '_');
    at + end.unwrap_or(rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_as_in_go() {
        let read = |text| string(text, 0).map_err(|fault| fault.told(text));
        assert_eq!(read(r"`a\d` x"), Ok(Some((r"a\d".to_owned(), 5))));
        assert_eq!(read(r#""a\\d\"" x"#), Ok(Some((r#"a\d""#.to_owned(), 8))));
        assert_eq!(read("x"), Ok(None));
        for (text, place) in [("`a", "character 1"), ("\"a\nb\"", "character 1"), (r#""a\d""#, "3")]
        {
            let told = read(text).unwrap_err();
            assert!(told.contains(place), "{told}");
        }
    }
}
