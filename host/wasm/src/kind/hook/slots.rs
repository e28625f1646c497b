//! Hooks that are given the headers they number: these go with the call, and the changes come back
//! with the answer.

use portolan_core::{
    exchange::Exchange,
    port::{CallError, RequestVerdict, ResponseVerdict},
};

use super::{Bound, Ran, Ready};
use crate::{
    bindings::{
        request_slots_hook::SlotsVerdict as Verdict,
        response_slots_hook::SlotsResponseVerdict as WitResponseVerdict,
    },
    facets::{RequestSlotsHook, ResponseSlotsHook},
    kind::answer::reply,
    staging::Side,
};

pub(super) fn on_request(
    bound: &Bound,
    hook: RequestSlotsHook,
    Ready { warm, place, .. }: &mut Ready,
    exchange: &mut Exchange,
) -> Ran<RequestVerdict> {
    let request = warm.store.data().packed(*place, Side::Request, exchange);
    let args = (bound.binding.id, request);
    let (verdict,) = bound.run(warm, |warm| hook.call(&mut warm.store, args))?;
    Ok(match verdict {
        Verdict::Proceed(it) => {
            let changes = (it.changes.as_slice(), it.response_changes.as_slice());
            let changed = warm.store.data_mut().change_both(*place, changes, exchange);
            let (context, response) = (it.context, it.response);
            let go_on = |later| RequestVerdict::Continue { context, response, later };
            changed.map(go_on).map_err(CallError::Nonsense)
        }
        Verdict::Reply(it) => reply(it).map(RequestVerdict::Reply).map_err(CallError::Nonsense),
        Verdict::Fail(reason) => Err(CallError::Said(reason)),
    })
}

pub(super) fn on_response(
    bound: &Bound,
    hook: ResponseSlotsHook,
    Ready { warm, place, .. }: &mut Ready,
    context: u64,
    exchange: &mut Exchange,
) -> Ran<ResponseVerdict> {
    let guest = warm.store.data();
    let request = guest.packed(*place, Side::Request, exchange);
    let response = guest.packed(*place, Side::Response, exchange);
    let args = (bound.binding.id, context, request, response);
    let (verdict,) = bound.run(warm, |warm| hook.call(&mut warm.store, args))?;
    Ok(match verdict {
        WitResponseVerdict::Proceed(changes) => {
            let changes = (Side::Response, changes.as_slice());
            let changed = warm.store.data_mut().change(*place, changes, exchange);
            changed.map(|()| ResponseVerdict::Continue).map_err(CallError::Nonsense)
        }
        WitResponseVerdict::Replace(it) => {
            reply(it).map(ResponseVerdict::Replace).map_err(CallError::Nonsense)
        }
        WitResponseVerdict::Fail(reason) => Err(CallError::Said(reason)),
    })
}
