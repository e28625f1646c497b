//! Places within a configuration, as JSON Pointers (RFC 6901): `/http/routers/a~1b/rule`.

/// A key as it stands in a pointer.
pub fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// The pointer to `key` within the value at `pointer`.
pub fn child(pointer: &str, key: &str) -> String {
    format!("{pointer}/{}", escape(key))
}
