#!/bin/sh
# What one short loan of a GPU can prove, in one command of 550 seconds: what matters most comes first. Needs
# an NVIDIA driver and, for the peers, Python; no compiler, package index or network. Runs from an unpacked
# bundle (./make.sh gpu-bundle) or from a tree after ./make.sh build --cuda.
#
#   bench/gpu.sh [PART...]
#   default: facts demo latency t5 accept decoder suite ops sanitizer sessions peers ranks, in this order
#
# A part that ends early leaves its time to the next ones. Parts that are named have the 550 seconds to
# themselves, in the same proportions, and go further: decoder times more pairs, sanitizer runs all tools.
#
# Results go to $OUT where it is set, as they are; else to DATE-GPU/ under bench/results/ (or WEIR_RESULTS).
# Eight files at most: log.txt, suite.txt, sanitizer.txt, latency.csv, ops.csv, demo.csv, blocks.csv,
# parts.csv. The log ends with one screen of what was found.
#
# "wrong" is a wrong answer, a failed command, a finding; "late" is what its time did not suffice for; "not
# run" is what this machine does not have. Exit status: 0, 1 if something is wrong, 2 for wrong usage, 3
# without a GPU. Environment: WEIR_COMMIT names the commit if neither git nor the bundle does; WEIR_TOOLS is
# the folder of the programs; WEIR_SECONDS is the time of all, default 550.
set -u
began=$(date +%s)
cd "$(dirname "$0")/.." || exit 1
root=$PWD

all_parts="facts demo latency t5 accept decoder suite ops sanitizer sessions peers ranks"
tools=${WEIR_TOOLS:-}
[ -n "$tools" ] || { [ -x bin/weir ] && tools=bin; } || tools=build/cuda
python=${PYTHON:-python3}
all_seconds=${WEIR_SECONDS:-550}
closing_seconds=5 # for the last screen

say() { printf '%s\n' "$*"; }
die() {
    status=$1
    shift
    printf 'gpu.sh: %s\n' "$*" >&2
    exit "$status"
}

# ---- time: each part ends when its share and those before it are over --------------------------------------

# Seconds of a part if all run; together they are what is left of 550 for the last screen.
weight() {
    case $1 in
        facts) echo 10 ;;
        demo) echo 40 ;;
        latency) echo 10 ;;
        t5) echo 50 ;;
        accept) echo 20 ;;
        decoder) echo 85 ;;
        suite) echo 125 ;;
        ops) echo 60 ;;
        sanitizer) echo 50 ;;
        sessions) echo 60 ;;
        peers) echo 15 ;;
        ranks) echo 20 ;;
    esac
}

# end_of PART: when it ends, if $parts run.
end_of() {
    sum=0 upto=0
    for each in $parts; do
        sum=$((sum + $(weight "$each")))
        [ "$each" != "$1" ] || upto=$sum
    done
    echo $((began + (all_seconds - closing_seconds) * upto / sum))
}

now() { date +%s; }
left() {
    rest=$((part_end - $(now)))
    [ "$rest" -gt 1 ] || rest=1
    echo "$rest"
}
out_of_time() { [ "$(now)" -ge "$part_end" ]; }
named() { [ "$named" = yes ]; }

# limited SECONDS COMMAND...: runs at most that long, and no longer than the part; status 124 if it was ended.
limited() {
    limit=$1
    shift
    rest=$(left)
    [ "$limit" -le "$rest" ] || limit=$rest
    timeout -k 2 "$limit" "$@"
}

# ---- verdicts: each is a line of the report, and of the last screen ----------------------------------------

wrong() { say "WRONG: $part: $*" | tee -a "$work/wrong"; }
late() { say "late: $part: $*" | tee -a "$work/late"; }
absent() { say "not run: $part: $*" | tee -a "$work/absent"; }

# judge STATUS WHAT: a command that failed is wrong, or late if it was ended. Returns the status.
judge() {
    case $1 in
        0) ;;
        124 | 137) late "$2" ;;
        *) wrong "$2: status $1" ;;
    esac
    return "$1"
}

# append FILE TO: appends CSV rows, with the header only if there are none yet.
append() {
    [ -s "$1" ] || return 0
    if [ -s "$2" ]; then sed 1d "$1" >>"$2"; else cat "$1" >>"$2"; fi
}

# ---- facts -------------------------------------------------------------------------------------------------

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

# A folder with cuBLASLt in a Python package, where Python looks and programs do not.
wheel_of_cublaslt() {
    limited 10 "$python" -c 'import glob, sys
found = [f for p in sys.path for f in glob.glob(p + "/nvidia/*/lib/libcublasLt.so.13")]
print("".join(found[:1]).rpartition("/")[0])' 2>/dev/null
}

# Sets device, what the programs say of it, and lt, where they find cuBLASLt; ends where it does not work.
open_device() {
    timeout -k 2 30 "$tools/weir-kernel-bench" --tiny --only copy >"$work/open" 2>&1
    case $? in
        3) die 3 "no GPU to measure: $(sed 's/^weir-kernel-bench: //' "$work/open")" ;;
        124 | 137) die 1 "the device does not answer within 30 s" ;;
    esac
    device=$(sed -n 's/^device \(.*\), median of .*/\1/p' "$work/open" | head -n 1)
    [ -n "$device" ] || die 1 "the device does not work: $(tail -n 1 "$work/open")"
    lt=$(say "$device" | sed -n 's/.*; cuBLASLt in \(.*\))$/\1/p')
}

