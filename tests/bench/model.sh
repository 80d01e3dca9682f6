#!/bin/sh
# bench/model: expected.md is what the model prints; with a latency.csv, here with the rows of the CPU runner,
# its constants are those of the file; a file that is not one is refused in a line. Skipped without Python.
#
#   BENCH=$PWD/build/tests/bench/kernel_bench_runner tests/bench/model.sh
set -eu
cd "$(dirname "$0")/../.."
command -v python3 >/dev/null 2>&1 || exit 77
bench=${BENCH:?weir-kernel-bench on the runner of kernels}
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
model="python3 -B bench/model/model.py"

fail() {
    printf 'model.sh: %s\n' "$*" >&2
    exit 1
}

$model >"$here/made"
cmp -s "$here/made" bench/model/expected.md || fail "expected.md is not what bench/model/model.py prints"

# The rows of a run, with invented figures: 1 us and 3,000 GB/s.
"$bench" --tiny --samples 1 --only latency --csv "$here/run.csv" >"$here/said"
awk -F, -v OFS=, 'NR > 1 { $(NF - 6) = 1; $(NF - 3) = 3000 } { print }' "$here/run.csv" >"$here/latency.csv"
$model --latency "$here/latency.csv" >"$here/made" || fail "the runner's latencies: status $?"
grep -q '^Assumed as before: none of its constants\.$' "$here/made" || fail "a row of latency.csv is missing"
grep -q '^| H100, measured latencies | small → large | 5 | [0-9,]* | ' "$here/made" || fail "a range is left"

# A launch of the file costs a launch of the model: ten times the gap makes a longer block.
block() {
    $model --latency "$1" |
        awk -F'|' '/small → large \| 5 / && !n++ { gsub(/[^0-9]/, "", $8); print $8 }'
}
awk -F, -v OFS=, '/^launch,"*programmatic, WHILE graph, all blocks/ { $(NF - 6) *= 10 } { print }' \
    "$here/latency.csv" >"$here/slower.csv"
[ "$(block "$here/slower.csv")" -gt "$(block "$here/latency.csv")" ] ||
    fail "a longer gap makes no longer block"

grep -v '^trip,L2' "$here/latency.csv" >"$here/less.csv"
$model --latency "$here/less.csv" >"$here/made"
grep -q '^Assumed as before: trip\.$' "$here/made" || fail "a missing row is not named"
for wrong in bench/model/README.md "$here/none"; do
    status=0
    $model --latency "$wrong" >"$here/made" 2>"$here/said" || status=$?
    said="$status $(wc -l <"$here/said") $(grep -c "$wrong" "$here/said")"
    [ "$said" = "1 1 1" ] || fail "$wrong: status $status, $(cat "$here/said")"
done
