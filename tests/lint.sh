#!/bin/sh
# Checks that no compiler makes: layers point downward, constructs this tree does not allow, line length,
# shell scripts, and gcc's -fanalyzer over the C that owns memory and parses files. Prints what is wrong and
# exits 1.
set -u
cd "$(dirname "$0")/.." || exit 1
status=0
report=$(mktemp)
trap 'rm -f "$report"' EXIT

# complain TITLE: adds the findings on stdin, if any, to the report under a title. (Not to a variable: the end
# of a pipeline is a process of its own.)
complain() {
    found=$(cat)
    [ -z "$found" ] || printf '%s\n' "$1" "$found" | sed '2,$s/^/  /' >>"$report"
}

# code PATTERN PATHS...: file:line:text of matching lines of the given sources. Comments, which may name what
# code may not use, are cut out first (line numbers stay).
code() {
    pattern=$1
    shift
    git ls-files -- "$@" | while read -r file; do
        sed -e 's://.*$::' -e 's:/\*.*\*/::g' -e '/\/\*/,/\*\//s/.*//' "$file" |
            grep -nE "$pattern" | sed "s|^|$file:|"
    done
}

includes() { code '^ *# *include +"' "$@"; }
# A file's include is fine if it starts with one of the allowed prefixes.
outside() { grep -vE "include +\"($1)" ; }

includes 'kernels/*' | outside 'kernels/' | complain "kernels/ includes kernels/ only:"
includes 'models/*' | outside '(kernels|models)/' | complain "models/ includes kernels/ and models/ only:"
rooms='pair|deck|ranks|session|measure|queue|chat|formats|tokenizers|jinja'
includes 'host/*.h' 'host/*.c' 'host/*.cc' \
    ':!host/wire/*' ':!host/cli/*' ':!host/serve/*' ':!host/example/*' |
    outside "(kernels|models|host/[a-z_]*\.h|host/($rooms))/?" |
    complain "host/ includes host/, models/ and kernels/ only:"
includes 'host/wire/*' | outside 'host/weir\.h"|host/wire/' | complain "host/wire/ sees host/weir.h only:"
includes 'host/cli/*' | outside 'host/weir\.h"|host/wire/|host/serve/serve\.h|host/cli/' |
    complain "host/cli/ sees host/weir.h, host/wire/ and serve.h only:"
includes 'host/serve/*' | outside 'host/weir\.h"|host/wire/|host/serve/' |
    complain "host/serve/ sees host/weir.h and host/wire/ only:"
includes 'host/example/*' | outside 'host/weir\.h"' | complain "host/example/ sees host/weir.h only:"
includes 'bench/*.c' 'bench/*.h' ':!bench/kernels/*' ':!bench/serve/*' | outside 'host/weir\.h"|bench/' |
    complain "bench/ sees host/weir.h only:"
includes 'bench/serve/*' | outside 'host/weir\.h"|host/wire/|host/serve/|bench/' |
    complain "bench/serve/ sees host/weir.h, host/wire/ and host/serve/ only:"
code 'include +[<"](cuda|cublas|nccl|driver_types)' '*.h' '*.c' '*.cc' |
    complain "CUDA types stay in .cu files:"

code '\b(malloc|calloc|realloc|reallocarray|aligned_alloc|posix_memalign|strdup|strndup)[ ]*\(' \
    'kernels/*' 'models/*' 'host/*' ':!kernels/base/mem.c' ':!*.cc' |
    complain "host memory goes through kernels/base/mem.h:"
code '\b(exit|abort|_exit|quick_exit)[ ]*\(' \
    'kernels/*' 'models/*' 'host/*' ':!host/cli/*' ':!host/example/*' ':!*.html' |
    complain "only front ends end the program:"
code '\b(gets|strcpy|strcat|sprintf|vsprintf|atoi|atol|atof|rand|srand|strtok|alloca)[ ]*\(' \
    '*.c' '*.h' '*.cc' |
    complain "calls that cannot be bounded or checked:"
code '\b(expf?|logf?|log1pf?|expm1f?|log2f?|exp2f?|powf?)[ ]*\(' 'kernels/accept/*' |
    complain "the accept path's exp and log are kernels/math/fmath.h:"
