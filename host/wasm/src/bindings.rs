//! The types of `wit/`, generated, and the names under which this crate knows them.
//!
//! **Invariant:** nothing generated leaves this crate: [`crate::kind`] and [`crate::imports`] turn
//! it into core's types and back.
//!
//! One world imports what can wait, so that its functions become traits to fulfil, and exports
//! every facet, so that their types exist. No plugin has to fit it: facets are looked for one by
//! one ([`crate::facets`]), and the imports that must be quick are written by hand.

pub(crate) use generated::{
    exports::portolan::plugin::{
        lifecycle, lookup, matcher_compiler, middleware_interest, provider, request_hook,
        request_slots_hook, response_hook, response_slots_hook,
    },
    portolan::plugin::{catalog, files, http, http_client, log, predicate, timer, types},
};

/// The package that guests and this host speak.
pub(crate) const PACKAGE: &str = "portolan:plugin";

/// Its version. A guest of another patch of the same minor version fits as well, as long as it
/// asks for nothing that is not there.
pub(crate) const VERSION: &str = "0.1.0";

/// The full name of an interface, as components write it.
pub(crate) fn interface(name: &str) -> String {
    format!("{PACKAGE}/{name}@{VERSION}")
}

/// What a guest holds for the request of the hook it is in. It carries nothing: the exchange is
/// in the instance. Public because the generated code exports it again, to nobody.
#[expect(unreachable_pub, reason = "exported again by generated code")]
#[derive(Debug)]
pub enum RequestHandle {}

/// The same for the response.
#[expect(unreachable_pub, reason = "exported again by generated code")]
#[derive(Debug)]
pub enum ResponseHandle {}

mod generated {
    wasmtime::component::bindgen!({
        path: "../../wit",
        inline: "
            package portolan:host;

            world host {
                import portolan:plugin/log@0.1.0;
                import portolan:plugin/timer@0.1.0;
                import portolan:plugin/http-client@0.1.0;
                import portolan:plugin/files@0.1.0;
                export portolan:plugin/lifecycle@0.1.0;
                export portolan:plugin/provider@0.1.0;
                export portolan:plugin/lookup@0.1.0;
                export portolan:plugin/matcher-compiler@0.1.0;
                export portolan:plugin/middleware-interest@0.1.0;
                export portolan:plugin/request-hook@0.1.0;
                export portolan:plugin/response-hook@0.1.0;
                export portolan:plugin/request-slots-hook@0.1.0;
                export portolan:plugin/response-slots-hook@0.1.0;
            }
        ",
        world: "portolan:host/host",
        imports: {
            "portolan:plugin/timer": async | trappable,
            "portolan:plugin/http-client": async | trappable,
            "portolan:plugin/files": async | trappable,
            default: trappable,
        },
        exports: { default: async },
        require_store_data_send: true,
        with: {
            "portolan:plugin/http.request": super::RequestHandle,
            "portolan:plugin/http.response": super::ResponseHandle,
            "portolan:plugin/http-client.pending": crate::outbound::Pending,
        },
    });
}
