//! Certificates: a list, and single ones by their fingerprint.
//!
//! **Invariant:** the shapes are those of Traefik 3 (`pkg/api/certificate.go`).

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Path, Query, State as Extract, rejection::PathRejection},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};

use super::{Parameters, Refusal, Shared, id};
use crate::admin::{State, page::Wanted, view::certificate::CertificateView};

/// Certificates, as Traefik tells them.
pub(super) fn routes() -> Router<Arc<State>> {
    Router::new().route("/api/certificates", get(list)).route("/api/certificates/{id}", get(one))
}

async fn list(Extract(state): Shared, Query(parameters): Parameters) -> Result<Response, Refusal> {
    let wanted = Wanted::parse(parameters)?;
    let mut list = CertificateView::all(&state.admin.insight.certificates());
    list.retain(|it| wanted.accepts("status", it.status) && wanted.finds(it.texts()));
    wanted.sort(&mut list, |it, by| it.key(by));
    let page = wanted.cut(&list)?;
    Ok(page.answer(&page.items))
}

async fn one(
    Extract(state): Shared,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, Refusal> {
    let name = id(path, "certificate")?;
    let all = CertificateView::all(&state.admin.insight.certificates());
    match all.into_iter().find(|it| it.name == name) {
        Some(certificate) => Ok(Json(certificate).into_response()),
        None => Err(Refusal::new(StatusCode::NOT_FOUND, format!("certificate not found: {name}"))),
    }
}
