//! Never comes to the end of saying what it is.

guests::on_describe!(NeverDescribes, "never-describes", "Never says what it is.", || {
    loop {
        std::hint::black_box(());
    }
});
