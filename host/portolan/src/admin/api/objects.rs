//! Routers, services and middlewares: lists, single ones, and all at once.
//!
//! **Invariant:** the shapes are those of Traefik 3 (`pkg/api`), ids are `name@provider`.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json, Router,
    extract::{Path, Query, State as Extract, rejection::PathRejection},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use portolan_core::{
    name::fold,
    snapshot::{Entries, Entry, MiddlewareEntry, RouterEntry, ServiceEntry, Snapshot, Status},
};
use serde::Serialize;
use serde_json::{Value, json};

use super::{Parameters, Refusal, Shared, id};
use crate::{
    admin::{
        State,
        left_out::ByService,
        page::Wanted,
        view::http::{MiddlewareView, Named, RouterView},
        view::service::ServiceView,
    },
    control::board::{Board, EntrypointReport},
};

/// The part of the API that Traefik has too.
pub(super) fn routes() -> Router<Arc<State>> {
    let none = || {
        get(async |Query(parameters): Parameters| {
            let page = Wanted::parse(parameters)?;
            let page = page.cut::<Value>(&[])?;
            Ok::<_, Refusal>(page.answer(&page.items))
        })
    };
    Router::new()
        .route("/api/http/routers", get(list::<RouterEntry>))
        .route("/api/http/routers/{id}", get(one::<RouterEntry>))
        .route("/api/http/services", get(list::<ServiceEntry>))
        .route("/api/http/services/{id}", get(one::<ServiceEntry>))
        .route("/api/http/middlewares", get(list::<MiddlewareEntry>))
        .route("/api/http/middlewares/{id}", get(one::<MiddlewareEntry>))
        .route("/api/rawdata", get(rawdata))
        // There are none, but tools that list everything ask.
        .route("/api/tcp/routers", none())
        .route("/api/tcp/services", none())
        .route("/api/tcp/middlewares", none())
        .route("/api/udp/routers", none())
        .route("/api/udp/services", none())
}

/// What else must be known to show something.
struct Around<'a> {
    left_out: ByService<'a>,
    entrypoints: &'a [EntrypointReport],
}

impl<'a> Around<'a> {
    fn new(snapshot: &'a Snapshot, board: &'a Board) -> Self {
        Self { left_out: ByService::new(snapshot), entrypoints: &board.entrypoints }
    }
}

/// Something of which there is a list.
trait Object: Sized + 'static {
    /// How it looks.
    type View: Serialize;
    /// The word for it.
    const KIND: &'static str;

    fn all(snapshot: &Snapshot) -> &Entries<Self>;
    fn entry(&self) -> &Entry;
    fn view(&self, around: &Around<'_>) -> Named<Self::View>;
    /// Whether the parameters beside `status` let it through.
    fn is_wanted(&self, wanted: &Wanted, name: &str) -> bool;
    /// What it is sorted by, beside name, provider and status.
    fn key(&self, by: &str) -> String;
    /// What may be said of one that is not there.
    fn absent(_name: &str, _left_out: &ByService<'_>) -> String {
        String::new()
    }
}

impl Object for RouterEntry {
    type View = RouterView;
    const KIND: &'static str = "router";

    fn all(snapshot: &Snapshot) -> &Entries<Self> {
        &snapshot.routers
    }

    fn entry(&self) -> &Entry {
        &self.entry
    }

    fn view(&self, around: &Around<'_>) -> Named<RouterView> {
        RouterView::named(self, around.entrypoints)
    }

    fn is_wanted(&self, wanted: &Wanted, name: &str) -> bool {
        let service = wanted.get("serviceName");
        let middleware = wanted.get("middlewareName");
        let entrypoint = wanted.get("entryPoint");
        wanted.finds([name, &*self.rule])
            // As it is written, which is how Traefik's dashboard asks, or with the provider.
            && service.is_none_or(|wanted| {
                self.reference.as_deref() == Some(wanted) || self.service.as_deref() == Some(wanted)
            })
            && middleware.is_none_or(|wanted| self.middlewares.iter().any(|it| it == wanted))
            && entrypoint.is_none_or(|wanted| self.entrypoints.iter().any(|it| **it == *wanted))
    }

    fn key(&self, by: &str) -> String {
        match by {
            "rule" => (*self.rule).to_owned(),
            "service" => self.reference.as_deref().unwrap_or_default().to_owned(),
            "entryPoints" => self.entrypoints.join(","),
            // Offset and padded, so that texts sort as the numbers do.
            "priority" => format!("{:039}", i128::from(self.priority) - i128::from(i64::MIN)),
            _ => String::new(),
        }
    }
}

impl Object for ServiceEntry {
    type View = ServiceView;
    const KIND: &'static str = "service";

