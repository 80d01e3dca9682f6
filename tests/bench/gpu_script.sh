#!/bin/sh
# bench/gpu.sh without a GPU: its parts t5 and decoder on the CPU, with tiny models under the names of large
# ones, prompts and repeats cut short, and a stand-in of nvidia-smi that reports the device's memory; its part
# ranks with tests that pass, fail, hang or are not there. Tests that the script runs, not how fast.
#
#   TOOLS=$PWD/build ON_RUNNER=$PWD/build/tests/cli/weir_on_runner tests/bench/gpu_script.sh
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
mkdir "$here/bin" "$here/tmp"
export TOOLS="${TOOLS:?the folder of the programs}" ON_RUNNER="${ON_RUNNER:?weir on the runner of kernels}"
export ASKED="$here/asked"

fail() {
    printf 'gpu_script.sh: %s\n' "$*" >&2
    sed 's/^/  | /' "$here/said" >&2
    exit 1
}

# program NAME: a stand-in that shortens its arguments and runs the real one on the CPU.
program() {
    {
        echo '#!/bin/sh'
        cat
    } >"$here/bin/$1"
    chmod +x "$here/bin/$1"
}

# The options whose values are cut short, for a stand-in: $@ becomes what the real program gets.
# shellcheck disable=SC2016  # the stand-ins expand it
cut_short='last=
for a in "$@"; do
    shift
    case $last in
        --device) a=cpu ;;
        --n-prompt) a=40 ;;
        --repeat) a=1 ;;
        --sessions) a=1,2 ;;
        --blocks) a=2 ;;
    esac
    last=$a
    set -- "$@" "$a"
done'

# The plan for gemma3-4b is for a device of 48 MiB, made by the program that has a device on the CPU, as the
# answers are. HANGS: the last options of those that never come.
program weir <<EOF
case "\$*" in
    --version) ;;
    info*gemma3-4b*) WEIR_RUNNER_MIB=48 exec "\$ON_RUNNER" "\$@" ;;
    generate*"\${HANGS:-none}") exec sleep 100 ;;
    generate* | info*cuda:99) exec "\$ON_RUNNER" "\$@" ;;
    *) echo "\$*" >>"\$ASKED" ;;
esac
$cut_short
exec "\$TOOLS/weir" "\$@"
EOF

program weir-blocks <<EOF
$cut_short
exec "\$TOOLS/weir-blocks" "\$@"
EOF

program weir-kernel-bench <<'EOF'
exec "$TOOLS/weir-kernel-bench" --device cpu "$@"
EOF

# gemma3-27b exceeds the memory of the device below, qwen2.5-32b exceeds any disk, and the files of llama3-8b
# cannot be written.
program weir-random-model <<'EOF'
if [ "$1" = --list ]; then
    "$TOOLS/weir-random-model" --list |
        sed 's/ .*/ 1/; s/^gemma3-27b .*/gemma3-27b 90000/; s/^qwen2.5-32b .*/qwen2.5-32b 70000/'
    exit
fi
[ "$2" != llama3-8b ] || set -- /proc/none "$2"
exec "$TOOLS/weir-random-model" "$1" "${2%-*}-tiny"
EOF

program nvidia-smi <<'EOF'
echo 80000
EOF

# Nothing in memory, 57 GiB on disk.
program df <<'EOF'
echo header
case $2 in /dev/shm) free=0 ;; *) free=60000000 ;; esac
echo "none 1 1 $free 0 /"
EOF

# A test that passes, which none does without a GPU.
passing='echo "[====] Synthesis: Tested: 3 | Passing: 3 | Failing: 0 | Crashing: 0"'

# timeout -k 3 SECONDS COMMAND...: patient on a busy machine, except with what hangs.
TIMEOUT=$(command -v timeout)
export TIMEOUT
program timeout <<'EOF'
shift 3
case "$*" in
    */test_cuda_engine_ranks\ * | *"${HANGS:-none}") set -- 2 "$@" ;;
    *) set -- 300 "$@" ;;
esac
exec "$TIMEOUT" -k 1 "$@"
EOF

# gpu PART...: runs the script with its output in said; returns its status.
gpu() {
    rm -rf "$here/results"
    : >"$ASKED"
    PATH=$here/bin:$PATH TMPDIR=$here/tmp WEIR_TOOLS=$here/bin WEIR_RESULTS=$here/results WEIR_COMMIT=none \
        "$root/bench/gpu.sh" "$@" >"$here/said" 2>&1
}

# says PATTERN: a line of the last run's output matches.
says() { grep -q -- "$1" "$here/said" || fail "nothing says \"$1\""; }

