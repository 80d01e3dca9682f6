#!/bin/sh
# bench/gpu.sh without a GPU: a rehearsal of a whole loan in a folder that has what a bundle has and nothing
# beside it, under a loan's rules: $OUT, eight files of 16 MiB, a short last screen, an end in time. Ops and
# blocks run on the CPU runner of the CUDA kernels, answers of the demo pair on the CPU, with tiny models
# under the names of large ones. Then parts in which something is wrong, late or not there. Tests that the
# script runs, not how fast.
#
#   TOOLS=$PWD/build ON_RUNNER=$PWD/build/tests/cli/weir_on_runner \
#       RUNNER=$PWD/build/tests/bench/blocks_runner BENCH=$PWD/build/tests/bench/kernel_bench_runner \
#       tests/bench/gpu_script.sh
set -eu
export WEIR_SECONDS=5500 # ten times the time of a loan: machines that run this may be busy
root=$(cd "$(dirname "$0")/../.." && pwd)
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
export TOOLS="${TOOLS:?the folder of the programs}" ON_RUNNER="${ON_RUNNER:?weir on the runner of kernels}"
export RUNNER="${RUNNER:?weir-blocks on it}" BENCH="${BENCH:?weir-kernel-bench on it}"
TIMEOUT=$(command -v timeout)
export TIMEOUT
bundle=$here/weir-gpu
mkdir -p "$bundle/bin" "$bundle/bench/demo" "$bundle/models" "$here/tmp" "$here/path"
cp "$root"/bench/gpu*.sh "$bundle/bench/"
cp "$root/bench/demo/device.py" "$bundle/bench/demo/"
ln -s "$root/models/demo" "$bundle/models/demo"
echo 0123456789abcdef >"$bundle/COMMIT"

fail() {
    printf 'gpu_script.sh: %s\n' "$*" >&2
    sed 's/^/  | /' "$here/said" >&2
    exit 1
}

# stand_in FOLDER NAME: a program that runs the real one where there is no GPU.
stand_in() {
    {
        echo '#!/bin/sh'
        cat
    } >"$1/$2"
    chmod +x "$1/$2"
}
program() { stand_in "$bundle/bin" "$1"; }

# The options whose values are cut short, for a stand-in: $@ becomes what the real program gets.
# shellcheck disable=SC2016  # the stand-ins expand it
cut_short='last=
for a in "$@"; do
    shift
    case $last in
        --n-prompt) a=20 ;;
        --ctx) a=128 ;;
        --repeat) a=1 ;;
        --sessions) case $a in *,*) a=2,3 ;; esac ;;
    esac
    last=$a
    set -- "$@" "$a"
done'

# MODE_WRONG, MODE_LATE: WEIR_GRAPH of a mode with wrong tokens, or without any. HANGS: the last options of
# answers that never come. The plan of gemma3-4b is for a device of 40 MiB.
program weir <<EOF
case "\$*" in
    --version) exec "\$TOOLS/weir" "\$@" ;;
    info*gemma3-4b*) WEIR_RUNNER_MIB=40 exec "\$ON_RUNNER" "\$@" ;;
    generate*"\${HANGS:--}") exec sleep 100 ;;
    generate*--jsonl*) ;;
    generate* | info*) exec "\$ON_RUNNER" "\$@" ;;
esac
[ "\${WEIR_GRAPH:-} \$1" != "\${MODE_LATE:--} generate" ] || exec sleep 100
$cut_short
for a in "\$@"; do
    shift
    case \$a in cuda*) a=cpu ;; esac
    set -- "\$@" "\$a"
done
[ "\${WEIR_GRAPH:-} \$1" != "\${MODE_WRONG:--} generate" ] || exec "\$TOOLS/weir" "\$@" --temp 1
exec "\$TOOLS/weir" "\$@"
EOF

# One pair on the runner, in all modes, once; the others on the CPU, which takes less time. BLOCKS_LATE:
# WEIR_GRAPH of a mode whose blocks never end.
program weir-blocks <<EOF
$cut_short
[ "\${WEIR_GRAPH:-}" != "\${BLOCKS_LATE:--}" ] || exec sleep 100
case "\${BLOCKS_LATE:-} \$*" in
    " "*small-large*"--sessions 1 "*) exec "\$RUNNER" "\$@" --blocks 1 --repeat 1 ;;
    *) exec "\$TOOLS/weir-blocks" "\$@" --device cpu --blocks 2 --repeat 1 ;;
