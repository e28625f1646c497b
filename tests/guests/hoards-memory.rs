//! Takes memory without end in a request that asks for it.

guests::on_misbehave!(HoardsMemory, "hoards-memory", "Hoards when asked to.", |_: &Request| {
    let mut hoard = Vec::new();
    loop {
        // Filled, so that the pages are really there.
        hoard.push(std::hint::black_box(vec![1_u8; 1 << 20]));
    }
});