part_facts() {
    say "commit   $(commit_id)"
    say "date     $(date -u '+%F %T') UTC"
    say "device   $device"
    say "weir     $(limited 5 "$tools/weir" --version 2>&1 | head -n 1)"
    say "kernel   $(uname -srm)"
    cpu=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)
    say "cpu      $cpu, $(getconf _NPROCESSORS_ONLN) cores"
    say "memory   $(awk '/^MemAvailable:/ { print int($2 / 1024) }' /proc/meminfo) MiB available," \
        "$(df -Pk /dev/shm 2>/dev/null | awk 'NR == 2 { print int($4 / 1024) }') MiB in /dev/shm"
    say "cublaslt ${lt:-not found}"
    if command -v nvidia-smi >/dev/null 2>&1; then
        query=name,driver_version,memory.total,clocks.sm,clocks.mem,clocks.max.sm,clocks.max.mem
        limited 5 nvidia-smi --format=csv --query-gpu=$query,power.limit,temperature.gpu 2>&1
    else
        say "nvidia-smi: not there"
    fi
}

# ---- tests -------------------------------------------------------------------------------------------------

programs_named() { find "$tools" -type f -name "$1" -perm -u+x 2>/dev/null | sort; }

# Whole engines first: what they prove contains most of the rest. Those of ranks have a part of their own: one
# that hangs takes nothing with it there.
test_programs() {
    {
        for name in engine block_loop t5 decoder loop_ops linear attention accept row_stats; do
            programs_named "test_cuda_$name"
        done
        programs_named 'test_cuda_*'
    } | grep -vE "/test_cuda_($(say "$rank_tests" | tr ' ' '|'))\$" | awk '!seen[$0]++'
}

