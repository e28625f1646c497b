//! The bridge between the traits of a plugin and the exports of a component: the table of bindings,
//! and [`register!`](crate::register).
//!
//! **Invariant:** a guest has one thread and is never entered while it runs (the component model
//! forbids it), so no borrow of the table can meet another.

use std::{cell::RefCell, marker::PhantomData, time::Duration};

use schemars::generate::SchemaSettings;

use crate::{
    Failure, FieldError, Found, Lookup, Matchers, Middleware, OnRequest, OnRequestSlots,
    OnResponse, OnResponseSlots, Pair, Plugin, Predicate, Proceed, Provider, Request, Response,
    ResponseVerdict, Slots, Step, Verdict, Wanted,
    bindings::{
        interest, lifecycle, lookup, matchers, provider, request,
        request_slots::{
            self,
            interface::{SlotsProceed, SlotsVerdict},
        },
        response,
        response_slots::{self, interface::SlotsResponseVerdict},
    },
};

/// The bindings of an instance, sorted by their ids.
pub struct Bindings<T>(RefCell<Vec<(u32, T)>>);

/// What [`register!`](crate::register) adds to a plugin.
pub trait Registered: Plugin {
    /// The plugin's own version.
    const VERSION: &'static str;

    /// The hooks that it exports.
    const PHASES: interest::interface::Phases;

    /// Hands over the instance's bindings.
    fn bindings<R>(act: impl FnOnce(&Bindings<Self>) -> R) -> R;
}

/// The component of a plugin.
pub struct Exports<T>(PhantomData<T>);

impl<T> Bindings<T> {
    /// None yet.
    pub const fn new() -> Self {
        Self(RefCell::new(Vec::new()))
    }

    fn put(&self, id: u32, binding: T) {
        let mut bindings = self.0.borrow_mut();
        match bindings.binary_search_by_key(&id, |(id, _)| *id) {
            Ok(place) => bindings[place].1 = binding,
            Err(place) => bindings.insert(place, (id, binding)),
        }
    }

    fn remove(&self, id: u32) {
        self.0.borrow_mut().retain(|(other, _)| *other != id);
    }

    fn read<R>(&self, id: u32, act: impl FnOnce(&T) -> R) -> Option<R> {
        let bindings = self.0.borrow();
        let place = bindings.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        bindings.get(place).map(|(_, binding)| act(binding))
    }

    fn change<R>(&self, id: u32, act: impl FnOnce(&mut T) -> R) -> Option<R> {
        let mut bindings = self.0.borrow_mut();
        let place = bindings.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        bindings.get_mut(place).map(|(_, binding)| act(binding))
    }
}

impl<T> Default for Bindings<T> {
    fn default() -> Self {
        Self::new()
    }
}

const UNKNOWN: &str = "this binding was not configured";

impl<T: Registered> lifecycle::interface::Guest for Exports<T> {
    fn describe() -> lifecycle::interface::Descriptor {
        let schema =
            SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T::Config>();
        lifecycle::interface::Descriptor {
            name: T::NAME.to_owned(),
            version: T::VERSION.to_owned(),
            summary: T::SUMMARY.to_owned(),
            config_schema: Some(schema.as_value().to_string()),
            wants: T::wants(),
            extra: T::HOOK_TIME_LIMIT.into_iter().map(hook_time_limit).collect(),
        }
    }

    fn configure(binding: u32, config: String) -> Result<(), Vec<FieldError>> {
        log_panics();
        let config = serde_json::from_str(&config).map_err(|error| {
            vec![FieldError { path: String::new(), message: error.to_string() }]
        })?;
        let configured = T::new(config).map_err(crate::Invalid::into_errors)?;
        T::bindings(|bindings| bindings.put(binding, configured));
        Ok(())
    }

    fn release(binding: u32) {
        T::bindings(|bindings| bindings.remove(binding));
    }
}

impl<T: Registered + Middleware> interest::interface::Guest for Exports<T> {
    fn declare_interest(binding: u32) -> interest::interface::Interest {
        let interest = T::bindings(|bindings| bindings.read(binding, T::interest));
        interest.unwrap_or_default().into_wire(T::PHASES)
    }
}

impl<T: Registered + OnRequest> request::interface::Guest for Exports<T> {
    fn on_request(binding: u32, request: &Request) -> Verdict {
        T::bindings(|bindings| bindings.read(binding, |it| it.on_request(request)))
            .unwrap_or_else(|| Verdict::Fail(UNKNOWN.to_owned()))
    }
}

