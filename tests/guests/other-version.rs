//! Speaks `portolan:plugin@0.9.0`, which no host speaks yet.

#![cfg_attr(target_arch = "wasm32", expect(unsafe_code, reason = "generated code"))]

#[cfg(target_arch = "wasm32")]
mod component {
    wit_bindgen::generate!({ path: "../../tests/guests/wit", world: "plugin" });

    struct OtherVersion;

    impl exports::portolan::plugin::lifecycle::Guest for OtherVersion {
        fn describe() -> String {
            "other-version".to_owned()
        }
    }

    export!(OtherVersion);
}
