#!/bin/sh
# usage: run.sh BUILD_DIR SECONDS: runs every fuzz_* program under BUILD_DIR for SECONDS, two at a time. Seeds
# come from tests/fuzz/seeds/<target>/ if it exists; what a run learns stays in BUILD_DIR/corpus/<target>/. A
# crash leaves its input in BUILD_DIR/crashes/ and fails the run.
set -eu
build=$1 seconds=$2
cd "$(dirname "$0")/../.."
mkdir -p "$build/crashes"
targets=$(find "$build" -type f -perm -u+x -name 'fuzz_*' ! -name '*.*' | sort)
[ -n "$targets" ] || {
    echo "run.sh: no fuzz_* program under $build" >&2
    exit 1
}

one() {
    name=$(basename "$1")
    seeds=tests/fuzz/seeds/${name#fuzz_}
    [ -d "$seeds" ] || seeds=
    mkdir -p "$build/corpus/$name"
    # shellcheck disable=SC2086  # no seeds, no argument
    if "$1" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="$build/crashes/$name-" "$build/corpus/$name" $seeds >"$build/$name.log" 2>&1; then
        inputs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$build/$name.log")
        printf '%s: %s inputs\n' "$name" "$inputs"
    else
        tail -n 40 "$build/$name.log"
        echo "$name: FAILED" >&2
        return 1
    fi
}

if [ "${3:-}" != "" ]; then
    one "$3"
else
    printf '%s\n' "$targets" | xargs -n 1 -P 2 "$0" "$build" "$seconds"
fi
