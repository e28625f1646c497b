//! `/metrics`: a page that may be large, made beside what else this API answers.
//!
//! **Invariant:** however many ask, one page is made at a time, on a thread of its own; it leaves
//! compressed where that is understood.

use std::io::{self, Write as _};

use axum::{
    extract::State as Extract,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use flate2::{Compression, write::GzEncoder};
use tokio::task::spawn_blocking;

use super::{
    super::{
        State,
        view::problem::{all_problems, severity},
    },
    Refusal, Shared,
};
use crate::telemetry::{
    metrics::{Format, ProviderReading, Readings, render},
    process::Process,
};

/// Prometheus' text, as Traefik serves it, or OpenMetrics for those who take no text.
pub(super) async fn metrics(Extract(state): Shared, headers: HeaderMap) -> Response {
    let format = Format::wanted(lines(&headers, header::ACCEPT));
    let is_compressed = takes_gzip(lines(&headers, header::ACCEPT_ENCODING));
    let Ok(turn) = state.scrapes.clone().acquire_owned().await else {
        return refused();
    };
    let made = spawn_blocking(move || {
        let _turn = turn;
        let page = render(&readings(&state), format).into_bytes();
        if is_compressed { compressed(&page) } else { Ok(page) }
    });
    let Ok(Ok(page)) = made.await else { return refused() };
    let mut response = ([(header::CONTENT_TYPE, format.media_type())], page).into_response();
    let headers = response.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
    if is_compressed {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

fn readings(state: &State) -> Readings {
    use crate::control::board::ProviderState::{Failed, Stale, Synced, Waiting};
    let (snapshot, board) = (state.admin.live.load(), state.admin.board.load());
    let severities = all_problems(&snapshot, &board);
    let errors = severities.iter().filter(|problem| severity(problem) == "error").count();
    let providers = board.providers.iter().map(|provider| ProviderReading {
        name: provider.name.clone(),
        plugin: provider.plugin.clone(),
        states: [Waiting, Synced, Stale, Failed]
            .map(|one| (one.as_str(), one == provider.state))
            .to_vec(),
        last_success: provider.last_success,
        steps: provider.steps,
        items: provider.items,
    });
    Readings {
        now: std::time::SystemTime::now(),
        started: board.started,
        published: board.published,
        config_in_use: board.config_error.is_none(),
        problems: [errors, severities.len() - errors],
        providers: providers.collect(),
        plugins: board.plugins.iter().map(|it| (it.name.clone(), it.figures.clone())).collect(),
        entrypoints: state.admin.insight.entrypoints(),
        http: state.admin.insight.http(),
        dns: state.admin.insight.dns(),
        certificates: state.admin.insight.certificates(),
        process: Process::read(),
        departed_routers: snapshot.departed_routers.tell(),
        departed_services: snapshot.departed_services.tell(),
        snapshot,
    }
}

fn lines(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    headers.get_all(name).iter().filter_map(|line| line.to_str().ok())
}

/// Whether the lines of `Accept-Encoding` name gzip, and do not refuse it (RFC 9110, 12.5.3).
fn takes_gzip<'a>(mut accepted: impl Iterator<Item = &'a str>) -> bool {
    accepted.any(|line| {
        line.split(',').any(|one| {
            let mut parts = one.split(';').map(str::trim);
            let is_gzip = parts.next().is_some_and(|coding| coding.eq_ignore_ascii_case("gzip"));
            let quality = parts.find_map(|part| part.strip_prefix("q=")?.parse::<f32>().ok());
            is_gzip && quality != Some(0.0)
        })
    })
}

/// Quickly: what repeats itself as this does becomes small in any way.
fn compressed(page: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(page)?;
    encoder.finish()
}

fn refused() -> Response {
    let message = "the page could not be made";
    Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, message).into_response()
}

#[cfg(test)]
mod tests {
    use super::takes_gzip;

    #[test]
    fn gzip_is_for_those_who_name_it() {
        for yes in ["gzip", "deflate, GZIP;q=0.5", "br, gzip ; q=1.0"] {
            assert!(takes_gzip([yes].into_iter()), "{yes}");
        }
        for no in ["", "identity", "gzip;q=0", "br, gzip; q=0.000", "x-gzip2"] {
            assert!(!takes_gzip([no].into_iter()), "{no}");
        }
        assert!(takes_gzip(["br", "gzip"].into_iter()));
    }
}
