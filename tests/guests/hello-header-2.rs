//! Well behaved: sets `x-hello: 2`.

guests::hello_header!("2");
