#!/bin/sh
# Fuzzes what parses bytes from outside, for some seconds each; what breaks is left in artifacts/.
#
#   tests/fuzz/run.sh [SECONDS [TARGET...]]     60 seconds for every target
#   tests/fuzz/run.sh merge                     keeps of the corpora what adds something
#
# Needs a C++ compiler, no nightly toolchain: the instrumentation is LLVM's, asked for by flags.
set -eu
cd "$(dirname "$0")"
work=${1:-60}
[ $# -eq 0 ] || shift
targets=${*:-dns_question dns_answer http_head http_body hpack http2}
# With a target given, these flags are not those of build scripts.
triple=$(rustc -vV | sed -n 's/^host: //p')
export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares"
cargo build --release --target "$triple"
for target in $targets; do
    program=target/$triple/release/$target
    if [ "$work" = merge ]; then
        rm -rf "target/$target" && mkdir -p "target/$target"
        "$program" -merge=1 -max_len=512 "target/$target" "corpus/$target" "found/$target"
        rm -rf "corpus/$target" && mv "target/$target" "corpus/$target"
        continue
    fi
    mkdir -p "found/$target" artifacts
    "$program" -max_total_time="$work" -max_len=4096 -timeout=5 -artifact_prefix=artifacts/ \
        -print_final_stats=1 "found/$target" "corpus/$target"
done
