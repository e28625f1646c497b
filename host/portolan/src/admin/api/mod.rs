//! Who answers what: every path of the admin API.
//!
//! **Invariant:** every route is a `GET`, but for one that makes DNS forget; every error is `{"message": …}` with a status of its own,
//! as in Traefik's API. Each answer is made from one snapshot and one board.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Path, Query, State as Extract, rejection::PathRejection},
    http::StatusCode,
    middleware,
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use portolan_core::zone::{Name, NameView};
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    State, dashboard,
    events::events,
    explain::{self, Question},
    guard::guard,
    left_out,
    page::Wanted,
    view::{
        entrypoint::EntrypointView,
        overview::{DnsView, Overview},
        plugin::PluginView,
        problem::{ProblemView, all_problems, severity},
        provider::ProviderView,
        stamp,
        upstream::UpstreamView,
    },
};

mod certificates;
mod objects;
mod scrape;

type Shared = Extract<Arc<State>>;
type Parameters = Query<Vec<(String, String)>>;

/// Every path, behind the guard.
pub(super) fn routes(state: Arc<State>) -> Router {
    Router::new()
        .route("/api/overview", get(overview))
        .merge(objects::routes())
        .merge(certificates::routes())
        .route("/api/entrypoints", get(entrypoints))
        .route("/api/entrypoints/{name}", get(entrypoint))
        .route("/api/version", get(version))
        .route("/api/plugins", get(plugins))
        .route("/api/dns", get(dns))
        .route("/api/dns/flush", post(flush_dns))
        .route("/api/dns/upstreams", get(upstreams))
        .route("/api/providers", get(providers))
        .route("/api/problems", get(problems))
        .route("/api/left-out", get(left_out))
        .route("/api/explain", get(explanation))
        .route("/api/events", get(events))
        .route("/metrics", get(scrape::metrics))
        .route("/ping", get(ping))
        // What routers lead to that say `ping@internal` or `prometheus@internal`, whatever their paths.
        .route("/internal/ping/", get(ping))
        .route("/internal/ping/{*path}", get(ping))
        .route("/internal/metrics/", get(scrape::metrics))
        .route("/internal/metrics/{*path}", get(scrape::metrics))
        .route("/dashboard", get(async || Redirect::permanent("/dashboard/")))
        .merge(dashboard::routes())
        .fallback(async || Refusal::new(StatusCode::NOT_FOUND, "there is nothing here"))
        .method_not_allowed_fallback(async || {
            Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "this API is read-only")
        })
        .layer(middleware::from_fn_with_state(state.clone(), guard))
        .with_state(state)
}

/// An answer that is not the one that was asked for.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    message: String,
}

impl Refusal {
    /// A status, and one sentence.
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    /// The question makes no sense.
    pub(super) fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, Json(json!({ "message": self.message }))).into_response()
    }
}

/// The name in a path, decoded; one that is no text names nothing.
fn id(path: Result<Path<String>, PathRejection>, kind: &str) -> Result<String, Refusal> {
    let Ok(Path(id)) = path else {
        return Err(Refusal::bad(format!("this names no {kind}")));
    };
    Ok(id)
}

async fn overview(Extract(state): Shared) -> Response {
    let admin = &state.admin;
    Json(Overview::of(&admin.live.load(), &admin.board.load(), &*admin.insight)).into_response()
}

/// Those for HTTP, as in Traefik; with `all=true` also where DNS and this API are.
async fn entrypoints(
    Extract(state): Shared,
    Query(parameters): Parameters,
) -> Result<Response, Refusal> {
    let (wanted, admin) = (Wanted::parse(parameters)?, &state.admin);
    let mut all = EntrypointView::all(&admin.board.load(), &admin.insight.entrypoints());
    let are_all_wanted = wanted.get("all") == Some("true");
    all.retain(|it| (are_all_wanted || it.is_http()) && wanted.finds([it.name.as_str()]));
    all.sort_by(|one, other| one.name.cmp(&other.name));
    let page = wanted.cut(&all)?;
    Ok(page.answer(&page.items))
}

