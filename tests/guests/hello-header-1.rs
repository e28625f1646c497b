//! Well behaved: sets `x-hello: 1`.

guests::hello_header!("1");