# rows FILE N PATTERN: exactly that many lines of a results file match.
rows() {
    n=$(cat "$here"/results/*/"$1" | grep -c -- "$3") || true
    [ "$n" -eq "$2" ] || fail "$1: $n lines match \"$3\", expected $2"
}

gpu t5 || fail "t5: status $?"
says '^small-large: tokens with and without a graph are the same'
says '^small-xl: tokens with and without a graph are the same'
rows t5_blocks.csv 1 '^name,'
rows t5_blocks.csv 20 ',same,'
rows t5_blocks.csv 4 ',no,'
rows t5_parts.csv 1 '^pair,part,'
rows t5_parts.csv 2 ',block,'

status=0
gpu decoder || status=$?
[ "$status" -eq 1 ] || fail "decoder: status $status, and one pair had no files"
says '^llama3-1b-llama3-8b: not run (its weights could not be made)'
says '^gemma3-1b-gemma3-27b: not run (90001 MiB of weights, the device has 80000)'
says '^qwen2.5-0.5b-qwen2.5-32b: not run (no room for 70001 MiB of weights in memory or on disk)'
says '^gemma3-270m-gemma3-4b: not run (a plan of [0-9.]* MiB, the device has [0-9.]*)'
says '^3 of 7 pairs timed'
says '^decoder *FAILED'
for pair in gemma2-2b-gemma2-27b gemma2-2b-gemma2-9b qwen2.5-0.5b-qwen2.5-7b; do
    says "^$pair: tokens with and without a graph are the same"
    rows decoder_blocks.csv 10 "^$pair,cpu,.*,same,"
    rows decoder_parts.csv 1 "^$pair,block,"
done
grep -q '^bench .*--n-prompt 1000 -c 1152 ' "$ASKED" || fail "weir bench was not asked for a context of 1152"
[ -z "$(find "$here/tmp" -mindepth 1)" ] || fail "files are left: $(find "$here/tmp" -mindepth 1)"

# Ranks on one device, then on two; the suite leaves their tests to this part.
for name in exchange model_ranks engine_ranks; do echo "$passing" | program "test_cuda_$name"; done
gpu ranks || fail "ranks: status $?"
says '^devices: 1$'
says '^one device, exchange: ok, Tested: 3 |'
says '^one device, engine_ranks: ok, '
says '^two cooperative grids run side by side on one device: yes$'
says '^two WHILE graphs run side by side on one device: yes$'
says '^exchange, 4 KiB a rank  *2 '
says '^draft step '
says '^ranks: one device exchange=ok model_ranks=ok engine_ranks=ok; grids side by side: yes; WHILE graphs '
says '; block on cuda:0 [0-9.]* us; block on cuda:0,0 [0-9.]* us$'
rows suite.txt 3 '^== '
echo "$passing" | program test_cuda_backend
gpu suite || fail "suite: status $?"
says '^test_cuda_backend: status 0, Tested: 3 '
rows suite.txt 1 '^== '
WEIR_RUNNER_DEVICES=2 gpu ranks || fail "ranks of two devices: status $?"
says '^2 devices, engine_ranks: ok, '
says '; 2 devices exchange=ok model_ranks=ok engine_ranks=ok; block on cuda:0,1 [0-9.]* us$'
rows suite.txt 6 '^== '

# A test waits in vain, one is not there, one hangs; so does an answer with graphs.
rm "$here/bin/test_cuda_model_ranks"
program test_cuda_exchange <<'EOF'
echo '[----] exchange.c:1: Assertion failed: rank 1 silent for 30 s, exchange 7'
exit 1
EOF
echo 'echo "[RUN ] the case that hangs"; sleep 100' | program test_cuda_engine_ranks
status=0
HANGS='cuda:0,0 -tp 2' gpu ranks || status=$?
[ "$status" -eq 1 ] || fail "ranks: status $status, and none of the tests passes"
says '^one device, exchange: late, no summary'
says '^\[----\] .*rank 1 silent for 30 s, exchange 7'
says '^one device, model_ranks: missing (no test_cuda_model_ranks in '
says '^one device, engine_ranks: late, no summary'
says '^\[RUN \] the case that hangs$'
says '^one device, generate on two ranks: with graphs late, with --no-graph ok$'
says '^two cooperative grids run side by side on one device: yes in generate, not in the test$'
says '^two WHILE graphs run side by side on one device: no, but --no-graph works$'
says '^ranks: one device exchange=late model_ranks=missing engine_ranks=late; grids side by side: yes in '
says '; block on cuda:0,0 [0-9.]* us$'
says '^ranks *FAILED'

# One fails, and its answers have graphs only.
echo 'exit 1' | program test_cuda_engine_ranks
HANGS='--no-graph' gpu ranks && fail "ranks: status 0, and a test fails"
says '^one device, engine_ranks: wrong, no summary'
says '^one device, generate on two ranks: with graphs ok, with --no-graph late$'
says '^two cooperative grids run side by side on one device: no$'
says '^two WHILE graphs run side by side on one device: yes in generate, not in the test$'

status=0
gpu tea || status=$?
[ "$status" -eq 2 ] || fail "an unknown part: status $status"
says 'gpu.sh: unknown part tea; there are: facts suite sanitizer copy ops t5 decoder demo ranks'