esac
EOF

program weir-kernel-bench <<'EOF'
[ "${NO_DEVICE:-}" != hangs ] || exec sleep 100
[ "${NO_DEVICE:-}" != none ] || exec env WEIR_RUNNER_DEVICES=-1 "$BENCH" "$@"
if [ -n "${NO_LT:-}" ]; then # there is one in a wheel only
    case ${LD_LIBRARY_PATH:-} in
        */nvidia/*) about="cuBLASLt in ${LD_LIBRARY_PATH##*:}" ;;
        *) about="no libcublasLt.so.13: prompts take weir's own products" ;;
    esac
    "$BENCH" "$@" --samples 1 >"$TMPDIR/rows"
    sed "s|cuBLASLt in the runner|$about|" "$TMPDIR/rows"
    rm "$TMPDIR/rows"
    exit
fi
exec "$BENCH" "$@" --tiny --samples 1
EOF

# gemma3-27b exceeds the memory of the device below, qwen2.5-32b exceeds any disk, and the files of gemma2-9b
# cannot be written.
program weir-random-model <<'EOF'
if [ "$1" = --list ]; then
    "$TOOLS/weir-random-model" --list |
        sed 's/ .*/ 1/; s/^gemma3-27b .*/gemma3-27b 90000/; s/^qwen2.5-32b .*/qwen2.5-32b 70000/'
    exit
fi
[ "$2" != gemma2-9b ] || set -- /proc/none "$2"
exec "$TOOLS/weir-random-model" "$1" "${2%-*}-tiny"
EOF

stand_in "$here/path" nvidia-smi <<'EOF'
echo 80000
EOF

# Nothing in memory, 57 GiB on disk.
stand_in "$here/path" df <<'EOF'
echo header
case $2 in /dev/shm) free=0 ;; *) free=60000000 ;; esac
echo "none 1 1 $free 0 /"
EOF

# timeout -k 2 SECONDS COMMAND...: patient on a busy machine, except with what hangs.
stand_in "$here/path" timeout <<'EOF'
shift 3
most=300
[ "${NO_DEVICE:-}" != hangs ] || most=1
case " $* " in
    *"${HANGS:--} " | *" WEIR_GRAPH=${MODE_LATE:--} "* | *" WEIR_GRAPH=${BLOCKS_LATE:--} "*) most=2 ;;
    */test_cuda_engine_ranks\ *) most=2 ;;
esac
exec "$TIMEOUT" -k 1 "$most" "$@"
EOF

# A test that passes, which none does without a GPU.
passing() {
    echo 'echo "[====] Synthesis: Tested: 3 | Passing: 3 | Failing: 0 | Crashing: 0"' | program "test_cuda_$1"
}

# gpu STATUS PART...: runs the script from elsewhere, as a loan does, with its output in said.
gpu() {
    want=$1 status=0
    shift
    rm -rf "$here/out"
    mkdir "$here/out"
    (cd "$here/tmp" && PATH=$here/path:$PATH TMPDIR=$here/tmp OUT=$here/out "$bundle/bench/gpu.sh" "$@") \
        >"$here/said" 2>&1 || status=$?
    [ "$status" -eq "$want" ] || fail "gpu.sh $*: status $status, expected $want"
    left=$(find "$here/tmp" -mindepth 1)
    [ -z "$left" ] || fail "files are left: $left"
}

# says PATTERN: a line of the last run's output matches.
says() { grep -q -- "$1" "$here/said" || fail "nothing says \"$1\""; }

# rows FILE N PATTERN: exactly that many lines of a results file match.
rows() {
    n=$(grep -c -- "$3" "$here/out/$1") || true
    [ "$n" -eq "$2" ] || fail "$1: $n lines match \"$3\", expected $2"
}

# ---- a whole loan ------------------------------------------------------------------------------------------

for name in backend engine exchange model_ranks engine_ranks; do passing $name; done
export PYTHON=none
gpu 0
unset PYTHON
files=$(find "$here/out" -mindepth 1 | wc -l)
[ "$files" -le 8 ] || fail "$files files"
[ -z "$(find "$here/out" -mindepth 1 \( -type d -o -size +16M \))" ] || fail "a folder or a large file"
for name in log.txt suite.txt latency.csv ops.csv demo.csv blocks.csv parts.csv; do
    [ -s "$here/out/$name" ] || fail "$name is empty or not there"
