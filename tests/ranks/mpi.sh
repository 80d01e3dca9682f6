#!/bin/sh
# Ranks as processes: mpi.sh BUILD. The exchanges of comm_cases.h over MPI; answers on 2 and 4 processes
# against one; what a user sees of a process that is killed, stopped, missing or different. Exit status 77:
# there is no MPI.
set -eu
cd "$(dirname "$0")/../.."
build=$1
if ! [ -f "$build/weir-mpi.so" ] || ! command -v mpirun >/dev/null 2>&1; then
    echo "no MPI: skipped"
    exit 77
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
pair="-m models/demo/verifier -md models/demo/drafter"
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
export OMPI_MCA_orte_base_help_aggregate=0 OMPI_MCA_mpi_yield_when_idle=1 WEIR_MPI_MODULE="$build/weir-mpi.so"
# Processes of a sanitized build meet Open MPI's own leaks at their end.
export ASAN_OPTIONS="${ASAN_OPTIONS:-}:detect_leaks=0"

fail() {
    echo "mpi.sh: $*" >&2
    cat "$work/log" >&2
    exit 1
}
# says LINE: what the job printed has it
says() { grep -qF -- "$1" "$work/log" || fail "no line with: $1"; }
# job N WORDS: that many processes of the program; the status to $status, seconds to $seconds
job() {
    n=$1
    shift
    began=$(date +%s)
    status=0
    mpirun -np "$n" "$build/weir" "$@" >"$work/out" 2>"$work/log" || status=$?
    seconds=$(($(date +%s) - began))
}

# Of the devices on the runner of kernels.
export WEIR_RUNNER_DEVICES=8 WEIR_RUNNER_IPC=1
for n in 2 4; do
    mpirun -np "$n" "$build/tests/ranks/mpi_cases" >"$work/log" 2>&1 || fail "exchanges over $n processes"
done

prompts="$work/prompts.jsonl"
cat >"$prompts" <<'JSON'
{"prompt": "Where is my hat?", "seed": 5}
{"prompt": "It snowed a lot.", "seed": 6, "deferral_rule": "opt", "deferral_alpha": 0.1, "top_k": 20}
{"prompt": "He is, without a doubt, a really talented young man.", "seed": 7, "temperature": 0}
JSON
only_tokens() { sed 's/"timings".*//' "$1"; }
# shellcheck disable=SC2086  # a list of words
"$build/weir" generate $pair --input "$prompts" -np 2 -n 40 -q >"$work/one"
only_tokens "$work/one" >"$work/a"
for n in 2 4; do
    for draft in auto "$n"; do
        # shellcheck disable=SC2086
        job "$n" generate $pair --input "$prompts" -np 2 -n 40 -tp "$n" --draft-tp "$draft" --comm mpi
        [ "$status" -eq 0 ] || fail "$n processes, drafter on $draft: status $status"
        only_tokens "$work/out" >"$work/b"
        cmp -s "$work/a" "$work/b" || fail "$n processes, drafter on $draft, write something else"
        [ "$draft" = "$n" ] || says "drafter's layers: exchange "
    done
done

# Devices of processes, which map each other's memory; the last prompt is long on the runner.
device=$build/tests/cli/weir_on_runner
head -n 2 "$prompts" >"$work/few"
# shellcheck disable=SC2086
"$device" generate $pair --device cuda --input "$work/few" -n 8 -q >"$work/one" 2>"$work/log" ||
    fail "one device"
# shellcheck disable=SC2086
mpirun -np 2 "$device" generate $pair --device cuda --input "$work/few" -n 8 -q -tp 2 --comm mpi \
    >"$work/out" 2>"$work/log" || fail "devices of 2 processes"
only_tokens "$work/one" >"$work/a"
only_tokens "$work/out" >"$work/b"
cmp -s "$work/a" "$work/b" || fail "devices of 2 processes write something else"

