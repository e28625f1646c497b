//! Panics in a request that asks for it.

guests::on_misbehave!(
    TrapsOnRequest,
    "traps-on-request",
    "Panics when asked to.",
    |_: &Request| { panic!("as asked") }
);
