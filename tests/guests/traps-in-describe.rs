//! Panics while it says what it is.

guests::on_describe!(TrapsInDescribe, "traps-in-describe", "Cannot say what it is.", || {
    panic!("does not know itself")
});
