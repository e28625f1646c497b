//! Write a plugin for Portolan: a middleware, matchers for rules, or a catalog provider.
//!
//! A plugin is a type, the traits that say what it does, and one line that exports them:
//!
//! ```
//! //! Says hello in a response header.
//! use portolan_plugin::{Action, Interest, Invalid, Middleware, Plugin, register};
//!
//! #[derive(schemars::JsonSchema, serde::Deserialize)]
//! #[serde(deny_unknown_fields, rename_all = "kebab-case")]
//! struct Config {
//!     /// Whom to greet.
//!     name: String,
//! }
//!
//! struct Hello(Config);
//!
//! impl Plugin for Hello {
//!     type Config = Config;
//!     const NAME: &'static str = "hello";
//!     const SUMMARY: &'static str = "Says hello in a response header.";
//!     fn new(config: Config) -> Result<Self, Invalid> {
//!         Ok(Self(config))
//!     }
//! }
//!
//! impl Middleware for Hello {
//!     fn interest(&self) -> Interest {
//!         Interest::plan([Action::set_response_header("x-hello", self.0.name.as_str())])
//!     }
//! }
//!
//! register!(Hello: Middleware);
//! ```
//!
//! In a configuration this is `[http.middlewares.<any name>.hello]` with `name = "world"`, and on
//! a Consul service the tag `traefik.http.middlewares.<any name>.hello.name=world`.
//!
//! What a plugin may be:
//!
//! | `register!(T: …)` | is |
//! | --- | --- |
//! | [`Middleware`] | a plan that the host runs natively: it costs no call |
//! | [`Middleware`] `+` [`OnRequest`] | and is called for requests |
//! | [`Middleware`] `+` [`OnResponse`] | and is called for responses |
//! | [`Middleware`] `+` [`OnRequest`] `+` [`OnResponse`] | both |
//! | [`OnRequestSlots`], [`OnResponseSlots`] in their place | and is given the headers it numbered, no more: much cheaper |
//! | [`Matchers`] | functions of the rule language |
//! | [`Provider`] | a source of services, routers and middlewares |
//! | [`Provider`] `+` [`Lookup`] | and looks up what it does not report, when it is asked for |
//!
//! The meaning of every type is written down once, in the `.wit` files of Portolan; the types here
//! are those, made from them, with constructors. On any other target than wasm the crate compiles
//! too, so that a plugin's logic is tested with a plain `cargo test`; only the functions that ask
//! the host for something ([`Request`], [`clock`], [`http_client`], …) work in the host alone.

#[doc(hidden)]
pub mod bindings;
pub mod header;
pub mod log;
mod matchers;
mod middleware;
mod plugin;
mod predicate;
mod provider;
#[doc(hidden)]
pub mod registry;
mod slots;
mod sources;
mod span;

pub use bindings::{
    imports::{
        catalog::{Declaration, Failure, Health, Instance, Node},
        clock, entropy, files,
        http::{HeadError, Peer, Request, Response, Version},
        http_client, timer,
        types::{FieldError, Header, Pair, Reply},
    },
    interest::interface::{
        Action, Compress, ForwardAuth, InFlight, PatternRedirect, RateLimit, Redirect, Rewriting,
        Sources, Step as PlanStep,
    },
    lifecycle::interface::Want,
    lookup::interface::{Found, KeptQuery, Place, Wanted},
    matchers::interface::{MatcherError, Signature},
    provider::interface::{Change, Excerpt, Fragment, Item, Key, Notice, Step, Update},
    request::interface::{Proceed, Verdict},
    response::interface::ResponseVerdict,
};
pub use matchers::Matchers;
pub use middleware::{Interest, Middleware, OnRequest, OnResponse};
pub use plugin::{Invalid, NoConfig, Plugin, to_json};
pub use predicate::{ClientStrategy, Field, Op, Predicate, is_ip_range};
pub use provider::{Lookup, Provider};
pub use slots::{OnRequestSlots, OnResponseSlots, Slots};
pub use sources::{Scope, SourceCriterion};
pub use span::Span;

/// The example of the plugins' page compiles.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
