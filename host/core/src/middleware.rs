//! A middleware as a router uses it: a plan that the host runs natively, and the hooks of a plugin.

use std::{sync::Arc, time::Duration};

use http::{HeaderName, StatusCode};

use crate::{
    compress::Compress,
    exchange::{HeaderLine, Reply},
    forward_auth::ForwardAuth,
    hook::Hooks,
    name::ObjectName,
    pattern::{Pattern, Rewriting},
    policy::Retries,
    rule::Predicate,
    throttle::{InFlightLimit, RateLimit, Tally},
};

/// Work that is done without entering a plugin. The meanings are those of `middleware.wit`.
#[derive(Clone, Debug)]
pub enum Action {
    /// Replaces all lines of a request header by one.
    SetRequestHeader(HeaderLine),
    /// Adds a line to a request header.
    AppendRequestHeader(HeaderLine),
    /// Removes all lines of a request header.
    RemoveRequestHeader(HeaderName),
    /// Replaces all lines of a response header by one.
    SetResponseHeader(HeaderLine),
    /// Adds a line to a response header.
    AppendResponseHeader(HeaderLine),
    /// Removes all lines of a response header.
    RemoveResponseHeader(HeaderName),
    /// Removes the first of these that the path starts with.
    StripPrefix(Vec<String>),
    /// Removes what the first of these finds at the beginning of the path.
    StripPrefixPattern(Arc<[Pattern]>),
    /// Puts this before the path.
    AddPrefix(String),
    /// Replaces the path.
    ReplacePath(String),
    /// Replaces what is found in the path.
    RewritePath(Arc<Rewriting>),
    /// Answers at once with a redirect.
    Redirect(Redirect),
    /// Answers at once with a redirect to what a rewriting makes of the URL, if that is another one.
    RedirectPattern(PatternRedirect),
    /// Answers at once.
    Reply(Reply),
    /// Asks another server whether the request may pass.
    ForwardAuth(Arc<ForwardAuth>),
    /// Lets each source ask so much in a time, and no more.
    RateLimit(RateLimit),
    /// Lets each source have so many requests under way, and no more.
    InFlight(InFlightLimit),
    /// Compresses responses. One of a plan at most.
    Compress(Compress),
}

impl Action {
    /// What it has done, if it counts.
    fn tally(&self) -> Option<&Tally> {
        match self {
            Self::RateLimit(limit) => Some(&limit.tally),
            Self::InFlight(limit) => Some(&limit.tally),
            _ => None,
        }
    }
}

/// A redirect to the same place under another scheme, port or name.
#[derive(Clone, Debug)]
pub struct Redirect {
    /// 301, 302, 303, 307 or 308.
    pub status: StatusCode,
    /// Absent: as in the request.
    pub scheme: Option<String>,
    /// Absent: the scheme's own.
    pub port: Option<u16>,
    /// Absent: as in the request.
    pub host: Option<String>,
}

/// A redirect to what a rewriting makes of the URL.
#[derive(Clone, Debug)]
pub struct PatternRedirect {
    /// What becomes of the URL.
    pub rewriting: Arc<Rewriting>,
    /// Whether clients may remember it: 301 and 308 instead of 302 and 307.
    pub permanent: bool,
}

/// Some of a plan.
#[derive(Clone, Debug)]
pub struct PlanStep {
    /// Absent: for every request.
    pub when: Option<Predicate>,
    /// In order; those that touch the response are done on the way back.
    pub actions: Vec<Action>,
}

/// What a router does when a plugin of it fails (traps, takes too long, or says so).
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum OnFailure {
    /// The request is answered with 503.
    #[default]
    Closed,
    /// The request goes on as if the middleware were not there.
    Open,
}