# shellcheck disable=SC2086
job 2 generate $pair -p hi -tp 4 --comm mpi
[ "$status" -ne 0 ] || fail "-tp 4 on two processes passes"
says "-tp 4, but the MPI job has 2 processes"

# A drafter with a vocabulary of its own: rank 0 alone has its texts.
"$build/tests/ranks/mpi_cases" text >"$work/dirs" || fail "no pair of two vocabularies"
read -r verifier drafter <"$work/dirs"
mv "$verifier" "$work/verifier" && mv "$drafter" "$work/drafter"
text="-m $work/verifier -md $work/drafter -c 128 --temp 0"
cat >"$work/texts.jsonl" <<'JSON'
{"prompt": "The quick"}
{"prompt": "naïve caf", "deferral_rule": "token-v3", "deferral_alpha": 0.7}
JSON
# shellcheck disable=SC2086
"$build/weir" generate $text --input "$work/texts.jsonl" -np 2 -n 40 --gamma 4 -q >"$work/one"
only_tokens "$work/one" >"$work/a"
# shellcheck disable=SC2086
job 2 generate $text --input "$work/texts.jsonl" -np 2 -n 40 --gamma 4 -tp 2 --comm mpi
[ "$status" -eq 0 ] || fail "two vocabularies on 2 processes: status $status"
only_tokens "$work/out" >"$work/b"
cmp -s "$work/a" "$work/b" || fail "two vocabularies on 2 processes write something else"

# Each row: what the second process has instead, and the line that the user gets.
differs() {
    status=0
    # shellcheck disable=SC2086
    mpirun -np 1 "$build/weir" generate $pair -p hi -tp 2 --comm mpi : \
        -np 1 "$build/weir" generate $1 -p hi -tp 2 --comm mpi >"$work/out" 2>"$work/log" || status=$?
    [ "$status" -ne 0 ] || fail "$1 passes"
    says "$2"
}
differs "$pair -np 3" "rank 1 differs: sessions (-np) is 3 there, 1 on rank 0"
differs "$pair --draft-tp 1" "rank 1 differs: ranks of the drafter (--draft-tp) is 1 there, auto on rank 0"
differs "$pair --isa portable" "rank 1 differs: instruction set (--isa) is portable there"
differs "-m models/demo/drafter -md models/demo/drafter" "rank 1 differs: tensors of the verifier is"
differs "-m nowhere" "rank 1: nowhere/config.json: cannot open"
cp -r "$work/drafter" "$work/alike"
cp "$work/verifier/tokenizer.json" "$work/alike"
demo=$pair
pair=$text
differs "-m $work/verifier -md $work/alike -c 128 --temp 0" \
    "rank 1 differs: kind of drafts is model there, text on rank 0"
pair=$demo

# A process that dies or stops in the middle of a run. The second one is looked for by its parent, mpirun.
# $1: signal, $2: deadline of the run, $3: seconds after which it hangs, even on a busy machine, $4: the line
hurt() {
    # shellcheck disable=SC2086
    mpirun -np 2 "$build/weir" bench $pair -tp 2 --comm mpi --comm-timeout "$2" --repeat 1000 \
        >"$work/out" 2>"$work/log" &
    run=$!
    child=
    tries=0
    while [ -z "$child" ] && [ "$tries" -lt 600 ]; do
        child=$(pgrep -P "$run" -f "weir bench" | sed -n 2p) || true
        tries=$((tries + 1))
        sleep 0.1
    done
    [ -n "$child" ] || fail "the second process does not start"
    sleep 3 # it loads, and is within the bench
    began=$(date +%s)
    kill "-$1" "$child"
    status=0
    wait "$run" || status=$?
    seconds=$(($(date +%s) - began))
    [ "$status" -ne 0 ] || fail "SIG$1: status 0"
    [ "$seconds" -le "$3" ] || fail "SIG$1: $seconds s"
    says "$4"
}
hurt KILL 30 120 "signal 9"
hurt STOP 4 120 "rank 1 silent for 4 s, exchange"
echo "mpi.sh: passed"
