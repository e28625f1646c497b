//! Asks another server whether a request may pass: Traefik's `forwardAuth`. What it is asked and what its
//! answer means stands in `core::forward_auth`.
//!
//! **Invariant:** without an answer nobody passes; what is kept of a body is bounded.

use std::{
    future::poll_fn,
    pin::Pin,
    rc::Rc,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use hyper::body::Body as HttpBody;
use portolan_core::{
    edit::Edit,
    exchange::{Exchange, Reply, ResponseHead},
    forward_auth::ForwardAuth,
    middleware::Middleware,
};

use super::{
    account::{Account, Notes},
    body::{Body, Content, RequestBody, StreamError},
    edge::Edge,
    errand::{Asker, Errand},
    forward::Answer,
    headers::{self, Hop},
    mirror::discard,
    rescue::{AskError, ForwardError},
    send::send,
};

/// What belongs to a request and is not in its exchange.
#[derive(Debug)]
pub(crate) struct Apart<'a> {
    pub(crate) hop: &'a Hop,
    /// Its body, which nobody has begun to read.
    pub(crate) content: &'a mut Content,
    /// How long its client may pause within that.
    pub(crate) patience: Duration,
}

/// What was decided.
#[derive(Debug)]
pub(crate) enum Asked {
    /// It passes, and so much is to be changed of its response.
    Passes(Option<Edit>),
    /// It does not.
    Refused(Reply),
}

/// Asks whether a request may pass.
///
/// # Errors
///
/// When that cannot be found out.
pub(crate) async fn ask(
    edge: &Rc<Edge>,
    middleware: &Middleware,
    authority: &ForwardAuth,
    exchange: &mut Exchange,
    apart: &mut Apart<'_>,
    account: &mut Account,
) -> Result<Asked, AskError> {
    let body = match authority.options().body {
        Some(limit) => record(apart, limit, account).await?,
        None => RequestBody::EMPTY,
    };
    let mut answer =
        answer(edge, middleware, authority, exchange, apart.hop, body, account).await?;
    let passes = ForwardAuth::lets_pass(&answer.head);
    if let Some(user) = authority.user(&answer.head) {
        let key = if passes { "auth.subject" } else { "auth.claimed" };
        exchange.set_attribute(key.to_owned(), user.to_owned());
    }
    if passes {
        let later = authority.admit(&answer.head, exchange);
        leave(answer);
        return Ok(Asked::Passes(later));
    }
    let headers = std::mem::take(&mut answer.head.headers);
    let head = ResponseHead { headers, ..answer.head };
    let content = match authority.is_content_needless(&head) {
        true => {
            leave(answer);
            Bytes::new()
        }
        false => gathered(answer.body, authority.options().max_answer).await?,
    };
    Ok(Asked::Refused(authority.refusal(&head, content)))
}

/// Asks, and waits for the head of the answer.
async fn answer(
    edge: &Rc<Edge>,
    middleware: &Middleware,
    authority: &ForwardAuth,
    exchange: &Exchange,
    hop: &Hop,
    body: RequestBody,
    account: &mut Account,
) -> Result<Answer, AskError> {
    let mut question = authority.question(exchange);
    let hop = headers::ask(&mut question.headers, hop);
    account.ask(middleware, authority.service(), &mut question);
    let asker = Asker { ip: exchange.peer.address.ip(), begin: Instant::now() };
    let errand = Errand::of(&question, asker, hop, body, None, (None, None));
    // It is none of the services that are counted.
    let mut stray = Notes::Account(account).copy();
    let answer = send(edge, authority.service(), errand, Notes::Stray(&mut stray)).await;
    account.asked(answer.as_ref().map(|answer| &answer.head).map_err(ForwardError::reason));
    answer.map_err(AskError::NoAnswer)
}

/// Reads the body of a request, which is there for the backend still, and answers it once more.
async fn record(
    apart: &mut Apart<'_>,
    limit: u64,
    account: &mut Account,
) -> Result<RequestBody, AskError> {
    let content = std::mem::replace(apart.content, Content::Empty);
    let body = RequestBody::of(content, account, apart.patience);
    if body.size_hint().lower() > limit {
        return Err(AskError::BodyTooLong(limit));
    }
    let mut body = body.recorded(limit);
    let (Some(spare), Some(once_more)) = (body.copy(), body.copy()) else {
        return Err(AskError::BodyTooLong(limit));
    };
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        frame.map_err(|error| AskError::Client(of_client(error)))?;
        if !spare.is_fresh() {
            return Err(AskError::BodyTooLong(limit));
        }
    }
    *apart.content = spare.into_content();
    Ok(once_more)
}

fn of_client(error: StreamError) -> ForwardError {
    match error.is_slow() {
        true => ForwardError::Slow,
        false => ForwardError::Client(error),
    }
}

/// The content of an answer.
async fn gathered(mut body: Body, limit: u64) -> Result<Bytes, AskError> {
    if body.size_hint().lower() > limit {
        return Err(AskError::AnswerTooLong(limit));
    }
    let mut content = BytesMut::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let Ok(data) = frame.map_err(AskError::Broken)?.into_data() else { continue };
        if (content.len() + data.len()) as u64 > limit {
            return Err(AskError::AnswerTooLong(limit));
        }
        content.extend_from_slice(&data);
    }
    Ok(content.freeze())
}

/// The rest of an answer does not matter, but for its connection.
fn leave(answer: Answer) {
    if !answer.body.is_end_stream() {
        discard(Some(answer), None);
    }
}
