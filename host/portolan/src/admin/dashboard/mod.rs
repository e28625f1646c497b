//! The dashboard: three files in the binary, no build step, nothing from elsewhere.

use std::sync::Arc;

use axum::{
    Router,
    http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::get,
};

use super::State;

/// Changes when a file does, since the files are in the binary.
const TAG_LENGTH: usize = 16;

const FILES: [(&str, &str, &str); 3] = [
    ("/", "text/html; charset=utf-8", include_str!("index.html")),
    ("/dashboard/app.js", "text/javascript; charset=utf-8", include_str!("app.js")),
    ("/dashboard/style.css", "text/css; charset=utf-8", include_str!("style.css")),
];

/// The three files.
pub(super) fn routes() -> Router<Arc<State>> {
    FILES.into_iter().fold(Router::new(), |router, (path, kind, text)| {
        let mut tag = blake3::hash(text.as_bytes()).to_hex().to_string();
        tag.truncate(TAG_LENGTH);
        let tag = format!("\"{tag}\"");
        router.route(path, get(async move |headers: HeaderMap| answer(kind, text, &tag, &headers)))
    })
}

fn answer(kind: &'static str, text: &'static str, tag: &str, asked: &HeaderMap) -> Response {
    // `no-cache`: kept, but asked for again, so that an upgrade shows at once.
    let about = [(CACHE_CONTROL, "no-cache"), (ETAG, tag)];
    let known = asked.get(IF_NONE_MATCH).is_some_and(|value| value.as_bytes() == tag.as_bytes());
    match known {
        true => (StatusCode::NOT_MODIFIED, about).into_response(),
        false => (about, [(CONTENT_TYPE, kind)], text).into_response(),
    }
}
