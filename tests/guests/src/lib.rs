//! What the guests in this folder share.

/// The request header that makes a guest misbehave; without it, it does nothing.
pub const MISBEHAVE: &str = "x-misbehave";

/// A middleware `hello-header` that sets `x-hello` in every response, by a hook: two versions of
/// one plugin, to be told apart while one is replaced by the other.
#[macro_export]
macro_rules! hello_header {
    ($value:literal) => {
        use portolan_plugin::{
            Interest, Invalid, Middleware, NoConfig, OnResponse, Plugin, Request, Response,
            ResponseVerdict, register,
        };

        struct HelloHeader;

        impl Plugin for HelloHeader {
            type Config = NoConfig;
            const NAME: &'static str = "hello-header";
            const SUMMARY: &'static str = concat!("Says hello, in its version ", $value, ".");

            fn new(_: NoConfig) -> Result<Self, Invalid> {
                Ok(Self)
            }
        }

        impl Middleware for HelloHeader {
            fn interest(&self) -> Interest {
                Interest::default().response_headers(["x-hello"])
            }
        }

        impl OnResponse for HelloHeader {
            fn on_response(&self, _: u64, _: &Request, response: &Response) -> ResponseVerdict {
                match response.set_slot(0, $value.as_bytes()) {
                    Ok(()) => ResponseVerdict::Proceed,
                    Err(error) => ResponseVerdict::Fail(error.to_string()),
                }
            }
        }

        register!(HelloHeader: Middleware + OnResponse);
    };
}

/// A middleware that does something when a request has the header [`MISBEHAVE`].
#[macro_export]
macro_rules! on_misbehave {
    ($type:ident, $name:literal, $summary:literal, $act:expr) => {
        use portolan_plugin::{
            Interest, Invalid, Middleware, NoConfig, OnRequest, Plugin, Request, Verdict, register,
        };

        struct $type;

        impl Plugin for $type {
            type Config = NoConfig;
            const NAME: &'static str = $name;
            const SUMMARY: &'static str = $summary;

            fn new(_: NoConfig) -> Result<Self, Invalid> {
                Ok(Self)
            }
        }

        impl Middleware for $type {
            fn interest(&self) -> Interest {
                Interest::default().request_headers([$crate::MISBEHAVE])
            }
        }

        impl OnRequest for $type {
            fn on_request(&self, request: &Request) -> Verdict {
                if request.slot(0).is_some() { $act(request) } else { Verdict::proceed() }
            }
        }

        register!($type: Middleware + OnRequest);
    };
}

/// A plugin whose description is an act.
#[macro_export]
macro_rules! on_describe {
    ($type:ident, $name:literal, $summary:literal, $act:expr) => {
        use portolan_plugin::{Invalid, Middleware, NoConfig, Plugin, Want, register};

        struct $type;

        impl Plugin for $type {
            type Config = NoConfig;
            const NAME: &'static str = $name;
            const SUMMARY: &'static str = $summary;

            fn wants() -> Vec<Want> {
                $act()
            }

            fn new(_: NoConfig) -> Result<Self, Invalid> {
                Ok(Self)
            }
        }

        impl Middleware for $type {}

        register!($type: Middleware);
    };
}
