#!/bin/sh
# Everything that a machine with a GPU can prove, within eight minutes. Needs an NVIDIA driver and, for the
# demo, Python; no compiler or package index. Runs from an unpacked bundle (./make.sh gpu-bundle) or from a
# tree after ./make.sh build --cuda.
#
#   bench/gpu.sh [facts] [suite] [sanitizer] [copy] [ops] [t5] [decoder] [demo] [ranks]
#   default: all, in this order
#
# Named parts share the eight minutes in the same proportions, so gpu.sh decoder times more pairs. The last,
# ranks, has 90 s at most: its kernels wait for each other, perhaps for ever. Writes DATE-GPU/ under
# bench/results/ (or WEIR_RESULTS): log.txt, facts.txt, suite.txt (with the tests of ranks), sanitizer.txt,
# ops.csv, demo.csv, and for pairs of random weights t5_parts.csv, t5_blocks.csv, decoder_parts.csv,
# decoder_blocks.csv. A tool that does not run here, or a pair that does not fit, is recorded as not run; the
# rest continues.
#
# Exit status: 0, 1 if a part found something wrong, 2 for wrong usage, 3 without a GPU. Environment:
# WEIR_COMMIT names the commit if neither git nor the bundle does; WEIR_TOOLS is the folder of the programs.
set -u
cd "$(dirname "$0")/.." || exit 1
root=$PWD

all_parts="facts suite sanitizer copy ops t5 decoder demo ranks"
tools=${WEIR_TOOLS:-}
[ -n "$tools" ] || { [ -x bin/weir ] && tools=bin; } || tools=build/cuda
python=${PYTHON:-python3}

say() { printf '%s\n' "$*"; }
die() {
    status=$1
    shift
    printf 'gpu.sh: %s\n' "$*" >&2
    exit "$status"
}

# ---- time: each part has its share of eight minutes, each command what is left of its part's ---------------

all_seconds=480

# Seconds of a part if all run; together they are the eight minutes.
weight() {
    case $1 in
        facts) echo 15 ;;
        suite) echo 65 ;;
        sanitizer) echo 60 ;;
        copy) echo 10 ;;
        ops) echo 50 ;;
        t5) echo 75 ;;
        decoder) echo 90 ;;
        demo) echo 30 ;;
        ranks) echo 85 ;;
    esac
}

# share PART: its seconds if $parts run.
share() {
    sum=0
    for each in $parts; do sum=$((sum + $(weight "$each"))); done
    seconds=$(($(weight "$1") * all_seconds / sum))
    [ "$1" != ranks ] || [ "$seconds" -le 90 ] || seconds=90
    echo "$seconds"
}

now() { date +%s; }
left() {
    rest=$((part_end - $(now)))
    [ "$rest" -gt 1 ] || rest=1
    echo "$rest"
}
out_of_time() { [ "$(now)" -ge "$part_end" ]; }

# limited SECONDS COMMAND...: runs at most that long, and no longer than the part; status 124 if it was ended.
limited() {
    limit=$1
    shift
    rest=$(left)
    [ "$limit" -le "$rest" ] || limit=$rest
    timeout -k 3 "$limit" "$@"
}

# ---- parts: each prints its report, and returns 1 if something is wrong ------------------------------------

commit_id() {
    if [ -n "${WEIR_COMMIT:-}" ]; then
        say "$WEIR_COMMIT"
    elif [ -f COMMIT ]; then
        cat COMMIT
    else
        id=$(git rev-parse HEAD 2>/dev/null) || id=unknown
        [ -z "$(git status --porcelain 2>/dev/null)" ] || id="$id with changes"
        say "$id"
    fi
}