async fn entrypoint(
    Extract(state): Shared,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, Refusal> {
    let name = id(path, "entrypoint")?;
    let admin = &state.admin;
    let all = EntrypointView::all(&admin.board.load(), &admin.insight.entrypoints());
    match all.into_iter().find(|entrypoint| entrypoint.name == name) {
        Some(entrypoint) => Ok(Json(entrypoint).into_response()),
        None => Err(Refusal::new(StatusCode::NOT_FOUND, format!("entry point not found: {name}"))),
    }
}

async fn version(Extract(state): Shared) -> Json<Value> {
    // The capitals are Traefik's.
    Json(json!({
        "Version": env!("CARGO_PKG_VERSION"),
        "Codename": "portolan",
        "startDate": stamp(state.admin.board.load().started),
    }))
}

async fn plugins(Extract(state): Shared) -> Json<Vec<PluginView>> {
    Json(PluginView::all(&state.admin.board.load()))
}

async fn providers(Extract(state): Shared) -> Json<Vec<ProviderView>> {
    Json(state.admin.board.load().providers.iter().map(ProviderView::of).collect())
}

async fn problems(
    Extract(state): Shared,
    Query(parameters): Parameters,
) -> Result<Response, Refusal> {
    let wanted = Wanted::parse(parameters)?;
    let (snapshot, board) = (state.admin.live.load(), state.admin.board.load());
    let mut list: Vec<_> = all_problems(&snapshot, &board).into_iter().collect();
    list.retain(|it| {
        wanted.accepts("severity", severity(it))
            && wanted.finds([it.source.as_str(), &it.origin, &it.message, &it.path])
    });
    let page = wanted.cut(&list)?;
    let items: Vec<_> = page.items.iter().map(|it| ProblemView::of(it)).collect();
    Ok(page.answer(&items))
}

/// What HTTP does without, and why.
async fn left_out(
    Extract(state): Shared,
    Query(parameters): Parameters,
) -> Result<Response, Refusal> {
    let wanted = Wanted::parse(parameters)?;
    let mut list = left_out::all(&state.admin.live.load());
    list.retain(|it| {
        let texts = [it.service.as_str(), &it.reason];
        wanted.finds(texts.into_iter().chain(it.instances.iter().map(String::as_str)))
    });
    let page = wanted.cut(&list)?;
    Ok(page.answer(&page.items))
}

#[derive(Serialize)]
struct DnsPage<'a> {
    total: usize,
    zones: Vec<ZoneView<'a>>,
    figures: DnsView,
    upstreams: Vec<UpstreamView>,
    names: Vec<Value>,
}

#[derive(Serialize)]
struct ZoneView<'a> {
    /// `null`: names of routers that lie in no zone.
    zone: Option<&'a str>,
    names: usize,
}

/// Forgets what upstreams said of `name` and of all below it, or of everything.
async fn flush_dns(
    Extract(state): Shared,
    Query(parameters): Parameters,
) -> Result<Response, Refusal> {
    let mut name = None;
    for (key, value) in parameters {
        match key.as_str() {
            "name" => {
                let parsed = Name::parse(&value);
                let complain = |error| Refusal::bad(format!("`{value}` is not a name: {error}"));
                name = Some(parsed.map_err(complain)?);
            }
            _ => return Err(Refusal::bad(format!("unknown parameter `{key}`: there is `name`"))),
        }
    }
    state.admin.insight.flush_dns(name);
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Upstream resolvers, and how they are.
async fn upstreams(Extract(state): Shared) -> Json<Vec<UpstreamView>> {
    Json(UpstreamView::all(&state.admin.insight.dns().upstreams))
}

/// `?search= &zone= &kind= &page= &per_page=`; the totals are those of all names.
async fn dns(Extract(state): Shared, Query(parameters): Parameters) -> Result<Response, Refusal> {
    let wanted = Wanted::parse(parameters)?;
    let snapshot = state.admin.live.load();
    let mut names: Vec<NameView> = snapshot.zones.names().collect();
    names.sort_by(|left, right| (&left.zone, &left.name).cmp(&(&right.zone, &right.name)));
    let zones = names.chunk_by(|left, right| left.zone == right.zone);
    let zones = zones.filter_map(|names| {
        Some(ZoneView { zone: names.first()?.zone.as_deref(), names: names.len() })
    });
    let list: Vec<_> = names
        .iter()
        .filter(|it| wanted.accepts("zone", it.zone.as_deref().unwrap_or_default()))
        .filter(|it| wanted.accepts("kind", it.kind.as_str()))
        .filter(|it| wanted.finds(it.records.iter().chain([&it.name]).map(String::as_str)))
        .collect();
    let page = wanted.cut(&list)?;
    let items = page.items.iter().map(|it| {
        let records: Vec<_> = it.records.iter().map(|text| explain::record(text)).collect();
        json!({
            "name": it.name,
            "zone": it.zone,
            "kind": it.kind.as_str(),
            "records": records,
            "instances": it.instances.map(|(usable, total)| json!({ "usable": usable, "total": total })),
        })
    });
    let reading = state.admin.insight.dns();
    Ok(page.answer(&DnsPage {
        total: names.len(),
        zones: zones.collect(),
        figures: DnsView::of(&reading),
        upstreams: UpstreamView::all(&reading.upstreams),
        names: items.collect(),
    }))
}

/// `?method= &url= &header=name: value &client= &entrypoint=`; `header` may stand many times.
async fn explanation(
    Extract(state): Shared,
    Query(parameters): Parameters,
) -> Result<Response, Refusal> {
    let mut question = Question { method: "GET".to_owned(), ..Question::default() };
    for (key, value) in parameters {
        match key.as_str() {
            "method" if !value.is_empty() => question.method = value,
            "url" => question.url = value,
            "client" => question.client = value,
            "entrypoint" => question.entrypoint = value,
            "header" => match value.split_once(':') {
                Some((name, line)) => question.headers.push((name.to_owned(), line.to_owned())),
                None => return Err(Refusal::bad(format!("`{value}` is no header line"))),
            },
            _ => {}
        }
    }
    let admin = &state.admin;
    let (snapshot, board) = (admin.live.load(), admin.board.load());
    let explanation = explain::explain(&question, &snapshot, &board, &*admin.insight);
    Ok(Json(explanation.map_err(Refusal::bad)?).into_response())
}

async fn ping(Extract(state): Shared) -> (StatusCode, &'static str) {
    match *state.drain.borrow() {
        false => (StatusCode::OK, "OK"),
        true => (StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable"),
    }
}