code '<<<|__shared__|\basm\b|__activemask|cooperative_groups|\bcub::|curand' 'kernels/*.cu' 'kernels/*.cuh' \
    ':!kernels/cuda/ptx.cuh' ':!kernels/cuda/util.cuh' |
    complain "what the CPU runner of kernels cannot carry:"

git grep -nIE '\b(TODO|FIXME|XXX|HACK)\b' -- . ':!tests/lint.sh' |
    complain "unfinished work belongs into issues:"
git grep -nIE '[[:blank:]]+$' -- '*.c' '*.h' '*.cc' '*.sh' '*.py' '*.cmake' '*CMakeLists.txt' |
    complain "trailing blanks:"
git grep -nIE '(^|[^[:alnum:]_.])/(home|root|Users)/[a-z]' -- . ':!tests/lint.sh' |
    complain "paths of one machine:"
# In characters, not bytes. A line of one word, such as a URL, may be longer. Seeded bugs quote sources as
# they stand. Markdown: prose only, without tables and code, and without what programs write (results,
# directories).
one_word=':[0-9]+:[[:blank:]]*[^[:blank:]]+$'
git ls-files -- '*.c' '*.h' '*.cc' '*.cu' '*.cuh' '*.sh' .ci/run '*CMakeLists.txt' '*.cmake' '*Dockerfile*' \
    '*.py' ':!tests/mutations/*_bugs.py' | LC_ALL=C.UTF-8 xargs grep -nE '^.{111,}' | grep -vE "$one_word" |
    complain "over 110 columns:"
# shellcheck disable=SC2016  # awk reads them
git ls-files -- '*.md' ':!*directories.md' ':!tests/mutations/results*' |
    grep -vE '^bench/results/(.*/|[a-z0-9_]+\.md)' |
    xargs awk 'FNR == 1 { code = 0 }
        /^ *```/ { code = !code }
        !code && !/^ *\|/ && !/^(    |\t)/ { print FILENAME ":" FNR ":" $0 }' |
    LC_ALL=C.UTF-8 grep -E '^[^:]*:[0-9]+:.{111,}' | grep -vE "$one_word" |
    complain "Markdown prose over 110 columns:"
git ls-files -- '*.c' '*.h' '*.cc' '*.cu' '*.cuh' '*.py' '*.sh' | while read -r file; do
    lines=$(wc -l <"$file")
    [ "$lines" -le 600 ] || echo "$file: $lines lines"
done | complain "longer than 600 lines:"

tests/circles.sh | complain "files that include each other in a circle:"

cat "$report"
[ ! -s "$report" ] || status=1

git ls-files -- '*.sh' .ci/run | xargs shellcheck -x || status=1

# Files for one instruction set own no memory and take minutes, so they are left out. The compiler's own
# warning finds uninitialised values: gcc 12's analyzer loses what is written under a condition that is tested
# twice, and knows no vectors at all (lanes_*).
analyze='gcc -std=c11 -D_GNU_SOURCE -I. -O1 -g -fanalyzer -Wno-analyzer-too-complex -Wno-analyzer-malloc-leak'
analyze="$analyze -Wno-analyzer-use-of-uninitialized-value -Werror -include tests/analyze.h -c -o /dev/null"
# The module for MPI, where there is one.
mpi=$(pkg-config --cflags ompi-c 2>/dev/null) && analyze="$analyze $mpi" || mpi=none
git ls-files -- 'kernels/*.c' 'models/*.c' 'host/*.c' ':!*_avx2.c' ':!*_avx512*.c' ':!*_amx.c' \
    ':!kernels/accept/sweep/lanes_*' ':!kernels/base/mem.c' ':!kernels/base/status.c' |
    if [ "$mpi" = none ]; then grep -v '^kernels/comm/mpi/'; else cat; fi |
    xargs -r -n 1 -P "${JOBS:-$(getconf _NPROCESSORS_ONLN)}" sh -c "$analyze \"\$0\"" || status=1

tests/ptxas.sh || status=1

[ $status -eq 0 ] && echo "lint: clean"
exit $status