part_facts() {
    {
        say "commit   $(commit_id)"
        say "date     $(date -u '+%F %T') UTC"
        say "device   $device"
        say "weir     $("$tools/weir" --version 2>&1 | head -n 1)"
        say "kernel   $(uname -srm)"
        cpu=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)
        say "cpu      $cpu, $(getconf _NPROCESSORS_ONLN) cores"
        if command -v nvidia-smi >/dev/null 2>&1; then
            query=name,driver_version,memory.total,clocks.sm,clocks.mem,clocks.max.sm,clocks.max.mem
            limited 10 nvidia-smi --format=csv --query-gpu=$query,power.limit,temperature.gpu
        else
            say "nvidia-smi: not there"
        fi
    } 2>&1 | tee "$results/facts.txt"
}

programs_named() { find "$tools" -type f -name "$1" -perm -u+x 2>/dev/null | sort; }

# Those of ranks have a part of their own: one that hangs takes nothing with it there.
test_programs() {
    programs_named 'test_cuda_*' | grep -vE "/test_cuda_($(say "$rank_tests" | tr ' ' '|'))\$"
}

# run_test SECONDS PROGRAM: returns its status. Its report, without colours, in $work/plain and suite.txt.
run_test() {
    WEIR_REQUIRE_GPU=1 limited "$1" "$2" --verbose=1 -j1 >"$work/test" 2>&1
    code=$?
    sed 's/\x1b\[[0-9;]*m//g' "$work/test" >"$work/plain"
    {
        say "== $2"
        cat "$work/plain"
    } >>"$results/suite.txt"
    return "$code"
}

# What the last test's report says of its cases.
counts() {
    line=$(sed -n 's/.*Synthesis: //p' "$work/plain" | tail -n 1)
    say "${line:-no summary}, $(grep -c '\[SKIP\]' "$work/plain") skipped"
}

failures() { grep -E '\[FAIL\]|\[----\]|\[CRASH\]' "$work/plain" | head -n 12; }

# The suite; here a skipped case counts as failed.
part_suite() {
    bad=0
    for program in $(test_programs); do
        if out_of_time; then
            say "$(basename "$program"): not run (time)"
            bad=1
            continue
        fi
        run_test 60 "$program"
        status=$?
        say "$(basename "$program"): status $status, $(counts)"
        [ "$status" -eq 0 ] || { bad=1; failures; }
    done
    [ -n "$(test_programs)" ] || { say "no test programs in $tools"; bad=1; }
    return "$bad"
}

