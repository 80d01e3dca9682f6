#!/bin/sh
# Compares what ptxas reports for the kernels on sm_90a with kernels/ptxas.txt: registers and stack at most,
# static shared memory exactly, no spills. This keeps the models in kernels/*/MODEL.md true. A kernel may
# have a stack if it passes structs to functions that are not inlined (accept, loop); elsewhere a stack would
# be an array that did not fit in registers.
# The table names the sources and the compiler that it was made from: where both are the same, there is
# nothing to compare, and nothing is compiled.
#   tests/ptxas.sh            checks; each complaint names the line to change
#   tests/ptxas.sh --update   rewrites the table
set -u
cd "$(dirname "$0")/.." || exit 1
table=kernels/ptxas.txt
if ! command -v nvcc >/dev/null 2>&1; then
    echo "ptxas: skipped: no nvcc here"
    exit 0
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
version=$(nvcc --version | sed -n 's/.*release \([0-9.]*\),.*/\1/p')

listed=$(sed -n 's/^ *\([a-z_]*\/[a-z0-9_\/]*\.cu\)$/\1/p' kernels/cuda_sources.cmake | sort)
there=$(cd kernels && find . -name '*.cu' | sed 's|^\./||' | sort)
if [ "$listed" != "$there" ]; then
    echo "ptxas: kernels/cuda_sources.cmake and kernels/ differ (listed, there):"
    echo "$listed" >"$work/listed"
    echo "$there" | diff "$work/listed" -
    exit 1
fi

# Of all that ptxas' word depends on besides the compiler.
sources=$(find kernels tests/ptxas.sh -name '*.cu' -o -name '*.cuh' -o -name '*.h' -o -name ptxas.sh |
    LC_ALL=C sort | xargs sha256sum | sha256sum | cut -c 1-16)
made_from="CUDA $version, sources $sources"
if [ "${1:-}" != --update ] && grep -qF "# Made from $made_from" "$table"; then
    echo "ptxas: $(grep -vc '^#' "$table") kernels, $table is made from these sources"
    exit 0
fi

# measure WORK FILE: "registers<TAB>smem<TAB>stack<TAB>spills<TAB>file<TAB>kernel" of each kernel.
cat >"$work/measure" <<'SH'
file=$2 log=$1/$(echo "$2" | tr / _)
if ! nvcc -std=c++17 -O3 -DNDEBUG -D_GNU_SOURCE -I. -gencode arch=compute_90a,code=sm_90a -fmad=false \
    -Werror all-warnings -Xptxas -v -cubin -o "$log.cubin" "kernels/$file" >"$log.log" 2>&1; then
    cat "$log.log"
    echo "ptxas: kernels/$file does not compile"
    exit 255 # ends xargs
fi
c++filt -p <"$log.log" | awk -v file="$file" '
    /Compiling entry function/ {
        split($0, part, "\047")
        name = part[2]
        gsub(/\(anonymous namespace\)::/, "", name)
        gsub(/^void /, "", name)
        stack = spills = 0
    }
    /bytes stack frame/ { stack += $1; spills += $5 + $9 } # of the kernel and of functions not inlined
    /Used [0-9]+ registers/ {
        registers = smem = 0
        for (i = 2; i <= NF; i++) {
            if ($i ~ /^registers/) registers = $(i - 1)
            if ($i ~ /^smem/) smem = $(i - 2)
        }
        printf "%d\t%d\t%d\t%d\t%s\t%s\n", registers, smem, stack, spills, file, name
    }' >"$log.rows"
SH
# shellcheck disable=SC2086  # a list of names
printf '%s\n' $listed | xargs -n 1 -P "${JOBS:-$(getconf _NPROCESSORS_ONLN)}" sh "$work/measure" "$work" ||
    exit 1
cat "$work"/*.rows | sort -t "$(printf '\t')" -k 5,6 >"$work/now"

if [ "${1:-}" = --update ]; then
    {
        echo "# Kernels as ptxas sees them for sm_90a: tests/ptxas.sh compares, --update writes this anew."
        echo "# Made from $made_from"
        echo "# registers (at most), static shared memory (bytes), stack (bytes at most), file, kernel;" \
            "nothing may spill"
        awk -F '\t' '{ printf "%3d %6d %4d  %s  %s\n", $1, $2, $3, $5, $6 }' "$work/now"
    } >"$table"
    echo "ptxas: wrote $(wc -l <"$work/now") kernels to $table"
    exit 0
fi

# Registers depend on the compiler's version; the rest does not.
exact=1
if ! grep -q "CUDA $version," "$table"; then
    echo "ptxas: CUDA $version here, $table is another's: registers are not compared"
    exact=0
fi
awk -F '\t' -v exact="$exact" -v table="$table" '
    NR == FNR {
        if ($0 ~ /^#/ || $0 == "") next
        n = split($0, w, " ")
        name = w[5]
        for (i = 6; i <= n; i++) name = name " " w[i]
        at[w[4] "\t" name] = FNR
        registers[w[4] "\t" name] = w[1]
        smem[w[4] "\t" name] = w[2]
        stack[w[4] "\t" name] = w[3]
        next
    }
    {
        key = $5 "\t" $6
        seen[key] = 1
        what = "kernels/" $5 ": " $6
        if ($4 > 0) say(what ": " $4 " bytes of spills, expected none")
        here = table ":" at[key] ": " what
        if (!(key in at))
            say(table ": no line for " what \
                " (" $1 " registers, " $2 " bytes of shared memory, " $3 " of stack)")
        else if ($3 > stack[key])
            say(here " has " $3 " bytes of stack, at most " stack[key] " expected")
        else if (exact && $1 > registers[key])
            say(here " takes " $1 " registers, at most " registers[key] " expected")
        else if ($2 != smem[key])
            say(here " has " $2 " bytes of shared memory, " smem[key] " expected")
    }
    END {
        for (key in at) if (!(key in seen)) say(table ":" at[key] ": no such kernel any more")
        exit bad
    }
    function say(text) { print "ptxas: " text; bad = 1 }' "$table" "$work/now" || exit 1
echo "ptxas: $(wc -l <"$work/now") kernels as in $table"