impl<T: Registered + OnResponse> response::interface::Guest for Exports<T> {
    fn on_response(
        binding: u32,
        context: u64,
        request: &Request,
        response: &Response,
    ) -> ResponseVerdict {
        T::bindings(|bindings| {
            bindings.read(binding, |it| it.on_response(context, request, response))
        })
        .unwrap_or_else(|| ResponseVerdict::Fail(UNKNOWN.to_owned()))
    }
}

impl<T: Registered + OnRequestSlots> request_slots::interface::Guest for Exports<T> {
    fn on_request(binding: u32, request: Option<Vec<u8>>) -> SlotsVerdict {
        let mut request = Slots::packed(request);
        let verdict =
            T::bindings(|bindings| bindings.read(binding, |it| it.on_request(&mut request)));
        match verdict {
            Some(Verdict::Proceed(Proceed { context, response })) => {
                let (changes, response_changes) = request.into_changes();
                let proceed = SlotsProceed { context, response, changes, response_changes };
                SlotsVerdict::Proceed(proceed)
            }
            Some(Verdict::Reply(reply)) => SlotsVerdict::Reply(reply),
            Some(Verdict::Fail(reason)) => SlotsVerdict::Fail(reason),
            None => SlotsVerdict::Fail(UNKNOWN.to_owned()),
        }
    }
}

impl<T: Registered + OnResponseSlots> response_slots::interface::Guest for Exports<T> {
    fn on_response(
        binding: u32,
        context: u64,
        request: Option<Vec<u8>>,
        response: Option<Vec<u8>>,
    ) -> SlotsResponseVerdict {
        let (request, mut response) = (Slots::packed(request), Slots::packed(response));
        let verdict = T::bindings(|bindings| {
            bindings.read(binding, |it| it.on_response(context, &request, &mut response))
        });
        match verdict {
            Some(ResponseVerdict::Proceed) => {
                SlotsResponseVerdict::Proceed(response.into_changes().0)
            }
            Some(ResponseVerdict::Replace(reply)) => SlotsResponseVerdict::Replace(reply),
            Some(ResponseVerdict::Fail(reason)) => SlotsResponseVerdict::Fail(reason),
            None => SlotsResponseVerdict::Fail(UNKNOWN.to_owned()),
        }
    }
}

impl<T: Registered + Matchers> matchers::interface::Guest for Exports<T> {
    fn matchers() -> Vec<matchers::interface::Signature> {
        T::matchers()
    }

    fn compile(
        name: String,
        args: Vec<String>,
    ) -> Result<matchers::interface::Predicate, matchers::interface::MatcherError> {
        T::compile(&name, &args).map(Predicate::into_wire)
    }
}

impl<T: Registered + Provider> provider::interface::Guest for Exports<T> {
    fn poll(binding: u32, cursor: Option<Vec<u8>>, wait_ms: u32) -> Result<Step, Failure> {
        T::bindings(|bindings| bindings.change(binding, |it| it.poll(cursor, wait_ms)))
            .unwrap_or_else(|| Err(Failure::Permanent(UNKNOWN.to_owned())))
    }
}

impl<T: Registered + Lookup> lookup::interface::Guest for Exports<T> {
    fn find(binding: u32, wanted: Wanted) -> Result<Option<Found>, Failure> {
        T::bindings(|bindings| bindings.change(binding, |it| it.find(wanted)))
            .unwrap_or_else(|| Err(Failure::Permanent(UNKNOWN.to_owned())))
    }
}

fn hook_time_limit(limit: Duration) -> Pair {
    Pair::new("hook-time-limit-ms", limit.as_millis().to_string())
}

/// A trap alone says nothing; the line before it says where and why.
fn log_panics() {
    #[cfg(target_arch = "wasm32")]
    std::panic::set_hook(Box::new(|panic| {
        let message = panic.payload_as_str().unwrap_or("no message");
        match panic.location() {
            Some(place) => crate::log::error("panicked", &[("reason", &message), ("place", place)]),
            None => crate::log::error("panicked", &[("reason", &message)]),
        }
    }));
}

