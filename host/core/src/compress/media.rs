//! Media types (RFC 9110, 8.3.1), as far as they matter here.

/// Types of images that are not compressed by themselves.
const PLAIN_IMAGES: [&str; 6] = [
    "image/svg+xml",
    "image/bmp",
    "image/x-ms-bmp",
    "image/x-icon",
    "image/vnd.microsoft.icon",
    "image/x-portable-*",
];

/// Others that are.
const COMPRESSED: [&str; 19] = [
    "audio/*",
    "video/*",
    "image/*",
    "font/woff",
    "font/woff2",
    "application/font-woff*",
    "application/x-font-woff*",
    "application/zip",
    "application/x-zip-compressed",
    "application/gzip",
    "application/x-gzip",
    "application/zstd",
    "application/x-bzip2",
    "application/x-xz",
    "application/x-7z-compressed",
    "application/vnd.rar",
    "application/x-rar-compressed",
    "application/java-archive",
    "application/vnd.openxmlformats-officedocument.*",
];

/// Whether a `Content-Type` is of such a type, whatever its parameters: `text/html`, or all that begin so:
/// `text/*`.
pub(super) fn is(kind: &[u8], range: &str) -> bool {
    let kind = essence(kind);
    match range.strip_suffix('*') {
        None => kind.eq_ignore_ascii_case(range.as_bytes()),
        Some(begin) => {
            let begin = begin.as_bytes();
            kind.get(..begin.len()).is_some_and(|it| it.eq_ignore_ascii_case(begin))
        }
    }
}

/// Whether it is gRPC, which compresses its messages itself, and whose clients decode nothing else.
pub(super) fn is_grpc(kind: &[u8]) -> bool {
    is(kind, "application/grpc") || is(kind, "application/grpc+*")
}

/// Whether it would gain nothing.
pub(super) fn is_compressed(kind: &[u8]) -> bool {
    let is_among = |ranges: &[&str]| ranges.iter().any(|range| is(kind, range));
    // Nearly all that is compressed here is text.
    !is(kind, "text/*")
        && (essence(kind).ends_with(b"+zip") || is_among(&COMPRESSED))
        && !is_among(&PLAIN_IMAGES)
}

/// Whether it is a type, or all of a kind: `text/*`.
pub(super) fn is_range(text: &str) -> bool {
    let is_token = |text: &str| {
        !text.is_empty()
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'+-.^_`|~".contains(&byte))
    };
    match text.split_once('/') {
        Some((kind, subtype)) => is_token(kind) && (subtype == "*" || is_token(subtype)),
        None => false,
    }
}

fn essence(kind: &[u8]) -> &[u8] {
    kind.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii()
}
