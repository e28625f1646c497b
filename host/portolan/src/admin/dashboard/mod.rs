//! The dashboard: a handful of files in the binary, no build step, nothing from elsewhere.

use std::sync::Arc;

use axum::{
    Router,
    http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::get,
};

use super::State;

const HTML: &str = "text/html; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";

/// Path, media type, text.
pub(super) const FILES: [(&str, &str, &str); 8] = [
    ("/", HTML, include_str!("index.html")),
    // Where Traefik's is.
    ("/dashboard/", HTML, include_str!("index.html")),
    ("/dashboard/style.css", "text/css; charset=utf-8", include_str!("style.css")),
    ("/dashboard/app.js", JS, include_str!("app.js")),
    ("/dashboard/sections.js", JS, include_str!("sections.js")),
    ("/dashboard/course.js", JS, include_str!("course.js")),
    ("/dashboard/live.js", JS, include_str!("live.js")),
    ("/dashboard/dom.js", JS, include_str!("dom.js")),
];

/// A route for each file.
pub(super) fn routes() -> Router<Arc<State>> {
    FILES.into_iter().fold(Router::new(), |router, (path, kind, text)| {
        // Changes when the file does, since the file is in the binary.
        let tag = format!("\"{}\"", blake3::hash(text.as_bytes()).to_hex());
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