/// Exports a plugin: `register!(RequestId: Middleware + OnRequestSlots + OnResponseSlots);`
///
/// Once in a crate whose `crate-type` is `cdylib`. Each trait that is named becomes an exported
/// interface, so name those that are implemented and no more. On targets other than wasm nothing
/// is exported.
#[macro_export]
macro_rules! register {
    ($plugin:ident: $first:ident $(+ $more:ident)*) => {
        const _: () = {
            ::std::thread_local! {
                static BINDINGS: $crate::registry::Bindings<$plugin> =
                    const { $crate::registry::Bindings::new() };
            }

            impl $crate::registry::Registered for $plugin {
                const VERSION: &'static str = ::core::env!("CARGO_PKG_VERSION");
                const PHASES: $crate::bindings::interest::interface::Phases =
                    $crate::phase!($first)
                    $(.union($crate::phase!($more)))*;

                fn bindings<R>(act: impl FnOnce(&$crate::registry::Bindings<Self>) -> R) -> R {
                    BINDINGS.with(act)
                }
            }

            #[cfg(target_arch = "wasm32")]
            mod component {
                type Component = $crate::registry::Exports<super::$plugin>;
                $crate::bindings::lifecycle::export!(
                    Component with_types_in $crate::bindings::lifecycle
                );
                $crate::facet!($first Component);
                $($crate::facet!($more Component);)*
            }

            // Elsewhere nothing calls the plugin; this keeps it from being called dead code.
            #[cfg(not(target_arch = "wasm32"))]
            const _: () = {
                let _ = <$plugin as $crate::Plugin>::new;
                let _ = $crate::hook!($first $plugin);
                $(let _ = $crate::hook!($more $plugin);)*
            };
        };
    };
}

/// The phase of a hook's trait.
#[doc(hidden)]
#[macro_export]
macro_rules! phase {
    (OnRequest) => {
        $crate::bindings::interest::interface::Phases::REQUEST_HEAD
    };
    (OnResponse) => {
        $crate::bindings::interest::interface::Phases::RESPONSE_HEAD
    };
    (OnRequestSlots) => {
        $crate::bindings::interest::interface::Phases::REQUEST_HEAD
    };
    (OnResponseSlots) => {
        $crate::bindings::interest::interface::Phases::RESPONSE_HEAD
    };
    ($other:ident) => {
        $crate::bindings::interest::interface::Phases::empty()
    };
}

/// The function of a trait that the host calls.
#[doc(hidden)]
#[macro_export]
macro_rules! hook {
    (Middleware $plugin:ident) => {
        <$plugin as $crate::Middleware>::interest
    };
    (OnRequest $plugin:ident) => {
        <$plugin as $crate::OnRequest>::on_request
    };
    (OnResponse $plugin:ident) => {
        <$plugin as $crate::OnResponse>::on_response
    };
    (OnRequestSlots $plugin:ident) => {
        <$plugin as $crate::OnRequestSlots>::on_request
    };
    (OnResponseSlots $plugin:ident) => {
        <$plugin as $crate::OnResponseSlots>::on_response
    };
    (Matchers $plugin:ident) => {
        <$plugin as $crate::Matchers>::compile
    };
    (Provider $plugin:ident) => {
        <$plugin as $crate::Provider>::poll
    };
    (Lookup $plugin:ident) => {
        <$plugin as $crate::Lookup>::find
    };
}

/// The exported interface of a trait.
#[doc(hidden)]
#[macro_export]
macro_rules! facet {
    (Middleware $component:ident) => {
        $crate::bindings::interest::export!($component with_types_in $crate::bindings::interest);
    };
    (OnRequest $component:ident) => {
        $crate::bindings::request::export!($component with_types_in $crate::bindings::request);
    };
    (OnResponse $component:ident) => {
        $crate::bindings::response::export!($component with_types_in $crate::bindings::response);
    };
    (OnRequestSlots $component:ident) => {
        $crate::bindings::request_slots::export!(
            $component with_types_in $crate::bindings::request_slots
        );
    };
    (OnResponseSlots $component:ident) => {
        $crate::bindings::response_slots::export!(
            $component with_types_in $crate::bindings::response_slots
        );
    };
    (Matchers $component:ident) => {
        $crate::bindings::matchers::export!($component with_types_in $crate::bindings::matchers);
    };
    (Provider $component:ident) => {
        $crate::bindings::provider::export!($component with_types_in $crate::bindings::provider);
    };
    (Lookup $component:ident) => {
        $crate::bindings::lookup::export!($component with_types_in $crate::bindings::lookup);
    };
    ($other:ident $component:ident) => {
        ::core::compile_error!(
            "a plugin is `Middleware`, with `OnRequest`, `OnResponse`, `OnRequestSlots` or \
             `OnResponseSlots`, or `Matchers`, or `Provider` with or without `Lookup`"
        );
    };
}