# run_test SECONDS PROGRAM OPTION...: returns its status. Its report, without colours, in $work/plain and
# suite.txt.
run_test() {
    seconds=$1 program=$2
    shift 2
    WEIR_REQUIRE_GPU=1 limited "$seconds" "$program" --verbose=1 "$@" >"$work/test" 2>&1
    code=$?
    sed 's/\x1b\[[0-9;]*m//g' "$work/test" >"$work/plain"
    {
        say "== $program"
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
    n_program=0
    for program in $(test_programs); do
        name=$(basename "$program")
        n_program=$((n_program + 1))
        if out_of_time; then
            late "$name"
            continue
        fi
        run_test 40 "$program" -j4
        status=$?
        say "$name: status $status, $(counts)"
        [ "$status" -ne 0 ] || continue
        failures
        judge "$status" "$name"
    done
    [ "$n_program" -gt 0 ] || wrong "no test programs in $tools"
}

# ---- sanitizers --------------------------------------------------------------------------------------------

find_sanitizer() {
    for tool in "$(command -v compute-sanitizer)" /usr/local/cuda/bin/compute-sanitizer \
        /usr/local/cuda/compute-sanitizer/compute-sanitizer /usr/local/cuda-*/bin/compute-sanitizer \
        /opt/nvidia/*/compute-sanitizer; do
        [ -n "$tool" ] && [ -x "$tool" ] && say "$tool" && return
    done
}

# sanitize TOOL NAME SECONDS COMMAND...: one line on what the tool found.
sanitize() {
    tool=$1 name=$2 seconds=$3
    shift 3
    if out_of_time; then
        late "$tool, $name"
        return
    fi
    limited "$seconds" "$sanitizer" --tool "$tool" --target-processes all --error-exitcode 99 "$@" \
        >"$work/found" 2>&1
    status=$?
    {
        say "== $tool: $*"
        cat "$work/found"
    } >>"$results/sanitizer.txt"
    lines=$(grep -c '^========= .*\(error\|hazard\)' "$work/found")
    case $status in
        0) say "$tool, $name: clean" ;;
        124 | 137) late "$tool, $name; $lines lines of findings" ;;
        99)
            wrong "$tool, $name: $lines lines of findings"
            grep '^=========' "$work/found" | head -n 12
            ;;
        *) wrong "$tool, $name: status $status without a finding: $(tail -n 1 "$work/found")" ;;
    esac
}

# Every op on small shapes in one process; if the part is named, by all tools, then the tests, which fork.
part_sanitizer() {
    sanitizer=$(find_sanitizer)
    if [ -z "$sanitizer" ]; then
        absent "compute-sanitizer is not on this machine"
        return
    fi
    usable=
    all_tools="memcheck racecheck"
    ! named || all_tools="$all_tools synccheck initcheck"
    for tool in $all_tools; do
        if limited 20 "$sanitizer" --tool "$tool" --error-exitcode 99 \
            "$tools/weir-kernel-bench" --tiny --only copy >"$work/probe" 2>&1; then
            usable="$usable $tool"
        else
            why=$(grep -m 1 -iE 'error|not supported|fail' "$work/probe" || tail -n 1 "$work/probe")
            absent "$tool: $why"
            cat "$work/probe" >>"$results/sanitizer.txt"
        fi
    done
    for tool in $usable; do
        sanitize "$tool" "all ops, small shapes" 60 "$tools/weir-kernel-bench" --tiny
    done
    named || return
    for program in $(test_programs); do
        for tool in $usable; do
            sanitize "$tool" "$(basename "$program")" 30 env WEIR_REQUIRE_GPU=1 "$program" -j1
        done
    done
}

# ---- single ops --------------------------------------------------------------------------------------------

# time_ops CSV GROUPS OPTION...: the table is the CSV's; here are its last line, and what is not right.
time_ops() {
    to=$1 groups=$2
    shift 2
    rm -f "$work/ops"
    limited "$all_seconds" "$tools/weir-kernel-bench" --only "$groups" --samples 30 --csv "$work/ops" "$@" \
        >"$work/said" 2>&1
    status=$?
    append "$work/ops" "$to"
    grep -E 'WRONG|failed:' "$work/said"
    tail -n 1 "$work/said"
    judge "$status" "$groups"
}

part_latency() {
    time_ops "$results/latency.csv" latency
    grep -v '^op ' "$work/said" | cut -c 1-96
}

part_accept() { time_ops "$results/ops.csv" loop,accept; }

part_ops() {
    rows=
    named || rows="--rows 1,6,16"
    for group in attention linear small quant; do
        # shellcheck disable=SC2086  # an option or none
        if out_of_time; then late "$group"; else time_ops "$results/ops.csv" "$group" $rows; fi
    done
}

# ---- the demo pair beside another engine -------------------------------------------------------------------

part_peers() {
    if ! command -v "$python" >/dev/null 2>&1; then
        absent "no $python"
        return
    fi
    rounds=1 prompts=16
    ! named || rounds=3 prompts=40
    in_mode "$(best_mode)" "$all_seconds" "$python" bench/demo/device.py --weir "$tools/weir" --device cuda \
        --rounds $rounds --prompts $prompts --csv "$work/peers"
    judge $? "demo pair"
    append "$work/peers" "$results/demo.csv"
}

# shellcheck source=bench/gpu_demo.sh
. bench/gpu_demo.sh
# shellcheck source=bench/gpu_pairs.sh
. bench/gpu_pairs.sh
# shellcheck source=bench/gpu_ranks.sh
. bench/gpu_ranks.sh
# shellcheck source=bench/gpu_screen.sh
. bench/gpu_screen.sh

# ---- all of it ---------------------------------------------------------------------------------------------

named=no
[ $# -eq 0 ] || named=yes
parts=${*:-$all_parts}
for part in $parts; do
    case " $all_parts " in
        *" $part "*) ;;
        *) die 2 "unknown part $part; there are: $all_parts" ;;
    esac
done
case $all_seconds in '' | *[!0-9]*) die 2 "WEIR_SECONDS: $all_seconds, expected seconds" ;; esac
[ -x "$tools/weir-kernel-bench" ] || die 2 "no programs in $tools: unpack a bundle, or ./make.sh build --cuda"

work=$(mktemp -d)
trap 'remove_models; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
: >"$work/wrong"
: >"$work/late"
: >"$work/absent"
: >"$work/modes"

export CUDA_MODULE_LOADING=EAGER # so that no kernel is loaded for the first time while it is recorded
part_end=$((began + 60))
[ -n "${VIRTUAL_ENV:-}" ] || [ ! -d "$root/.venv" ] || export VIRTUAL_ENV="$root/.venv"
open_device
if [ -z "$lt" ]; then # the programs' own places come first (docs/gpu.md)
    wheel=$(wheel_of_cublaslt)
    if [ -n "$wheel" ]; then
        export LD_LIBRARY_PATH="${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$wheel"
        open_device
    fi
fi

gpu=$(say "$device" | sed 's/^[^(]*(\([^,]*\),.*/\1/; s/NVIDIA //; s/[^A-Za-z0-9]\{1,\}/-/g; s/-$//')
results=${OUT:-${WEIR_RESULTS:-$root/bench/results}/$(date -u +%F)-$gpu}
{ mkdir -p "$results" && : >"$results/log.txt"; } || die 1 "cannot write $results"
results=$(cd "$results" && pwd)

# outcome: of the part that has ended; what was wrong or late in it begins with its name.
outcome() {
    if grep -q ": $part: " "$work/wrong"; then
        say wrong
    elif grep -q ": $part: " "$work/late"; then
        say late
    else
        say ok
    fi
}

for part in $parts; do
    begin=$(now)
    part_end=$(end_of "$part")
    {
        printf '\n== %s\n' "$part"
        if out_of_time; then late "all of it"; else "part_$part"; fi
    } 2>&1 | tee -a "$results/log.txt"
    printf '%s %s %s s\n' "$part" "$(outcome)" $(($(now) - begin)) >>"$work/parts_done"
done
last_screen | tee -a "$results/log.txt"
[ ! -s "$work/wrong" ]
