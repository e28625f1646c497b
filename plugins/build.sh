#!/bin/sh
# Builds the guests: every plugin of this folder into plugins/dist/, and the misbehaving ones of
# tests/guests/ into tests/guests/dist/, each with a manifest.
#
#   plugins/build.sh                  build everything, write the files and the manifests
#   plugins/build.sh --check          fail if a committed file is not what its source gives
#   plugins/build.sh --check-sources  the quick half of it, which needs no compiler
#
# A guest is a core module with a `component-type` section; the host makes a component of it. With
# rustup's wasm target present nothing else is needed. Without it, Debian's packages rustc-web and
# rust-web-src bring a compiler and the source of its standard library (installed if this is root).
#
# The same source and the same toolchain give the same bytes, wherever the project lies. The
# committed files are from the toolchain that the manifest names; `--check` compares bytes where it
# meets that one, and otherwise that the source is the one that was built.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root/plugins"
target=wasm32-unknown-unknown
built=target/$target/guest

fail() {
    echo "build.sh: $*" >&2
    exit 1
}

plugins() {
    for manifest in */Cargo.toml; do
        case $manifest in
        sdk/* | test-guests/*) ;;
        *) dirname "$manifest" ;;
        esac
    done
}

test_guests() {
    for source in "$root"/tests/guests/*.rs; do
        [ ! -e "$source" ] || basename "$source" .rs
    done
}

# The hash of everything that the bytes of a guest depend on: $@ are its own files.
source_hash() {
    (cd "$root" && find wit plugins/Cargo.toml plugins/Cargo.lock plugins/sdk/Cargo.toml \
        plugins/sdk/src "$@" -type f | LC_ALL=C sort -u | xargs sha256sum) | sha256sum | cut -d' ' -f1
}

plugin_sources() {
    source_hash "plugins/$1/Cargo.toml" "plugins/$1/src"
}

test_guest_sources() {
    source_hash plugins/test-guests/Cargo.toml tests/guests/src tests/guests/wit "tests/guests/$1.rs"
}

# Sets `toolchain`, and the environment of cargo.
find_toolchain() {
    libdir=$(rustc --print target-libdir --target $target 2>/dev/null || true)
    flags=""
    if [ -n "$libdir" ] && [ -d "$libdir" ]; then
        compiler=rustc
        origin=rustup
    else
        compiler=/usr/bin/rustc
        std=$("$compiler" --print sysroot 2>/dev/null || true)/lib/rustlib/src/rust/library
        if [ ! -d "$std" ]; then
            [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null ||
                fail "no wasm target: run \`rustup target add $target\`, or install Debian's rustc-web and rust-web-src"
            apt-get install -y rustc-web rust-web-src >&2
        fi
        origin="rustc-web $(dpkg-query -W -f '${Version}' rust-web-src)"
        linker=$(find "$(rustc --print sysroot)/lib/rustlib" -name rust-lld | head -n 1)
        export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER="$linker"
        export RUSTC="$compiler" RUSTC_BOOTSTRAP=1
        flags="-Zbuild-std=std,panic_abort"
    fi
    toolchain="$("$compiler" --version), $(cargo --version), $origin"
    sysroot=$("$compiler" --print sysroot)
    sep=$(printf '\037')
    remap="--remap-path-prefix=$root=/portolan"
    remap="$remap$sep--remap-path-prefix=$sysroot/lib/rustlib/src/rust=/rust"
    for registry in "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*; do
        remap="$remap$sep--remap-path-prefix=$registry=/registry"
    done
    export CARGO_ENCODED_RUSTFLAGS="$remap"
    unset RUSTFLAGS CARGO_TARGET_DIR CARGO_BUILD_TARGET_DIR || true
}

# One invocation, so that the standard library is built once.
build() {
    cargo fetch --locked
    find_toolchain
    # shellcheck disable=SC2086
    cargo build --locked --workspace --lib --examples --profile guest --target $target $flags
    for file in $(all_built); do
        if LC_ALL=C grep -aoE "$root|$HOME|/(home|root|usr/src|usr/lib/rustlib)/[^[:cntrl:]]*" "$file"; then
            fail "$file carries a path of this machine"
        fi
    done
}

all_built() {
    for name in $(plugins); do plugin_file "$name"; done
    for name in $(test_guests); do test_guest_file "$name"; done
}

plugin_file() {
    echo "$built/plugin_$(echo "$1" | tr - _).wasm"
}

test_guest_file() {
    echo "$built/examples/$(echo "$1" | tr - _).wasm"
}

# $1: a folder of committed files; $2, $3: functions that name a guest's built file and its source
# hash; the rest: guests.
write() {
    dist=$1 file=$2 sources=$3
    shift 3
    mkdir -p "$dist"
    rm -f "$dist"/*.wasm
    {
        echo "# Written by plugins/build.sh: what the files in this folder were built from, and with."
        echo "toolchain = \"$toolchain\""
        for name in "$@"; do
            from=$($file "$name")
            cp "$from" "$dist/$name.wasm"
            chmod 644 "$dist/$name.wasm"
            echo
            echo "[guests.$name]"
            echo "sha256 = \"$(sha256sum <"$from" | cut -d' ' -f1)\""
            echo "size = $(wc -c <"$from" | tr -d ' ')"
            echo "source = \"$($sources "$name")\""
        done
    } >"$dist/manifest.toml"
}

# What the manifest in $1 says of the guest $2 under the key $3.
noted() {
    awk -v guest="[guests.$2]" -v key="$3" '
        /^\[/ { here = $0 == guest }
        here && $1 == key { gsub(/"/, "", $3); print $3 }' "$1/manifest.toml"
}

# As `write`, but compares the source hashes; $1, the committed files.
check_sources() {
    dist=$1 sources=$2
    shift 2
    for name in "$@"; do
        [ "$(noted "$dist" "$name" source)" = "$($sources "$name")" ] ||
            fail "$dist/$name.wasm is not built from its present source: run plugins/build.sh and commit what it writes"
        [ "$(noted "$dist" "$name" sha256)" = "$(sha256sum <"$dist/$name.wasm" | cut -d' ' -f1)" ] ||
            fail "$dist/$name.wasm is not the file that its manifest describes"
    done
    for file in "$dist"/*.wasm; do
        [ -n "$(noted "$dist" "$(basename "$file" .wasm)" source)" ] || fail "$file has no source"
    done
}

check_bytes() {
    dist=$1 file=$2
    shift 2
    if ! grep -qxF "toolchain = \"$toolchain\"" "$dist/manifest.toml"; then
        echo "build.sh: $dist was built with another toolchain; its bytes are not compared" >&2
        return
    fi
    for name in "$@"; do
        cmp "$($file "$name")" "$dist/$name.wasm" || fail "$dist/$name.wasm is not what its source gives"
    done
}

test_dist=$root/tests/guests/dist
# shellcheck disable=SC2046
case ${1-} in
"")
    build
    write dist plugin_file plugin_sources $(plugins)
    write "$test_dist" test_guest_file test_guest_sources $(test_guests)
    ;;
--check | --check-sources)
    check_sources dist plugin_sources $(plugins)
    check_sources "$test_dist" test_guest_sources $(test_guests)
    if [ "$1" = --check ]; then
        build
        check_bytes dist plugin_file $(plugins)
        check_bytes "$test_dist" test_guest_file $(test_guests)
    fi
    ;;
*) fail "unknown argument \`$1\`" ;;
esac