    fn all(snapshot: &Snapshot) -> &Entries<Self> {
        &snapshot.services
    }

    fn entry(&self) -> &Entry {
        &self.entry
    }

    fn view(&self, around: &Around<'_>) -> Named<ServiceView> {
        ServiceView::named(self, &around.left_out)
    }

    fn absent(name: &str, left_out: &ByService<'_>) -> String {
        left_out.get(name).iter().map(|it| format!("; {it}")).collect()
    }

    fn is_wanted(&self, wanted: &Wanted, name: &str) -> bool {
        wanted.finds([name])
    }

    fn key(&self, by: &str) -> String {
        match by {
            "type" => self.live.as_ref().map_or("", |live| live.kind.as_str()).to_owned(),
            "servers" => {
                format!("{:020}", self.live.as_ref().map_or(0, |live| live.backends.len()))
            }
            _ => String::new(),
        }
    }
}

impl Object for MiddlewareEntry {
    type View = MiddlewareView;
    const KIND: &'static str = "middleware";

    fn all(snapshot: &Snapshot) -> &Entries<Self> {
        &snapshot.middlewares
    }

    fn entry(&self) -> &Entry {
        &self.entry
    }

    fn view(&self, _around: &Around<'_>) -> Named<MiddlewareView> {
        MiddlewareView::named(self)
    }

    fn is_wanted(&self, wanted: &Wanted, name: &str) -> bool {
        wanted.finds([name, &*self.plugin])
    }

    fn key(&self, by: &str) -> String {
        if by == "type" { fold(&self.plugin) } else { String::new() }
    }
}

async fn list<T: Object>(
    Extract(state): Shared,
    Query(parameters): Parameters,
) -> Result<Response, Refusal> {
    let wanted = Wanted::parse(parameters)?;
    let snapshot = state.admin.live.load();
    let mut list: Vec<(String, &T)> = T::all(&snapshot)
        .iter()
        .map(|object| (object.entry().name.to_string(), object))
        .filter(|(name, object)| {
            wanted.accepts("status", object.entry().status.as_str())
                && wanted.accepts("provider", &object.entry().name.provider)
                && object.is_wanted(&wanted, name)
        })
        .collect();
    wanted.sort(&mut list, |(name, object), by| match by {
        "name" => name.clone(),
        "provider" => (*object.entry().name.provider).to_owned(),
        "status" => object.entry().status.as_str().to_owned(),
        // Ours: what is not in use comes first, then what is doubtful.
        "trouble" => trouble(object.entry().status).to_owned(),
        by => object.key(by),
    });
    let page = wanted.cut(&list)?;
    let board = state.admin.board.load();
    let around = Around::new(&snapshot, &board);
    let views: Vec<_> = page.items.iter().map(|(_, object)| object.view(&around)).collect();
    Ok(page.answer(&views))
}

fn trouble(status: Status) -> &'static str {
    match status {
        Status::Disabled => "0",
        Status::Warning => "1",
        Status::Enabled => "2",
    }
}

async fn one<T: Object>(
    Extract(state): Shared,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, Refusal> {
    let id = id(path, T::KIND)?;
    let snapshot = state.admin.live.load();
    let found = T::all(&snapshot).iter().find(|object| object.entry().name.to_string() == id);
    let board = state.admin.board.load();
    let around = Around::new(&snapshot, &board);
    match found {
        Some(object) => Ok(Json(object.view(&around)).into_response()),
        None => {
            let message =
                format!("{} not found: {id}{}", T::KIND, T::absent(&id, &around.left_out));
            Err(Refusal::new(StatusCode::NOT_FOUND, message))
        }
    }
}

async fn rawdata(Extract(state): Shared) -> Json<Value> {
    let snapshot = state.admin.live.load();
    let board = state.admin.board.load();
    let Around { left_out, entrypoints } = Around::new(&snapshot, &board);
    let routers = keyed(&snapshot.routers, |it| RouterView::of(it, entrypoints));
    let services = keyed(&snapshot.services, |it| ServiceView::of(it, &left_out));
    let middlewares = keyed(&snapshot.middlewares, MiddlewareView::of);
    let kinds = [("routers", routers), ("services", services), ("middlewares", middlewares)];
    // Traefik leaves out what is empty.
    let kinds =
        kinds.into_iter().filter(|(_, all)| all.as_object().is_some_and(|it| !it.is_empty()));
    Json(kinds.map(|(kind, all)| (kind.to_owned(), all)).collect())
}

fn keyed<T: Object, V: Serialize>(all: &Entries<T>, view: impl Fn(&T) -> V) -> Value {
    let map: BTreeMap<String, V> =
        all.iter().map(|it| (it.entry().name.to_string(), view(it))).collect();
    json!(map)
}
