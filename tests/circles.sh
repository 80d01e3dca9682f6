#!/bin/sh
# Circles of files: a source and its header are one node, an include is an arrow. Prints the arrows of all
# circles (and of paths between two circles); status 1 if there are any. A .cu does not belong to the .h of
# its name: that header is the contract of an op, which both CPU and CUDA sources fulfil.
set -u
cd "$(dirname "$0")/.." || exit
arrows=$(mktemp)
trap 'rm -f "$arrows" "$arrows.circles"' EXIT
git ls-files -- 'kernels/*' 'models/*' 'host/*' 'bench/*' 'tests/*' | grep -E '\.(c|h|cc|cu|cuh)$' |
    xargs grep -HE '^ *# *include +"' |
    sed -nE 's/^([^:]*):.*"([^"]*)".*$/\1 \2/p' |
    sed -E 's/\.(c|cc|h)( |$)/\2/; s/\.(c|cc|h)$//; s/\.cuh?/.cu/g' | awk '$1 != $2' | sort -u >"$arrows"
# Drop nodes without arrows in or out, until only circles and the paths between them are left.
awk '
    { from[NR] = $1; to[NR] = $2 }
    END {
        for (changed = 1; changed;) {
            changed = 0
            delete into; delete out
            for (i in from) { into[to[i]] = 1; out[from[i]] = 1 }
            for (i in from)
                if (!(from[i] in into) || !(to[i] in out)) { delete from[i]; delete to[i]; changed = 1 }
        }
        for (i in from) print from[i] " -> " to[i]
    }' "$arrows" | sort >"$arrows.circles"
cat "$arrows.circles"
[ ! -s "$arrows.circles" ]