find_sanitizer() {
    for tool in "$(command -v compute-sanitizer)" /usr/local/cuda/bin/compute-sanitizer \
        /usr/local/cuda/compute-sanitizer/compute-sanitizer /usr/local/cuda-*/bin/compute-sanitizer \
        /opt/nvidia/*/compute-sanitizer; do
        [ -n "$tool" ] && [ -x "$tool" ] && say "$tool" && return
    done
}

# sanitize TOOL NAME SECONDS COMMAND...: one line on what the tool found; 1 if it found something.
sanitize() {
    tool=$1 name=$2 seconds=$3
    shift 3
    if out_of_time; then
        say "$tool, $name: not run (time)"
        return 0
    fi
    limited "$seconds" "$sanitizer" --tool "$tool" --target-processes all --error-exitcode 99 "$@" \
        >"$work/found" 2>&1
    status=$?
    {
        say "== $tool: $*"
        cat "$work/found"
    } >>"$results/sanitizer.txt"
    case $status in
        0) say "$tool, $name: clean" ;;
        124 | 137)
            lines=$(grep -c '^========= .*\(error\|hazard\)' "$work/found")
            say "$tool, $name: not finished (time); $lines lines of findings"
            ;;
        99)
            say "$tool, $name: FOUND SOMETHING"
            grep '^=========' "$work/found" | head -n 12
            return 1
            ;;
        *)
            say "$tool, $name: status $status without a finding: $(tail -n 1 "$work/found")"
            return 1
            ;;
    esac
}

# First every op on small shapes in one process, then the tests of ops, which fork.
part_sanitizer() {
    bad=0
    sanitizer=$(find_sanitizer)
    if [ -z "$sanitizer" ]; then
        say "compute-sanitizer: not run (not on this machine)"
        return 0
    fi
    usable=
    for tool in memcheck racecheck synccheck initcheck; do
        if limited 20 "$sanitizer" --tool "$tool" --error-exitcode 99 \
            "$tools/weir-kernel-bench" --tiny --only copy >"$work/probe" 2>&1; then
            usable="$usable $tool"
        else
            why=$(grep -m 1 -iE 'error|not supported|fail' "$work/probe" || tail -n 1 "$work/probe")
            say "$tool: not run ($why)"
            cat "$work/probe" >>"$results/sanitizer.txt"
        fi
    done
    for tool in $usable; do
        sanitize "$tool" "all ops, small shapes" 40 "$tools/weir-kernel-bench" --tiny || bad=1
    done
    for program in $(test_programs); do
        for tool in $usable; do
            sanitize "$tool" "$(basename "$program")" 30 env WEIR_REQUIRE_GPU=1 "$program" -j1 || bad=1
        done
    done
    return "$bad"
}

part_copy() { limited 10 "$tools/weir-kernel-bench" --only copy; }

part_ops() { limited $all_seconds "$tools/weir-kernel-bench" --csv "$results/ops.csv"; }

# ---- pairs of random weights -------------------------------------------------------------------------------

# room_for MIB: makes a folder with that much space, in memory if possible, else on disk, and prints it.
# Prints nothing if there is none.
room_for() {
    available=$(awk '/^MemAvailable:/ { print int($2 / 1024) }' /proc/meminfo)
    for dir in /dev/shm "${TMPDIR:-/tmp}"; do
        free=$(df -Pk "$dir" 2>/dev/null | awk 'NR == 2 { print int($4 / 1024) }')
        [ "$dir" != /dev/shm ] || [ "${available:-0}" -gt "$1" ] || continue
        if [ "${free:-0}" -gt "$1" ] && made=$(mktemp -d "$dir/weir-models.XXXXXX" 2>/dev/null); then
            echo "$made" >>"$work/models"
            say "$made"
            return
        fi
    done
}

remove_models() {
    [ ! -e "$work/models" ] || while read -r dir; do rm -rf "$dir"; done <"$work/models"
    rm -f "$work/models"
}

# mib SHAPE...: the MiB of their checkpoints together.
mib() {
    for shape in "$@"; do "$tools/weir-random-model" --list | sed -n "s/^$shape //p"; done |
        awk '{ sum += $1 } END { print sum + 0 }'
}

# make_models SHAPE...: into $models, all in parallel.
make_models() {
    : >"$work/made"
    for shape in "$@"; do
        {
            limited $all_seconds "$tools/weir-random-model" "$models/$shape" "$shape" ||
                echo "$shape" >>"$work/made"
        } &
    done
    wait
    [ ! -s "$work/made" ]
}

# append ROWS FILE: prints CSV rows and appends them to a file, with the header only if the file is empty.
append() {
    cat "$1"
    if [ -s "$2" ]; then
        sed 1d "$1" >"$work/body"
    else
        cp "$1" "$work/body"
    fi
    cat "$work/body" >>"$2"
}

# missed WHAT STATUS: reports a command of the part that failed.
missed() {
    case $2 in
        124 | 137)
            late=1
            say "$1: not finished (time)"
            ;;
        *)
            bad=1
            say "$1: status $2"
            ;;
    esac
}

# time_pair KIND NAME VERIFIER DRAFTER: times whole blocks, then the parts of one, then blocks without a
# graph, into KIND_blocks.csv and KIND_parts.csv. The options of each are in $with_graph, $of_parts,
# $without_graph.
time_pair() {
    kind=$1 name=$2 pair="-m $models/$3 -md $models/$4 --device cuda"
    # shellcheck disable=SC2086  # lists of options
    limited $all_seconds "$tools/weir-blocks" $pair --name "$name" $with_graph >"$work/blocks" ||
        missed "$name: weir-blocks" $?
    append "$work/blocks" "$results/${kind}_blocks.csv"
    # shellcheck disable=SC2086
    limited $all_seconds "$tools/weir" bench $pair $of_parts --csv >"$work/parts" ||
        missed "$name: weir bench" $?
    sed "1s/^/pair,/; 2,\$s/^/$name,/" "$work/parts" >"$work/rows"
    append "$work/rows" "$results/${kind}_parts.csv"
    # shellcheck disable=SC2086
    limited $all_seconds "$tools/weir-blocks" $pair --name "$name" $without_graph --no-graph \
        >"$work/blocks" || missed "$name: weir-blocks --no-graph" $?
    append "$work/blocks" "$results/${kind}_blocks.csv"
    compare_graphs "$name" "$results/${kind}_blocks.csv" || bad=1
}

# compare_graphs NAME CSV: compares the tokens of session 0 with and without a graph, at gamma 5 and one
# session.
compare_graphs() {
    awk -F, -v name="$1" '$1 == name && $4 == 5 && $5 == 1 { tokens[$3] = $11 }
        END { if (tokens["yes"] == "" || tokens["no"] == "") {
                  print name ": tokens with and without a graph are not compared: one of the runs is missing"
                  exit 0
              }
              same = tokens["yes"] == tokens["no"]
              print name ": tokens with and without a graph are " (same ? "the same" : "NOT THE SAME")
              exit !same
          }' "$2"
}

part_t5() {
    bad=0 late=0
    with_graph="--gamma 1,3,5,7 --sessions 1,2,4,8,16,32,64 --repeat 5"
    without_graph="--gamma 5 --sessions 1,64 --repeat 5"
    of_parts="--n-prompt 64 --repeat 50"
    models=$(room_for $(($(mib t5-small t5-large t5-xl) + 1000)))
    if [ -z "$models" ]; then
        say "t5: not run (no room for checkpoints of random weights)"
        return 1
    fi
    make_models t5-small t5-large t5-xl || bad=1
    time_pair t5 small-large t5-large t5-small
    time_pair t5 small-xl t5-xl t5-small
    remove_models
    return $((bad || late))
}

# why_not VERIFIER DRAFTER: prints why a pair cannot run on this machine; nothing if it may. Its memory is
# known for sure only once its files exist, and those of the largest pairs take a while.
why_not() {
    need=$(mib "$1" "$2")
    has=$(nvidia-smi --query-gpu=memory.total --format=csv,noheader,nounits 2>/dev/null | head -n 1)
    case $has in '' | *[!0-9]*) has=$need ;; esac
    if out_of_time; then
        say "time"
    elif [ "$has" -lt "$need" ]; then
        say "$need MiB of weights, the device has $has"
    fi
}

# time_decoders DRAFTER VERIFIER: times one pair; its files are removed afterwards.
time_decoders() {
    why=$(why_not "$2" "$1")
    if [ -z "$why" ]; then
        models=$(room_for $(($(mib "$1" "$2") + 1000)))
        [ -n "$models" ] || why="no room for $(mib "$1" "$2") MiB of weights in memory or on disk"
    fi
    if [ -z "$why" ] && ! make_models "$1" "$2"; then
        why="its weights could not be made"
        out_of_time || bad=1
    fi
    if [ -z "$why" ]; then
        # shellcheck disable=SC2086  # a list of options
        limited 30 "$tools/weir" info -m "$models/$2" -md "$models/$1" --device cuda $of_memory \
            >"$work/plan" 2>&1
        why=$(awk '$1 == "total" { plan = $(NF - 1) }
                   $1 == "available" && has == "" { has = $(NF - 1) } # a second one is of the host
                   $1 == "fits" && $2 == "no" { print "a plan of " plan " MiB, the device has " has }' \
            "$work/plan")
    fi
    if [ -z "$why" ]; then
        time_pair decoder "$1-$2" "$2" "$1"
        n_timed=$((n_timed + 1))
    else
        say "$1-$2: not run ($why)"
    fi
    remove_models
}

# Context 1k: a prompt of 1,000 tokens, then up to 13 blocks of 8. Pairs that run out of time are listed; that
# is not a failure.
part_decoder() {
    bad=0 late=0 n_timed=0
    of_memory="-c 1152 -np 8 --gamma 7"
    context="--ctx 1152 --n-prompt 1000 --blocks 12"
    with_graph="--gamma 5,1,3,7 --sessions 1,8 --repeat 3 $context"
    without_graph="--gamma 5 --sessions 1,8 --repeat 3 $context"
    of_parts="--n-prompt 1000 -c 1152 --repeat 20"
    time_decoders gemma2-2b gemma2-27b
    time_decoders gemma2-2b gemma2-9b
    time_decoders llama3-1b llama3-8b
    time_decoders qwen2.5-0.5b qwen2.5-7b
    time_decoders gemma3-270m gemma3-4b
    time_decoders gemma3-1b gemma3-27b
    time_decoders qwen2.5-0.5b qwen2.5-32b
    say "$n_timed of 7 pairs timed"
    return "$bad"
}

# ---- the demo ----------------------------------------------------------------------------------------------

part_demo() {
    if ! command -v "$python" >/dev/null 2>&1; then
        say "demo: not run (no $python)"
        return 0
    fi
    limited $all_seconds "$python" bench/demo/device.py --weir "$tools/weir" --device cuda \
        --csv "$results/demo.csv"
}

# ---- ranks -------------------------------------------------------------------------------------------------

# shellcheck source=bench/gpu_ranks.sh
. bench/gpu_ranks.sh

run_part() {
    case $1 in
        facts) part_facts ;;
        suite) part_suite ;;
        sanitizer) part_sanitizer ;;
        copy) part_copy ;;
        ops) part_ops ;;
        t5) part_t5 ;;
        decoder) part_decoder ;;
        demo) part_demo ;;
        ranks) part_ranks ;;
    esac
}

# ---- all of it ---------------------------------------------------------------------------------------------

parts=${*:-$all_parts}
for part in $parts; do
    case " $all_parts " in
        *" $part "*) ;;
        *) die 2 "unknown part $part; there are: $all_parts" ;;
    esac
done
[ -x "$tools/weir-kernel-bench" ] || die 2 "no programs in $tools: unpack a bundle, or ./make.sh build --cuda"

work=$(mktemp -d)
trap 'remove_models; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

"$tools/weir-kernel-bench" --tiny --only copy >"$work/open" 2>&1
[ $? -ne 3 ] || die 3 "no GPU to measure: $(sed 's/^weir-kernel-bench: //' "$work/open")"
device=$(sed -n 's/^device \(.*\), median of .*/\1/p' "$work/open" | head -n 1)
[ -n "$device" ] || die 1 "the device does not work: $(tail -n 1 "$work/open")"

gpu=$(say "$device" | sed 's/^[^(]*(\([^,]*\),.*/\1/; s/NVIDIA //; s/[^A-Za-z0-9]\{1,\}/-/g; s/-$//')
results=${WEIR_RESULTS:-$root/bench/results}/$(date -u +%F)-$gpu
mkdir -p "$results" || die 1 "cannot write $results"
summary=
failed=0
start=$(now)
for part in $parts; do
    begin=$(now)
    part_end=$((begin + $(share "$part")))
    { run_part "$part" && echo 0 >"$work/status" || echo 1 >"$work/status"; } 2>&1 | {
        printf '\n== %s\n' "$part"
        cat
    } | tee -a "$results/log.txt"
    outcome=ok
    [ "$(cat "$work/status")" -eq 0 ] || { outcome=FAILED failed=1; }
    summary="$summary$(printf '%-10s %-7s %4d s' "$part" $outcome $(($(now) - begin)))
"
done
{
    printf '\n== summary: commit %s, %s, %d s\n%s' "$(commit_id)" "$device" $(($(now) - start)) "$summary"
    [ ! -s "$work/closing" ] || cat "$work/closing"
    say "results in ${results#"$root"/}"
} | tee -a "$results/log.txt"
exit $failed
