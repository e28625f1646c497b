//! What becomes of a request in one sentence, as far as that can be foreseen.

use http::header::LOCATION;
use portolan_core::{
    exchange::{Exchange, Reply},
    middleware::Middleware,
    reason::Reason,
    router::Router,
};

use super::{ServiceShare, middleware::runs_code};

/// What becomes of a request.
pub(super) struct Verdict {
    pub(super) sentence: String,
    /// Why Portolan itself would answer.
    pub(super) reason: Option<Reason>,
}

impl Verdict {
    pub(super) fn of(sentence: String) -> Self {
        Self { sentence, reason: None }
    }

    pub(super) fn because(reason: Reason, sentence: String) -> Self {
        Self { sentence, reason: Some(reason) }
    }
}

/// How far a request comes through the middlewares of its router.
pub(super) enum Reach<'a> {
    /// This one cannot do its work.
    Closed(&'a Middleware),
    /// This one answers, without code of a plugin.
    Answered(&'a Middleware, Reply),
    /// Through all of them, unless one of these answers: they run code, ask others, or count.
    Through(Vec<&'a Middleware>),
}

/// What becomes of a request that a router takes, and comes so far; `why`: what is wrong with its service.
pub(super) fn verdict(
    taken: Option<(&Router, Reach<'_>)>,
    service: Option<&ServiceShare>,
    why: Option<&str>,
) -> Verdict {
    let Some((router, reach)) = taken else {
        return Verdict::because(Reason::NoRouter, "404: no router takes it".to_owned());
    };
    let takes = format!("router `{}` takes it", router.name);
    let code = match reach {
        Reach::Closed(it) if it.is_closed_router() => {
            let sentence = format!(
                "503: {takes}, but lets nobody through, since what it says of who may pass cannot be read"
            );
            return Verdict::because(Reason::NoMiddleware, sentence);
        }
        Reach::Closed(it) => {
            let sentence = format!(
                "503: {takes}, but its middleware `{}` is missing or not in working order",
                it.name
            );
            return Verdict::because(Reason::NoMiddleware, sentence);
        }
        Reach::Answered(it, reply) => {
            return Verdict::of(format!("{takes}; its middleware `{}` {}", it.name, words(&reply)));
        }
        Reach::Through(code) => code,
    };
    match service {
        None if !code.is_empty() => Verdict::of(format!("{takes}; one of its middlewares answers")),
        None if router.is_noop => Verdict::because(
            Reason::Noop,
            format!("418: {takes}, and its service is `noop@internal`, which answers nothing"),
        ),
        None => Verdict::because(
            Reason::NoService,
            match &router.lack {
                Some(lack) => format!("503: {takes}, but {lack}"),
                None => format!("503: {takes}, but it has no service, and no middleware answers"),
            },
        ),
        Some(service) => {
            let is_compound = router.service.as_ref().is_some_and(|it| !it.parts().is_empty());
            let mut verdict = of_service(service, is_compound, why, &takes);
            if verdict.reason.is_none() {
                verdict.sentence.push_str(&unless_stopped(&code));
            }
            verdict
        }
    }
}

/// What the answer of a service depends on yet.
fn unless_stopped(code: &[&Middleware]) -> String {
    let names: Vec<_> = code.iter().map(|it| format!("`{}`", it.name)).collect();
    match &*names {
        [] => String::new(),
        [one] => format!(", if {one} lets it through"),
        [others @ .., last] => format!(", if {} and {last} let it through", others.join(", ")),
    }
}

fn of_service(
    service: &ServiceShare,
    is_compound: bool,
    why: Option<&str>,
    takes: &str,
) -> Verdict {
    let to = &service.name;
    if let Some(rests) = service.rests {
        let seconds = rests.div_ceil(1000);
        let whose =
            if is_compound { "every circuit breaker behind" } else { "the circuit breaker of" };
        let sentence = format!("503: {takes}, but {whose} `{to}` is open for {seconds} s yet");
        return Verdict::because(Reason::CircuitOpen, sentence);
    }
    let usable = service.backends.iter().filter(|backend| backend.usable);
    if usable.clone().next().is_some() && usable.clone().all(|backend| backend.failing) {
        return Verdict::of(format!(
            "{takes}; all of `{to}` failed lately, and are asked since there is none better: an \
             error (502) is likely"
        ));
    }
    // Those with a weight of 0, or that are spare, are there for others.
    let asked = usable.clone().filter(|backend| backend.percent > 0);
    match (asked.count(), usable.count()) {
        (_, 0) => Verdict::because(
            Reason::NoBackend,
            match why {
                Some(why) => format!("503: {takes}, but `{to}` has no usable backend: {why}"),
                None => format!("503: {takes}, but `{to}` has no usable backend"),
            },
        ),
        (_, 1) => Verdict::of(format!("{takes}; the one usable backend of `{to}` answers")),
        (1, _) => Verdict::of(format!("{takes}; the one backend of `{to}` with a share answers")),
        (0, some) | (some, _) => Verdict::of(match &service.chosen {
            Some(url) => format!("{takes}; of {some} backends of `{to}` {url} answers"),
            None => format!("{takes}; one of {some} backends of `{to}` answers"),
        }),
    }
}

/// How far a request comes. Plans are carried out on the exchange; code of plugins is not run.
pub(super) fn inwards<'a>(router: &'a Router, exchange: &mut Exchange) -> Reach<'a> {
    let mut code = Vec::new();
    for middleware in router.chain(&exchange.entrypoint) {
        if middleware.is_closed() {
            return Reach::Closed(middleware);
        }
        if let (_, Some(reply)) = middleware.interest.plan_at_once(exchange) {
            return Reach::Answered(middleware, reply);
        }
        let interest = &middleware.interest;
        let asks = interest.authorities().next().is_some();
        // Who counts looks at nothing here, and says nothing to who comes no further.
        let counts = router.service.is_some() && interest.refused().is_some();
        if asks || counts || runs_code(middleware) && interest.on_request {
            code.push(&**middleware);
        }
    }
    Reach::Through(code)
}

fn words(reply: &Reply) -> String {
    let location = reply.headers.iter().find(|(name, _)| name == LOCATION);
    let location = location.and_then(|(_, value)| value.to_str().ok());
    match location {
        Some(target) => format!("redirects it to {target} ({})", reply.status.as_u16()),
        None => format!("answers {}", reply.status),
    }
}
