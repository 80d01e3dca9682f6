#!/bin/sh
# weir-blocks over tiny decoder-only pairs on the CPU runner of the CUDA kernels: session 0 gets the same
# tokens alone and with another session, with either kind of graph and without.
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
    for graph in while straight none; do
        WEIR_GRAPH=$graph "$runner" -m "$here/1" -md "$here/2" --gamma 3 --sessions 1,2 --n-prompt 20 \
            --ctx 64 --blocks 2 --repeat 1 --device cuda --name $family >>"$here/rows"
    done
done
awk -F, '$1 == "name" { next }
    !($1 in tokens) { tokens[$1] = $11 }
    { seen[$1 $3]++ }
    $12 != "cooperative" || $13 != "on" { print "other ways: " $0; bad = 1 }
    $10 != "same" || $11 == "" || tokens[$1] != $11 { print "other tokens: " $0; bad = 1 }
    END { for (key in seen) n += seen[key] == 2
          if (n != 6) print "rows of " n " of 6 runs"
          exit bad || n != 6 }' "$here/rows" || {
    cat "$here/rows"
    exit 1
}
