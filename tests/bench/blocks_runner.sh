#!/bin/sh
# weir-blocks over tiny decoder-only pairs on the CPU runner of the CUDA kernels: session 0 gets the same
# tokens alone and with another session, with a graph and without.
#
#   TOOLS=$PWD/build RUNNER=$PWD/build/tests/bench/blocks_runner tests/bench/blocks_runner.sh
set -eu
tools=${TOOLS:?the folder of the programs}
runner=${RUNNER:?the program on the runner}
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT

for family in gemma2 llama3; do
    for seed in 1 2; do
        "$tools/weir-random-model" "$here/$seed" $family-tiny $seed >"$here/said"
    done
    for graph in '' --no-graph; do
        # shellcheck disable=SC2086  # one word or none
        "$runner" -m "$here/1" -md "$here/2" --gamma 3 --sessions 1,2 --n-prompt 20 --ctx 64 --blocks 2 \
            --repeat 1 --device cuda $graph --name $family >>"$here/rows"
    done
done
awk -F, '$1 == "name" { next }
    !($1 in tokens) { tokens[$1] = $11 }
    { seen[$1 $3]++ }
    $10 != "same" || $11 == "" || tokens[$1] != $11 { print "other tokens: " $0; bad = 1 }
    END { for (key in seen) n += seen[key] == 2
          if (n != 4) print "rows of " n " of 4 runs"
          exit bad || n != 4 }' "$here/rows" || {
    cat "$here/rows"
    exit 1
}
