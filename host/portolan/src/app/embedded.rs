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
    "strip-prefix-regex",
    "add-prefix",
    "replace-path",
    "replace-path-regex",
    "redirect-scheme",
    "redirect-regex",
    "content-type",
    "ip-allow-list",
    "in-flight-req",
    "rate-limit",
    "basic-auth",
    "forward-auth",
    "compress",
    "request-id",
    "whoami",
];
