//! Where a reference leads from a URL (RFC 3986, 5.2).

use http::Uri;

/// The absolute URL that a reference is short for; `None`: it is absolute already, or empty.
pub(super) fn resolve(base: &Uri, reference: &str) -> Option<String> {
    if reference.is_empty() || has_scheme(reference) {
        return None;
    }
    let scheme = base.scheme_str().unwrap_or("http");
    if let Some(rest) = reference.strip_prefix("//") {
        let (authority, path) = split(rest, &['/', '?', '#']);
        let (path, behind) = split(path, &['?', '#']);
        return Some(format!("{scheme}://{authority}{}{behind}", without_dots(path)));
    }
    let authority = base.authority().map(http::uri::Authority::as_str).unwrap_or_default();
    let (path, behind) = split(reference, &['?', '#']);
    let path = match path {
        // Of the same document: what it says stands behind the whole of the path, and without a query
        // behind that one, too.
        "" if behind.starts_with('#') => {
            let query = base.query().map(|query| format!("?{query}")).unwrap_or_default();
            format!("{}{query}", base.path())
        }
        "" => base.path().to_owned(),
        path if path.starts_with('/') => without_dots(path),
        path => {
            let folder = base.path().rfind('/').and_then(|end| base.path().get(..=end));
            without_dots(&format!("{}{path}", folder.unwrap_or("/")))
        }
    };
    Some(format!("{scheme}://{authority}{path}{behind}"))
}

/// Up to the first of these, and from there on.
fn split<'a>(text: &'a str, ends: &[char]) -> (&'a str, &'a str) {
    let end = text.find(ends).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

/// Whether it begins with a scheme (RFC 3986, 3.1).
fn has_scheme(reference: &str) -> bool {
    let (scheme, behind) = split(reference, &[':', '/', '?', '#']);
    behind.starts_with(':')
        && scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

/// A path without `.` and `..` (RFC 3986, 5.2.4).
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').peekable();
    // Nothing stands before the first slash.
    if path.starts_with('/') {
        segments.next();
    }
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                if is_last {
                    kept.push("");
                }
            }
            other => kept.push(other),
        }
    }
    match path {
        "" => String::new(),
        _ => format!("/{}", kept.join("/")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(base: &str, reference: &str) -> Option<String> {
        resolve(&base.parse().unwrap(), reference)
    }

    #[test]
    fn a_reference_leads_where_rfc_3986_says() {
        // The examples of its section 5.4, as far as they are of http.
        for (reference, expected) in [
            ("g", "http://a/b/c/g"),
            ("./g", "http://a/b/c/g"),
            ("g/", "http://a/b/c/g/"),
            ("/g", "http://a/g"),
            ("//g", "http://g"),
            ("?y", "http://a/b/c/d;p?y"),
            ("g?y", "http://a/b/c/g?y"),
            ("#s", "http://a/b/c/d;p?q#s"),
            ("g#s", "http://a/b/c/g#s"),
            (";x", "http://a/b/c/;x"),
            ("g;x?y#s", "http://a/b/c/g;x?y#s"),
            (".", "http://a/b/c/"),
            ("./", "http://a/b/c/"),
            ("..", "http://a/b/"),
            ("../g", "http://a/b/g"),
            ("../../g", "http://a/g"),
            ("../../../g", "http://a/g"),
            ("/./g", "http://a/g"),
            ("/../g", "http://a/g"),
            ("g.", "http://a/b/c/g."),
            ("..g", "http://a/b/c/..g"),
            ("./g/.", "http://a/b/c/g/"),
            ("g/../h", "http://a/b/c/h"),
            ("g?y/../x", "http://a/b/c/g?y/../x"),
        ] {
            let found = resolved("http://a/b/c/d;p?q", reference);
            assert_eq!(found.as_deref(), Some(expected), "{reference}");
        }
    }

    #[test]
    fn what_is_absolute_is_left_alone() {
        for reference in ["https://login.local/x/../y?rd=a", "mailto:a@b", "g:h", ""] {
            assert_eq!(resolved("http://a/b", reference), None, "{reference}");
        }
        let found = resolved("https://auth:9091", "/login?rd=http://a");
        assert_eq!(found.as_deref(), Some("https://auth:9091/login?rd=http://a"));
        assert_eq!(resolved("http://a", "a:80x/b").as_deref(), None);
        assert_eq!(resolved("http://a", "1:b").as_deref(), Some("http://a/1:b"));
    }
}