/// What a plugin makes of one configuration of it.
#[derive(Clone, Debug, Default)]
pub struct Interest {
    /// Done first, in order.
    pub plan: Vec<PlanStep>,
    /// Called after the plan; `None` for a middleware that is all plan.
    pub hooks: Option<Arc<dyn Hooks>>,
    /// Whether the hooks want the request.
    pub on_request: bool,
    /// Whether the hooks want the response.
    pub on_response: bool,
    /// When it is false for a request, no hook is called.
    pub when: Option<Predicate>,
    /// How requests of routers that name it are tried again. That is done where backends are chosen: such a
    /// middleware is not among those that requests meet.
    pub retry: Option<Arc<Retries>>,
    /// How long a hook may take, with what an instance needs to read its configuration, where that is
    /// too long for a thread that serves: then hooks are called on another. `None`: hooks are quick.
    pub aside: Option<Duration>,
}

impl Interest {
    /// The servers that are asked whether requests may pass.
    pub fn authorities(&self) -> impl Iterator<Item = &Arc<ForwardAuth>> {
        let actions = self.plan.iter().flat_map(|step| &step.actions);
        actions.filter_map(|action| match action {
            Action::ForwardAuth(authority) => Some(authority),
            _ => None,
        })
    }
}

/// A middleware as a router uses it.
#[derive(Debug)]
pub struct Middleware {
    /// Its name.
    pub name: ObjectName,
    /// The plugin that it is a use of.
    pub plugin: Arc<str>,
    /// What the plugin makes of its configuration.
    pub interest: Interest,
    /// What happens when the plugin fails.
    pub on_failure: OnFailure,
}

impl Interest {
    /// What is done, in order.
    pub fn actions(&self) -> impl Iterator<Item = &Action> {
        self.plan.iter().flat_map(|step| &step.actions)
    }

    /// Goes on where another stopped that was in its place: what was counted there stays.
    pub(crate) fn go_on(&mut self, before: &Self) {
        let mut limits = before.actions().filter_map(|action| match action {
            Action::RateLimit(limit) => Some(limit),
            _ => None,
        });
        let mut in_flight = before.actions().filter_map(|action| match action {
            Action::InFlight(limit) => Some(limit),
            _ => None,
        });
        for action in self.plan.iter_mut().flat_map(|step| &mut step.actions) {
            match action {
                Action::RateLimit(limit) => {
                    limits.next().into_iter().for_each(|it| limit.go_on(it))
                }
                Action::InFlight(limit) => {
                    in_flight.next().into_iter().for_each(|it| limit.go_on(it));
                }
                _ => {}
            }
        }
    }

    /// How many requests it has refused; `None`: it counts none.
    pub fn refused(&self) -> Option<u64> {
        let counted = self.actions().filter_map(Action::tally);
        counted.map(|tally| tally.refused.value()).reduce(u64::saturating_add)
    }

    /// Whether it counts each request, and does nothing else.
    pub(crate) fn only_counts(&self) -> bool {
        let steps_count = self.plan.iter().all(|step| step.when.is_none());
        let mut actions = self.actions().peekable();
        self.hooks.is_none()
            && steps_count
            && actions.peek().is_some()
            && actions.all(|action| action.tally().is_some())
    }
}

impl Middleware {
    /// One in place of another that is missing or not in working order: whoever relies on it is
    /// not let through.
    pub fn closed(name: ObjectName) -> Self {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        let actions = vec![Action::Reply(Reply::empty(status))];
        let plan = vec![PlanStep { when: None, actions }];
        let interest = Interest { plan, ..Interest::default() };
        Self { name, plugin: "".into(), interest, on_failure: OnFailure::Closed }
    }

    /// One before all others of a router that lets nobody through by itself: it is in place of none.
    pub fn closed_router() -> Self {
        Self::closed(ObjectName::new("", ""))
    }

    /// Whether it is that.
    pub fn is_closed_router(&self) -> bool {
        self.is_closed() && self.name.name.is_empty()
    }

    /// Whether it is in place of another.
    pub fn is_closed(&self) -> bool {
        self.plugin.is_empty()
    }

    /// Whether it makes no difference which of the two is used.
    pub fn is_same(self: &Arc<Self>, other: &Arc<Self>) -> bool {
        let are_closed = || self.is_closed() && other.is_closed();
        Arc::ptr_eq(self, other) || are_closed() && self.name == other.name
    }
}
