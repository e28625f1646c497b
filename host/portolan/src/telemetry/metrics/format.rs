//! The two forms of the page: the text that Traefik serves, and OpenMetrics for those who take no text.
//!
//! **Invariant:** numbers of the text are written as Go writes them (`5`, `0.3`, `1e+06`): a series
//! is known by the text of its labels, and rules that say `le="5"` look for no other.

/// How figures are written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Format {
    /// Prometheus' text, version 0.0.4.
    Text,
    /// OpenMetrics 1.0, text format.
    OpenMetrics,
}

impl Format {
    /// What the lines of `Accept` ask for: the text, unless they name OpenMetrics and take no text.
    ///
    /// Prometheus would rather have OpenMetrics, but Traefik has none to give: whoever has rules for
    /// Traefik's page is to find the same labels here (`le="5"`, where OpenMetrics has `le="5.0"`).
    pub(crate) fn wanted<'a>(accept: impl IntoIterator<Item = &'a str>) -> Self {
        let [mut open, mut text] = [false; 2];
        for range in accept.into_iter().flat_map(|line| line.split(',')) {
            let mut parts = range.split(';').map(|part| part.trim().to_ascii_lowercase());
            let kind = parts.next().unwrap_or_default();
            let quality = parts.find_map(|part| part.strip_prefix("q=")?.trim().parse().ok());
            let is_taken = quality.unwrap_or(1.0) > 0.0;
            match &*kind {
                "application/openmetrics-text" => open |= is_taken,
                "text/plain" | "text/*" | "*/*" => text |= is_taken,
                _ => (),
            }
        }
        if open && !text { Self::OpenMetrics } else { Self::Text }
    }

    /// The media type of the page.
    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// A number that may have a fraction.
    pub(super) fn number(self, value: f64) -> String {
        match self {
            _ if value == f64::INFINITY => "+Inf".to_owned(),
            Self::Text => as_go(value),
            // A whole number shows that it might have had one.
            Self::OpenMetrics => format!("{value:?}"),
        }
    }

    /// A number of things.
    pub(super) fn count(self, value: u64) -> String {
        match self {
            Self::Text => as_go(value as f64),
            Self::OpenMetrics => value.to_string(),
        }
    }
}

/// The shortest text that is this number, as Go's `strconv.FormatFloat(value, 'g', -1, 64)`.
fn as_go(value: f64) -> String {
    let text = format!("{value:e}");
    match text.split_once('e').map(|(digits, exponent)| (digits, exponent.parse::<i32>())) {
        Some((digits, Ok(exponent))) if !(-4..6).contains(&exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.abs())
        }
        _ => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::Format;

    #[test]
    fn numbers_of_the_text_are_those_of_go() {
        for (value, text) in [
            (0.0, "0"),
            (1.0, "1"),
            (5.0, "5"),
            (0.3, "0.3"),
            (1.2, "1.2"),
            (-1.5, "-1.5"),
            (0.0001, "0.0001"),
            (0.000_025, "2.5e-05"),
            (100_000.0, "100000"),
            (123_456.7, "123456.7"),
            (1e6, "1e+06"),
            (1_234_567.0, "1.234567e+06"),
            (1.764_288e9, "1.764288e+09"),
            (1e21, "1e+21"),
            (1e-100, "1e-100"),
            (f64::INFINITY, "+Inf"),
        ] {
            assert_eq!(Format::Text.number(value), text);
        }
        assert_eq!(Format::Text.count(2_000_000), "2e+06");
    }

    #[test]
    fn numbers_of_openmetrics_show_their_kind() {
        let open = Format::OpenMetrics;
        let numbers = [5.0, 0.3, 1e6, f64::INFINITY].map(|value| open.number(value));
        assert_eq!(numbers, ["5.0", "0.3", "1000000.0", "+Inf"]);
        assert_eq!(open.count(2_000_000), "2000000");
    }

    #[test]
    fn openmetrics_is_for_those_who_take_nothing_else() {
        for (accept, format) in [
            ("", Format::Text),
            ("*/*", Format::Text),
            ("text/html, application/xhtml+xml, */*;q=0.8", Format::Text),
            ("text/plain;version=0.0.4;q=0.5,*/*;q=0.1", Format::Text),
            ("application/openmetrics-text", Format::OpenMetrics),
            ("Application/OpenMetrics-Text; version=1.0.0; charset=utf-8", Format::OpenMetrics),
            // Prometheus 2, and 3.
            (
                "application/openmetrics-text;version=1.0.0,\
                 application/openmetrics-text;version=0.0.1;q=0.75,\
                 text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                Format::Text,
            ),
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
                 text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
                 text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
                Format::Text,
            ),
            ("application/openmetrics-text, text/*;q=0.1", Format::Text),
            ("application/openmetrics-text;q=0.1, text/plain;Q=0, text/html", Format::OpenMetrics),
            ("application/openmetrics-text;q=0", Format::Text),
        ] {
            assert_eq!(Format::wanted([accept]), format, "{accept}");
        }
        let lines = ["text/plain;q=0.1", "application/openmetrics-text;q=0.2"];
        assert_eq!(Format::wanted(lines), Format::Text);
    }
}