done
characters=$(sed -n '/^== last screen/,$p' "$here/said" | wc -c)
[ "$characters" -lt 6000 ] || fail "the last screen has $characters characters"
cmp -s "$here/said" "$here/out/log.txt" || fail "log.txt is not what was said"
says '^== last screen: commit 0123456789abcdef, cuda:0 (CPU runner, '
says '^facts ok [0-9]* s; demo ok [0-9]* s; latency ok '
says '^commit   0123456789abcdef$'
rows demo.csv 6 '^weir exact T=0 .*,ok$'
rows demo.csv 0 ',0\.0,'
says '^ 2 demo, same tokens of 24   calls ok 2[0-9] [0-9.]*; straight ok '
says '^what follows runs in mode while$'
says '^ 3 launch, us: straight      plain [0-9.]*/[0-9.]*; programmatic [0-9.]*/[0-9.]*; cooperative '
says '^ 4 team barrier, us          [0-9.]*; cluster of 8 -; host.s flag [0-9.]*; fence [0-9.]*; trip L2 '
says '^small-large: tokens of 3 runs are the same$'
says '^small-xl: tokens of 3 runs are the same$'
says '^ 5 T5 small-large, block     while [0-9.]* us, [0-9.]* tokens a block; straight '
says '^                  parts, us  verify pass [0-9.]*, draft step [0-9.]*, accept step [0-9.]*$'
says '^ 8 Llama 1B-8B, block        while [0-9.]* us'
says '^   Gemma 2 2B-27B, block     while [0-9.]* us'
says '^ 9 tests                     15 cases run, 15 passed'
says '^10 tokens/s by sessions      Llama 1: [0-9]*, 2: [0-9]*, 3: [0-9]*; T5 1: '
says '^not run: [1-9]'
says '^late: 0$'
says '^wrong: 0$'
says '^results in '
rows blocks.csv 1 '^family,mode,name,device,graph,gamma,'
rows blocks.csv 3 '^t5,[a-z]*,small-large,cuda:0,[a-z]*,5,1,.*,same,'
rows blocks.csv 1 '^t5,calls,small-xl,cpu,[a-z]*,5,1,'
rows blocks.csv 4 '^decoder,while,llama3-1b-llama3-8b,cpu,[a-z]*,[15],[23],'
rows parts.csv 1 '^family,mode,pair,part,rows,us_p50,'
rows parts.csv 4 ',block,6,'
rows latency.csv 18 '^launch,.*,ok$'
rows ops.csv 1 '^op,shape,'

# ---- what is wrong, late or not there ----------------------------------------------------------------------

# One mode hangs and another errs: the rest goes on, and what follows runs in one that is right.
export MODE_LATE=while MODE_WRONG=straight
gpu 1 demo
says '^late: demo: while: no 24 answers within 10 s$'
says '^WRONG: demo: straight: '
says '^what follows runs in mode calls$'
says '^demo wrong '
unset MODE_WRONG
gpu 0 demo
says '^demo late '
says '^what follows runs in mode straight$'
unset MODE_LATE

# A mode that never ends leaves the others' rows; late is not wrong.
export BLOCKS_LATE=straight
gpu 0 t5
says '^late: t5: small-large straight$'
says '^small-large: tokens of 2 runs are the same$'
unset BLOCKS_LATE

gpu 1 decoder
says '^WRONG: decoder: making weights of gemma2-2b gemma2-9b: status 1$'
says '^not run: decoder: gemma3-1b-gemma3-27b: 90001 MiB of weights, the device has 80000$'
says '^not run: decoder: no room for 70001 MiB of weights in memory or on disk$'
says '^not run: decoder: gemma3-270m-gemma3-4b: a plan of [0-9.]* MiB, the device has [0-9.]*$'
rows blocks.csv 3 ',same,'

# Without time everything is late.
export WEIR_SECONDS=5
gpu 0 ops suite
says '^late: ops: all of it$'
says '^ops late [0-9]* s; suite late '
export WEIR_SECONDS=soon
gpu 2 facts
export WEIR_SECONDS=5500

