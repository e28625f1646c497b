//! The plugins in the binary. A file of the same name in the plugins folder takes the place of one.

macro_rules! plugins {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_bytes!(concat!("../../../../plugins/dist/", $name, ".wasm")))),*]
    };
}

/// The stem of the file, and its bytes.
pub(super) const PLUGINS: &[(&str, &[u8])] = plugins![
    "consul",
    "file",
    "http-rules",
    "headers",
    "strip-prefix",
    "add-prefix",
    "redirect-scheme",
    "ip-allow-list",
    "basic-auth",
    "compress",
    "request-id",
    "whoami",
];
