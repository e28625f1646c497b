//! In which form a client is told why it gets no answer: what it accepts decides.
//!
//! **Invariant:** nothing that the client sent stands in the page.

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header::ACCEPT};
use portolan_core::exchange::Headers;

/// In which form a client is told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Page {
    /// A line of text.
    Text,
    /// A small page, for browsers.
    Html,
    /// An object.
    Json,
}

/// What a client accepts. It is looked at only when there is something to tell.
#[derive(Clone, Debug)]
pub(crate) struct Taste(Option<HeaderValue>);

impl Taste {
    /// The client of a request with these headers.
    pub(crate) fn of(request: &Headers) -> Self {
        Self(request.value(&ACCEPT))
    }

    /// What it likes best (RFC 9110, 12.5.1): of what it likes alike, text before a page before an
    /// object, so that only who asks for JSON gets it.
    pub(crate) fn page(&self) -> Page {
        let accept = self.0.as_ref().and_then(|accept| accept.to_str().ok()).unwrap_or_default();
        let mut best = (0, Page::Text);
        for (page, quality) in accept.split(',').filter_map(range) {
            let is_better = quality > best.0 || quality == best.0 && page.rank() > best.1.rank();
            if quality > 0 && is_better {
                best = (quality, page);
            }
        }
        best.1
    }
}

impl Page {
    /// The media type.
    pub(super) fn media_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Text => "text/plain; charset=utf-8",
            Self::Html => "text/html; charset=utf-8",
            Self::Json => "application/json",
        })
    }

    /// The page. Reason and sentence are ours, so nothing needs escaping.
    pub(super) fn write(self, status: StatusCode, reason: &str, sentence: &str) -> Bytes {
        let (code, phrase) = (status.as_u16(), status.canonical_reason().unwrap_or_default());
        Bytes::from(match self {
            Self::Text => format!("{code} {phrase}: {sentence}\n"),
            Self::Html => format!(
                "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\">\
                 <meta name=\"viewport\" content=\"width=device-width\">\
                 <title>{code} {phrase}</title>\n\
                 <style>:root{{color-scheme:light dark}}body{{font:1rem/1.5 system-ui,sans-serif;\
                 max-width:32rem;margin:20vh auto;padding:0 1rem}}code{{opacity:.7}}</style>\n\
                 <h1>{code} {phrase}</h1>\n<p>{sentence}.</p>\n<p><code>{reason}</code></p>\n</html>\n"
            ),
            Self::Json => format!(
                "{{\"status\":{code},\"error\":\"{phrase}\",\"reason\":\"{reason}\",\
                 \"message\":\"{sentence}\"}}\n"
            ),
        })
    }

    fn rank(self) -> u8 {
        match self {
            Self::Json => 0,
            Self::Html => 1,
            Self::Text => 2,
        }
    }
}

/// A media range that we can serve, and how much it is liked, in thousandths.
fn range(text: &str) -> Option<(Page, u16)> {
    let mut parts = text.split(';').map(str::trim);
    let kind = parts.next()?.to_ascii_lowercase();
    let page = match kind.as_str() {
        "text/html" | "application/xhtml+xml" => Page::Html,
        "application/json" | "application/*" => Page::Json,
        "text/plain" | "text/*" | "*/*" => Page::Text,
        kind if kind.starts_with("application/") && kind.ends_with("+json") => Page::Json,
        _ => return None,
    };
    // An exact name counts for more than a wildcard of the same quality.
    let exact = u16::from(!kind.ends_with("/*"));
    let quality = parts.find_map(|part| part.strip_prefix("q=")).map(str::parse::<f32>);
    let quality = quality.map_or(1.0, |quality| quality.unwrap_or(0.0).clamp(0.0, 1.0));
    Some((page, if quality > 0.0 { (quality * 1000.0) as u16 * 2 + exact } else { 0 }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(accept: &str) -> Page {
        let mut request = Headers::default();
        request.insert(ACCEPT, HeaderValue::from_str(accept).unwrap());
        Taste::of(&request).page()
    }

    #[test]
    fn a_client_is_told_in_the_form_that_it_likes_best() {
        assert_eq!(Taste::of(&Headers::default()).page(), Page::Text);
        for (accept, expected) in [
            ("*/*", Page::Text),
            ("application/json", Page::Json),
            ("application/problem+json, */*", Page::Json),
            ("application/json, text/plain, */*", Page::Text),
            ("text/html, application/xhtml+xml, application/xml;q=0.9, */*;q=0.8", Page::Html),
            ("text/html;q=0.4, application/json;q=0.5", Page::Json),
            ("application/json;q=0, */*;q=0.1", Page::Text),
            ("image/png", Page::Text),
            ("application/json;q=nonsense", Page::Text),
        ] {
            assert_eq!(page(accept), expected, "{accept}");
        }
    }

    #[test]
    fn every_form_says_status_and_sentence() {
        for page in [Page::Text, Page::Html, Page::Json] {
            let text =
                page.write(StatusCode::NOT_FOUND, "no-router", "no router takes this request");
            let text = std::str::from_utf8(&text).unwrap();
            assert!(text.contains("404") && text.contains("no router takes"), "{text}");
        }
        let text = Page::Json.write(StatusCode::BAD_GATEWAY, "protocol", "a sentence");
        assert_eq!(
            text,
            "{\"status\":502,\"error\":\"Bad Gateway\",\"reason\":\"protocol\",\
             \"message\":\"a sentence\"}\n"
        );
    }
}
