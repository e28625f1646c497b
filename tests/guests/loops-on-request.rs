//! Never comes back from a request that asks for it.

guests::on_misbehave!(LoopsOnRequest, "loops-on-request", "Loops when asked to.", |_: &Request| {
    loop {
        std::hint::black_box(());
    }
});
