//! What `wit-bindgen` makes of `wit/`: the imports once, and one module for each interface that a
//! plugin may export, so that a plugin exports what it is and no more.
//!
//! **Invariant:** nothing outside the SDK names this module but the expansion of
//! [`register!`](crate::register), which is why it is public and hidden.

/// Everything that a plugin may import. What it does not call, it does not ask for.
pub mod imports {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "
            package portolan:sdk;
            world imports {
                import portolan:plugin/types@0.1.0;
                import portolan:plugin/catalog@0.1.0;
                import portolan:plugin/log@0.1.0;
                import portolan:plugin/clock@0.1.0;
                import portolan:plugin/entropy@0.1.0;
                import portolan:plugin/timer@0.1.0;
                import portolan:plugin/http-client@0.1.0;
                import portolan:plugin/files@0.1.0;
                import portolan:plugin/http@0.1.0;
                import portolan:plugin/predicate@0.1.0;
            }
        ",
        world: "portolan:sdk/imports",
        additional_derives: [PartialEq],
        generate_all,
    });
    pub use portolan::plugin::{
        catalog, clock, entropy, files, http, http_client, log, predicate, timer, types,
    };
}

/// The export of what every plugin exports.
pub mod lifecycle {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "
            package portolan:sdk;
            world exports-lifecycle { export portolan:plugin/lifecycle@0.1.0; }
        ",
        world: "portolan:sdk/exports-lifecycle",
        pub_export_macro: true,
        with: {
            "portolan:plugin/types@0.1.0": super::imports::types,
        },
        additional_derives: [PartialEq],
        generate_all,
    });
    pub use exports::portolan::plugin::lifecycle as interface;
}

/// The export of a middleware's plan and what it is called for.
pub mod interest {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "
            package portolan:sdk;
            world exports-interest { export portolan:plugin/middleware-interest@0.1.0; }
        ",
        world: "portolan:sdk/exports-interest",
        pub_export_macro: true,
        with: {
            "portolan:plugin/types@0.1.0": super::imports::types,
            "portolan:plugin/predicate@0.1.0": super::imports::predicate,
        },
        additional_derives: [PartialEq],
        generate_all,
    });
    pub use exports::portolan::plugin::middleware_interest as interface;
}

/// The export of the request hook.
pub mod request {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "
            package portolan:sdk;
            world exports-request { export portolan:plugin/request-hook@0.1.0; }
        ",
        world: "portolan:sdk/exports-request",
        pub_export_macro: true,
        with: {
            "portolan:plugin/types@0.1.0": super::imports::types,
            "portolan:plugin/http@0.1.0": super::imports::http,
        },
        additional_derives: [PartialEq],
        generate_all,
    });
    pub use exports::portolan::plugin::request_hook as interface;
}

/// The export of the response hook.
pub mod response {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "
            package portolan:sdk;
            world exports-response { export portolan:plugin/response-hook@0.1.0; }
        ",
        world: "portolan:sdk/exports-response",
        pub_export_macro: true,
        with: {
            "portolan:plugin/types@0.1.0": super::imports::types,
            "portolan:plugin/http@0.1.0": super::imports::http,
        },
        additional_derives: [PartialEq],
        generate_all,
    });
    pub use exports::portolan::plugin::response_hook as interface;
}

/// The export of the request hook that is given the declared headers.
pub mod request_slots {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "
            package portolan:sdk;
            world exports-request-slots { export portolan:plugin/request-slots-hook@0.1.0; }
        ",
        world: "portolan:sdk/exports-request-slots",
        pub_export_macro: true,
        with: {
            "portolan:plugin/types@0.1.0": super::imports::types,
        },
        additional_derives: [PartialEq],
        generate_all,
    });
    pub use exports::portolan::plugin::request_slots_hook as interface;
}

/// The export of the response hook that is given the declared headers.
pub mod response_slots {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "
            package portolan:sdk;
            world exports-response-slots { export portolan:plugin/response-slots-hook@0.1.0; }
        ",
        world: "portolan:sdk/exports-response-slots",
        pub_export_macro: true,
        with: {
            "portolan:plugin/types@0.1.0": super::imports::types,
        },
        additional_derives: [PartialEq],
        generate_all,
    });
    pub use exports::portolan::plugin::response_slots_hook as interface;
}

/// The export of matchers of the rule language.
pub mod matchers {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "
            package portolan:sdk;
            world exports-matchers { export portolan:plugin/matcher-compiler@0.1.0; }
        ",
        world: "portolan:sdk/exports-matchers",
        pub_export_macro: true,
        with: {
            "portolan:plugin/predicate@0.1.0": super::imports::predicate,
        },
        additional_derives: [PartialEq],
        generate_all,
    });
    pub use exports::portolan::plugin::matcher_compiler as interface;
}

/// The export of a catalog provider.
pub mod provider {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "
            package portolan:sdk;
            world exports-provider { export portolan:plugin/provider@0.1.0; }
        ",
        world: "portolan:sdk/exports-provider",
        pub_export_macro: true,
        with: {
            "portolan:plugin/types@0.1.0": super::imports::types,
            "portolan:plugin/catalog@0.1.0": super::imports::catalog,
        },
        additional_derives: [PartialEq],
        generate_all,
    });
    pub use exports::portolan::plugin::provider as interface;
}

/// The export of a provider's lookups.
pub mod lookup {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "
            package portolan:sdk;
            world exports-lookup { export portolan:plugin/lookup@0.1.0; }
        ",
        world: "portolan:sdk/exports-lookup",
        pub_export_macro: true,
        with: {
            "portolan:plugin/types@0.1.0": super::imports::types,
            "portolan:plugin/catalog@0.1.0": super::imports::catalog,
        },
        additional_derives: [PartialEq],
        generate_all,
    });
    pub use exports::portolan::plugin::lookup as interface;
}
