//! What is kept in the cache, and what is never trusted.

use super::*;

#[track_caller]
fn refused(bytes: &[u8]) -> String {
    let error = component(bytes).expect_err("must be refused");
    portolan_core::problem::Chain(&error).to_string()
}

#[test]
fn what_is_no_component_is_refused_with_a_reason() {
    assert!(refused(b"").contains("not WebAssembly"));
    assert!(refused(b"#!/bin/sh").contains("not WebAssembly"));
    assert!(refused(b"\x7fELF\x02\x01").contains("precompiled"));
    assert!(refused(b"\0asm\x01\0\0\0").contains("component-type"));
    assert!(refused(b"\0asm\x01\0\0\0\xff").contains("not valid"));
    assert!(refused(b"\0asm\x0d\0\x01\0\x01").contains("not valid"));
    assert!(refused(b"\0asm").contains("not valid"));
}

fn surface(imports: &[&str], exports: &[&str]) -> Surface {
    let own = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Surface { imports: own(imports), exports: own(exports) }
}

#[test]
fn a_surface_makes_a_plugin_or_says_why_not() {
    const LIFECYCLE: &str = "portolan:plugin/lifecycle@0.1.0";
    const MATCHER: &str = "portolan:plugin/matcher-compiler@0.1.7";
    const PROVIDER: &str = "portolan:plugin/provider@0.1.0";
    const HOOK: &str = "portolan:plugin/request-hook@0.1.0";
    const INTEREST: &str = "portolan:plugin/middleware-interest@0.1.0";
    const LOG: &str = "portolan:plugin/log@0.1.0";
    const FILES: &str = "portolan:plugin/files@0.1.0";

    let check = |imports: &[&str], exports: &[&str]| match surface(imports, exports).check() {
        Ok(()) => String::new(),
        Err(error) => error.to_string(),
    };
    assert_eq!(check(&[LOG], &[LIFECYCLE, MATCHER]), "");
    assert_eq!(check(&[LOG, FILES], &[LIFECYCLE, PROVIDER]), "");
    assert_eq!(
        check(&[LOG], &["portolan:plugin/lifecycle@0.2.0", PROVIDER]),
        "speaks portolan:plugin@0.2.0, this host 0.1.0"
    );
    assert_eq!(
        check(&["portolan:plugin/log@1.0.0"], &[LIFECYCLE, PROVIDER]),
        "speaks portolan:plugin@1.0.0, this host 0.1.0"
    );
    assert_eq!(
        check(&["portolan:plugin/teleport@0.1.0"], &[LIFECYCLE, PROVIDER]),
        "imports `portolan:plugin/teleport@0.1.0`, which this host does not offer"
    );
    assert_eq!(
        check(&["wasi:cli/stdout@0.2.0"], &[LIFECYCLE, PROVIDER]),
        "imports `wasi:cli/stdout@0.2.0`, which this host does not offer; \
         build it for `wasm32-unknown-unknown`"
    );
    assert!(check(&[LOG], &[PROVIDER]).contains("not a plugin"));
    assert!(check(&[LOG], &["wasi:http/incoming-handler@0.2.0"]).contains("not a plugin"));
    assert!(check(&[LOG], &[LIFECYCLE]).contains("exports none of"));
    assert_eq!(
        check(&[LOG], &[LIFECYCLE, PROVIDER, HOOK]),
        "exports `request-hook` but no `middleware-interest`"
    );
    assert_eq!(
        check(&[FILES], &[LIFECYCLE, PROVIDER, INTEREST, HOOK]),
        "exports `request-hook` and imports `files`, which can wait; only providers may, \
         so make it two plugins"
    );
}
