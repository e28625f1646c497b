//! Hooks that are given the headers they number: these go with the call, and the changes come back
//! with the answer.

use portolan_core::{
    exchange::Exchange,
    port::{CallError, RequestVerdict, ResponseVerdict},
};

use super::{Bound, Decided, no_hook};
use crate::{
    bindings::{
        request_slots_hook::SlotsVerdict as Verdict,
        response_slots_hook::SlotsResponseVerdict as WitResponseVerdict,
    },
    facets::{RequestHook, ResponseHook},
    kind::answer::reply,
    staging::Side,
};

pub(super) fn on_request(bound: &Bound, exchange: &mut Exchange) -> Decided<RequestVerdict> {
    let mut ready = bound.ready()?;
    let (warm, place) = (&mut ready.warm, ready.place);
    let Some(RequestHook::Slots(hook)) = warm.functions.request else { return Err(no_hook()) };
    let request = warm.store.data().packed(place, Side::Request, exchange);
    let verdict = bound.run(warm, |warm| hook.call(&mut warm.store, (bound.binding.id, request)));
    let decided = verdict.map(|(verdict,)| match verdict {
        Verdict::Proceed(it) => {
            let go_on = RequestVerdict::Continue { context: it.context, response: it.response };
            let changes = (Side::Request, it.changes.as_slice());
            let changed = warm.store.data_mut().change(place, changes, exchange);
            changed.map(|()| go_on).map_err(CallError::Nonsense)
        }
        Verdict::Reply(it) => reply(it).map(RequestVerdict::Reply).map_err(CallError::Nonsense),
        Verdict::Fail(reason) => Err(CallError::Said(reason)),
    });
    bound.settle(ready, decided)
}

pub(super) fn on_response(
    bound: &Bound,
    context: u64,
    exchange: &mut Exchange,
) -> Decided<ResponseVerdict> {
    let mut ready = bound.ready()?;
    let (warm, place) = (&mut ready.warm, ready.place);
    let Some(ResponseHook::Slots(hook)) = warm.functions.response else { return Err(no_hook()) };
    let request = warm.store.data().packed(place, Side::Request, exchange);
    let response = warm.store.data().packed(place, Side::Response, exchange);
    let args = (bound.binding.id, context, request, response);
    let verdict = bound.run(warm, |warm| hook.call(&mut warm.store, args));
    let decided = verdict.map(|(verdict,)| match verdict {
        WitResponseVerdict::Proceed(changes) => {
            let changes = (Side::Response, changes.as_slice());
            let changed = warm.store.data_mut().change(place, changes, exchange);
            changed.map(|()| ResponseVerdict::Continue).map_err(CallError::Nonsense)
        }
        WitResponseVerdict::Replace(it) => {
            reply(it).map(ResponseVerdict::Replace).map_err(CallError::Nonsense)
        }
        WitResponseVerdict::Fail(reason) => Err(CallError::Said(reason)),
    });
    bound.settle(ready, decided)
}
