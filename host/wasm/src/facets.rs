//! What a component exports, by our names, and how its functions are called.
//!
//! **Invariant:** names are looked up once for a component; an instance only turns places into
//! functions.

use wasmtime::{
    AsContextMut,
    component::{
        Component, ComponentExportIndex, ComponentNamedList, Instance, Lift, Lower, Resource,
        TypedFunc,
    },
};

use crate::bindings::{
    RequestHandle, ResponseHandle, interface, lifecycle::Descriptor, lookup,
    matcher_compiler as matcher, middleware_interest::Interest, predicate::Predicate,
    provider as wit, request_hook::Verdict, request_slots_hook::SlotsVerdict,
    response_hook::ResponseVerdict, response_slots_hook::SlotsResponseVerdict, types::FieldError,
};

/// A function that a component exports, of a type that is checked when an instance is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place(ComponentExportIndex);

/// What `configure` answers.
pub(crate) type Configured = (Result<(), Vec<FieldError>>,);

/// What `compile` answers.
pub(crate) type Compiled = (Result<Predicate, matcher::MatcherError>,);

/// What `poll` answers.
pub(crate) type Polled = (Result<wit::Step, wit::Failure>,);

/// What a component exports.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    pub(crate) describe: Place,
    pub(crate) configure: Place,
    pub(crate) release: Place,
    pub(crate) matchers: Option<(Place, Place)>,
    pub(crate) interest: Option<Place>,
    pub(crate) request: Option<Hook>,
    pub(crate) response: Option<Hook>,
    pub(crate) poll: Option<Place>,
    pub(crate) find: Option<Place>,
}

/// A hook that a component exports.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Hook {
    /// It is given the message, as a resource.
    Message(Place),
    /// It is given the headers that it numbers.
    Slots(Place),
}

/// The functions of one instance that are called often.
pub(crate) struct Functions {
    pub(crate) configure: TypedFunc<(u32, String), Configured>,
    pub(crate) release: TypedFunc<(u32,), ()>,
    pub(crate) request: Option<RequestHook>,
    pub(crate) response: Option<ResponseHook>,
}

/// The request hook as a function of one instance.
#[derive(Clone, Copy)]
pub(crate) enum RequestHook {
    Message(RequestMessageHook),
    Slots(RequestSlotsHook),
}

/// The same for responses.
#[derive(Clone, Copy)]
pub(crate) enum ResponseHook {
    Message(ResponseMessageHook),
    Slots(ResponseSlotsHook),
}

/// Binding and request.
pub(crate) type RequestMessageHook = TypedFunc<(u32, Resource<RequestHandle>), (Verdict,)>;
pub(crate) type RequestSlotsHook = TypedFunc<(u32, Packed), (SlotsVerdict,)>;

/// Binding, context, request, response.
pub(crate) type ResponseMessageHook = TypedFunc<ResponseArgs, (ResponseVerdict,)>;
pub(crate) type ResponseSlotsHook = TypedFunc<(u32, u64, Packed, Packed), (SlotsResponseVerdict,)>;

type ResponseArgs = (u32, u64, Resource<RequestHandle>, Resource<ResponseHandle>);

/// Headers as one list of bytes; `None` where none is there.
pub(crate) type Packed = Option<Vec<u8>>;

impl Places {
    /// Looks a component's exports up; `None` if it is not a plugin.
    pub(crate) fn find(component: &Component) -> Option<Self> {
        let find = |facet: &str, function: &str| {
            let facet = component.get_export_index(None, interface(facet))?;
            component.get_export_index(Some(&facet), function).map(Place)
        };
        Some(Self {
            describe: find("lifecycle", "describe")?,
            configure: find("lifecycle", "configure")?,
            release: find("lifecycle", "release")?,
            matchers: find("matcher-compiler", "matchers").zip(find("matcher-compiler", "compile")),
            interest: find("middleware-interest", "declare-interest"),
            request: find("request-slots-hook", "on-request")
                .map(Hook::Slots)
                .or_else(|| find("request-hook", "on-request").map(Hook::Message)),
            response: find("response-slots-hook", "on-response")
                .map(Hook::Slots)
                .or_else(|| find("response-hook", "on-response").map(Hook::Message)),
            poll: find("provider", "poll"),
            find: find("lookup", "find"),
        })
    }
}

impl Place {
    /// The function of one instance. Fails where its type is not ours.
    pub(crate) fn function<P, R>(
        self,
        instance: Instance,
        store: impl AsContextMut,
    ) -> wasmtime::Result<TypedFunc<P, R>>
    where
        P: ComponentNamedList + Lower,
        R: ComponentNamedList + Lift,
    {
        instance.get_typed_func(store, self.0)
    }
}

impl Functions {
    /// The functions of an instance.
    pub(crate) fn of(
        places: &Places,
        instance: Instance,
        mut store: impl AsContextMut,
    ) -> wasmtime::Result<Self> {
        let request = places.request.map(|hook| RequestHook::of(hook, instance, &mut store));
        let response = places.response.map(|hook| ResponseHook::of(hook, instance, &mut store));
        Ok(Self {
            configure: places.configure.function(instance, &mut store)?,
            release: places.release.function(instance, &mut store)?,
            request: request.transpose()?,
            response: response.transpose()?,
        })
    }
}

impl RequestHook {
    fn of(hook: Hook, instance: Instance, store: impl AsContextMut) -> wasmtime::Result<Self> {
        match hook {
            Hook::Message(place) => place.function(instance, store).map(Self::Message),
            Hook::Slots(place) => place.function(instance, store).map(Self::Slots),
        }
    }
}

impl ResponseHook {
    fn of(hook: Hook, instance: Instance, store: impl AsContextMut) -> wasmtime::Result<Self> {
        match hook {
            Hook::Message(place) => place.function(instance, store).map(Self::Message),
            Hook::Slots(place) => place.function(instance, store).map(Self::Slots),
        }
    }
}

/// Checks the types of the functions that are called seldom, so that a plugin of the wrong shape
/// is refused when it is loaded and not when it is needed.
pub(crate) fn check_seldom(
    places: &Places,
    instance: Instance,
    mut store: impl AsContextMut,
) -> wasmtime::Result<()> {
    places.describe.function::<(), (Descriptor,)>(instance, &mut store)?;
    if let Some((matchers, compile)) = places.matchers {
        matchers.function::<(), (Vec<matcher::Signature>,)>(instance, &mut store)?;
        compile.function::<(String, Vec<String>), Compiled>(instance, &mut store)?;
    }
    if let Some(interest) = places.interest {
        interest.function::<(u32,), (Interest,)>(instance, &mut store)?;
    }
    if let Some(poll) = places.poll {
        poll.function::<PollArgs, Polled>(instance, &mut store)?;
    }
    if let Some(find) = places.find {
        find.function::<FindArgs, FoundOne>(instance, &mut store)?;
    }
    Ok(())
}

/// What `poll` is given: binding, cursor, milliseconds to wait.
pub(crate) type PollArgs = (u32, Option<Vec<u8>>, u32);

/// What `find` is given: binding, and what is wanted.
pub(crate) type FindArgs = (u32, lookup::Wanted);

/// What `find` answers.
pub(crate) type FoundOne = (Result<Option<lookup::Found>, wit::Failure>,);