# Ranks on one device, then on two; the suite leaves their tests to this part.
passing engine_ranks
gpu 0 ranks
says '^devices: 1$'
says '^one device, exchange: ok, Tested: 3 |'
says '^two cooperative grids run side by side on one device: yes$'
says '^two WHILE graphs run side by side on one device: yes$'
says '^exchange, 4 KiB a rank  *2 '
says '^ranks: one device exchange=ok model_ranks=ok engine_ranks=ok; grids side by side: yes; WHILE graphs '
says '; block on cuda:0 [0-9.]* us; block on cuda:0,0 [0-9.]* us$'
rows suite.txt 3 '^== '
export WEIR_RUNNER_DEVICES=2
gpu 0 ranks
unset WEIR_RUNNER_DEVICES
says '; 2 devices exchange=ok model_ranks=ok engine_ranks=ok; block on cuda:0,1 [0-9.]* us$'
rows suite.txt 6 '^== '

# A test waits in vain, one is not there, one hangs; so does an answer with graphs.
rm "$bundle/bin/test_cuda_model_ranks"
program test_cuda_exchange <<'EOF'
echo '[----] exchange.c:1: Assertion failed: rank 1 silent for 30 s, exchange 7'
exit 1
EOF
echo 'echo "[RUN ] the case that hangs"; sleep 100' | program test_cuda_engine_ranks
export HANGS='cuda:0,0 -tp 2'
gpu 1 ranks
unset HANGS
says '^one device, exchange: late, no summary'
says '^one device, model_ranks: missing (no test_cuda_model_ranks in '
says '^WRONG: ranks: one device, model_ranks: missing$'
says '^late: ranks: one device, engine_ranks$'
says '^one device, generate on two ranks: with graphs late, with --no-graph ok$'
says '^two cooperative grids run side by side on one device: yes in generate, not in the test$'
says '^two WHILE graphs run side by side on one device: no, but --no-graph works$'

# One fails, and its answers have graphs only.
echo 'exit 1' | program test_cuda_engine_ranks
export HANGS='--no-graph'
gpu 1 ranks
unset HANGS
says '^one device, engine_ranks: wrong, no summary'
says '^one device, generate on two ranks: with graphs ok, with --no-graph late$'
says '^two WHILE graphs run side by side on one device: yes in generate, not in the test$'

# cuBLASLt of a toolkit, which the programs find, is before a wheel's, which Python finds.
stand_in "$here/path" python_with_wheel <<'EOF'
echo /wheels/nvidia/cu13/lib
EOF
export PYTHON=python_with_wheel
gpu 0 facts
says '^cublaslt the runner$'
export NO_LT=1
gpu 0 facts
says '^cublaslt /wheels/nvidia/cu13/lib$'
says '; cuBLASLt /wheels/nvidia/cu13/lib$'
export PYTHON=none
gpu 0 facts
says '^cublaslt not found$'
says "; no libcublasLt.so.13: prompts take weir's own products), "
unset NO_LT PYTHON

# A test of the suite that fails.
echo 'echo "[FAIL] a case"; exit 3' | program test_cuda_engine
gpu 1 suite
says '^WRONG: suite: test_cuda_engine: status 3$'
says '^suite wrong '

gpu 2 tea
says 'gpu.sh: unknown part tea; there are: facts demo latency '
export NO_DEVICE=none
gpu 3 facts
unset NO_DEVICE
says '^gpu.sh: no GPU to measure: '
export NO_DEVICE=hangs
gpu 1 facts
unset NO_DEVICE
says '^gpu.sh: the device does not answer within 30 s$'
unset NO_DEVICE

# A device on which everything hangs but the first copy: the script ends in time, with its last screen.
rm "$here/path/timeout"
for name in weir weir-blocks; do echo 'exec sleep 100' | program $name; done
program weir-kernel-bench <<'EOF'
[ "$*" = "--tiny --only copy" ] || exec sleep 100
exec "$BENCH" "$@" --samples 1
EOF
export WEIR_SECONDS=12 PYTHON=none
began=$(date +%s)
gpu 1
took=$(($(date +%s) - began))
[ "$took" -le 60 ] || fail "12 s became $took"
says '^facts [a-z]* [0-9]* s; demo late '
says '^late: [1-9]'
says '^wrong: '
