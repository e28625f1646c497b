//! Middleware: what the host does for it, and the hooks it is called for.

use crate::{
    Action, Header, Plugin, Predicate, Proceed, Redirect, Reply, Request, Response,
    ResponseVerdict, Rewriting, Verdict, bindings::interest::interface as wire,
};

/// A step between a router and its service.
///
/// What can be said in a plan (set this header, strip that prefix, redirect, answer) the host does
/// itself, at the cost of native code. Only what depends on more than a [`Predicate`] needs a hook.
pub trait Middleware: Plugin {
    /// What the host does for this binding, and when its hooks are called. Asked once.
    fn interest(&self) -> Interest {
        Interest::default()
    }
}

/// Middleware that looks at requests.
pub trait OnRequest: Middleware {
    /// Called once for a request, outermost middleware first. Changes to the request are applied
    /// when this returns [`Verdict::Proceed`]; after a panic they are forgotten.
    fn on_request(&self, request: &Request) -> Verdict;
}

/// Middleware that looks at responses.
pub trait OnResponse: Middleware {
    /// Called once for a response, innermost middleware first. `context` is what the request hook
    /// of the same request said with [`Verdict::with_response`], else 0; `request` is the request
    /// as it was sent on.
    fn on_response(&self, context: u64, request: &Request, response: &Response) -> ResponseVerdict;
}

/// What the host does for a binding, and when its hooks are called.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Interest {
    plan: Vec<(Option<Predicate>, Vec<Action>)>,
    when: Option<Predicate>,
    is_planned: bool,
    request_headers: Vec<String>,
    response_headers: Vec<String>,
}

impl Interest {
    /// A plan of one step, for every request.
    pub fn plan(actions: impl IntoIterator<Item = Action>) -> Self {
        Self::default().always(actions)
    }

    /// Adds a step that is done for every request. Actions that touch the response are done on
    /// the way back.
    #[must_use]
    pub fn always(mut self, actions: impl IntoIterator<Item = Action>) -> Self {
        let actions: Vec<_> = actions.into_iter().collect();
        if !actions.is_empty() {
            self.plan.push((None, actions));
        }
        self
    }

    /// Adds a step that is done for the requests that the predicate is true for.
    #[must_use]
    pub fn step(mut self, when: Predicate, actions: impl IntoIterator<Item = Action>) -> Self {
        let actions: Vec<_> = actions.into_iter().collect();
        if !actions.is_empty() {
            self.plan.push((Some(when), actions));
        }
        self
    }

    /// Calls the hooks only for requests that the predicate is true for.
    #[must_use]
    pub fn when(mut self, predicate: Predicate) -> Self {
        self.when = Some(predicate);
        self
    }

    /// Calls no hook: for a binding whose whole work is its plan, where others of the plugin run code.
    #[must_use]
    pub fn planned(mut self) -> Self {
        self.is_planned = true;
        self
    }

    /// Whether no hook is called, for tests.
    pub fn is_planned(&self) -> bool {
        self.is_planned
    }

    /// The headers that [`Request::slot`] and [`Request::set_slot`] number, from 0.
    #[must_use]
    pub fn request_headers<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.request_headers = names.into_iter().map(Into::into).collect();
        self
    }

    /// The headers that [`Response::slot`] and [`Response::set_slot`] number, from 0.
    #[must_use]
    pub fn response_headers<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.response_headers = names.into_iter().map(Into::into).collect();
        self
    }

    /// The steps of the plan, for tests.
    pub fn steps(&self) -> &[(Option<Predicate>, Vec<Action>)] {
        &self.plan
    }

    pub(crate) fn into_wire(self, phases: wire::Phases) -> wire::Interest {
        let plan = self
            .plan
            .into_iter()
            .map(|(when, actions)| wire::Step { when: when.map(Predicate::into_wire), actions });
        wire::Interest {
            plan: plan.collect(),
            phases: if self.is_planned { wire::Phases::empty() } else { phases },
            when: self.when.map(Predicate::into_wire),
            request_headers: self.request_headers,
            response_headers: self.response_headers,
        }
    }
}

impl Action {
    /// Replaces all lines of a request header by one.
    pub fn set_request_header(name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        Self::SetRequestHeader(Header::new(name, value))
    }

    /// Replaces all lines of a response header by one.
    pub fn set_response_header(name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        Self::SetResponseHeader(Header::new(name, value))
    }

    /// Adds a line to a response header.
    pub fn append_response_header(name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        Self::AppendResponseHeader(Header::new(name, value))
    }

    /// Answers at once with a redirect to another scheme, at its own port.
    pub fn redirect(status: u16, scheme: impl Into<String>, port: Option<u16>) -> Self {
        Self::Redirect(Redirect { status, scheme: Some(scheme.into()), port, host: None })
    }
}

impl Rewriting {
    /// Replaces what a regular expression finds.
    pub fn new(regex: impl Into<String>, replacement: impl Into<String>) -> Self {
        Self { regex: regex.into(), replacement: replacement.into() }
    }
}

impl Reply {
    /// An answer without headers and content; the status is 200 to 599.
    pub fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new() }
    }

    /// Adds a header line.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push(Header::new(name, value));
        self
    }

    /// Sets the content, with its type.
    #[must_use]
    pub fn body(self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..self.header("content-type", content_type) }
    }

    /// Sets the content to plain text.
    #[must_use]
    pub fn text(self, text: impl Into<String>) -> Self {
        self.body("text/plain; charset=utf-8", text.into())
    }
}

impl Verdict {
    /// The request goes on; the response hook is not called for it.
    pub fn proceed() -> Self {
        Self::Proceed(Proceed { context: 0, response: false })
    }

    /// The request goes on, and the response hook is called with this context.
    pub fn with_response(context: u64) -> Self {
        Self::Proceed(Proceed { context, response: true })
    }
}

impl From<Reply> for Verdict {
    fn from(reply: Reply) -> Self {
        Self::Reply(reply)
    }
}
