//! Hooks that are given the message as a resource: the exchange is in the instance while they run.

use portolan_core::{
    exchange::Exchange,
    port::{CallError, RequestVerdict, ResponseVerdict},
};
use wasmtime::component::Resource;

use super::{Bound, Decided, Ran, Ready};
use crate::{
    bindings::{request_hook::Verdict, response_hook::ResponseVerdict as WitResponseVerdict},
    facets::{RequestMessageHook, ResponseMessageHook},
    kind::answer::reply,
    runtime::Warm,
};

pub(super) fn on_request(
    bound: &Bound,
    hook: RequestMessageHook,
    ready: &mut Ready,
    exchange: Box<Exchange>,
) -> (Box<Exchange>, Ran<RequestVerdict>) {
    enter(bound, ready, exchange, |warm| {
        let request = Resource::new_borrow(0);
        let (verdict,) = hook.call(&mut warm.store, (bound.binding.id, request))?;
        Ok(match verdict {
            Verdict::Proceed(it) => {
                let (context, response) = (it.context, it.response);
                Ok(RequestVerdict::Continue { context, response, later: Vec::new() })
            }
            Verdict::Reply(it) => reply(it).map(RequestVerdict::Reply).map_err(CallError::Nonsense),
            Verdict::Fail(reason) => Err(CallError::Said(reason)),
        })
    })
}

pub(super) fn on_response(
    bound: &Bound,
    hook: ResponseMessageHook,
    ready: &mut Ready,
    context: u64,
    exchange: Box<Exchange>,
) -> (Box<Exchange>, Ran<ResponseVerdict>) {
    enter(bound, ready, exchange, |warm| {
        let (request, response) = (Resource::new_borrow(0), Resource::new_borrow(0));
        let args = (bound.binding.id, context, request, response);
        let (verdict,) = hook.call(&mut warm.store, args)?;
        Ok(match verdict {
            WitResponseVerdict::Proceed => Ok(ResponseVerdict::Continue),
            WitResponseVerdict::Replace(it) => {
                reply(it).map(ResponseVerdict::Replace).map_err(CallError::Nonsense)
            }
            WitResponseVerdict::Fail(reason) => Err(CallError::Said(reason)),
        })
    })
}

/// Runs a hook: hands the exchange to the instance, and takes it back.
fn enter<T>(
    bound: &Bound,
    ready: &mut Ready,
    exchange: Box<Exchange>,
    hook: impl FnOnce(&mut Warm) -> wasmtime::Result<Decided<T>>,
) -> (Box<Exchange>, Ran<T>) {
    ready.warm.store.data_mut().enter(exchange, ready.place);
    let result = bound.run(&mut ready.warm, hook);
    let is_good = matches!(result, Ok(Ok(_)));
    let exchange = ready.warm.store.data_mut().leave(is_good);
    let exchange = exchange.expect("it was handed over above, and only `leave` takes it");
    (exchange, result)
}
