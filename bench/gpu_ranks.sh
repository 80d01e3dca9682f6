# shellcheck shell=sh
# The part `ranks` of gpu.sh, which reads this file: several ranks on one device, then on several devices.
# Tests of equality, whether kernels that wait for each other run at once, and times of the demo pair.
# shellcheck disable=SC2154  # gpu.sh sets them

rank_tests="exchange model_ranks engine_ranks"

# The devices that programs see, from what they say about one that cannot be; 1 if that says nothing.
count_devices() {
    # shellcheck disable=SC2086  # a list of options
    n=$(limited 10 "$tools/weir" info $demo_pair --device cuda:99 2>&1 |
        sed -n 's/.*this machine has \([0-9]\{1,\}\),.*/\1/p')
    say "${n:-1}"
}

# close TEXT: adds to the line of this part on the last screen.
close() {
    closing="${closing:+$closing; }$1"
    say "ranks: $closing" >"$work/closing"
}

# count VERDICT WHAT: files what is not right. One that never comes may be a rank that waits in vain, which
# one device alone cannot tell from lack of time.
count() {
    case $1 in
        ok) ;;
        late | not-run) late "$2" ;;
        *) wrong "$2: $1" ;;
    esac
}

# verdict STATUS REPORT: ok, wrong, or late: a command was ended, or a rank waited in vain for another.
verdict() {
    case $1 in
        0) say ok ;;
        124 | 137) say late ;;
        *) if grep -q 'silent for' "$2"; then say late; else say wrong; fi ;;
    esac
}

has_time() { [ "$(left)" -gt "$1" ]; }

# Seconds that a test may take. If all hang, there is still time for answers.
patience() {
    case $1 in
        exchange) echo 12 ;;
        model_ranks) echo 15 ;;
        *) echo 20 ;;
    esac
}

# test_ranks WHERE: the tests in turn, each with a limit of its own. Their verdicts in $tested: NAME=VERDICT.
test_ranks() {
    tested=
    for name in $rank_tests; do
        program=$(programs_named "test_cuda_$name" | head -n 1)
        if [ -z "$program" ]; then
            was=missing
            say "$1, $name: missing (no test_cuda_$name in $tools)"
        elif ! has_time 3; then
            was=not-run
        else
            run_test "$(patience "$name")" "$program" -j1
            was=$(verdict $? "$work/plain")
            say "$1, $name: $was, $(counts)"
            [ "$was" = ok ] || { failures; tail -n 1 "$work/plain"; }
        fi
        count "$was" "$1, $name"
        tested="$tested $name=$was"
    done
    close "$1$tested"
}

# bench_ranks DEVICES N: times the demo pair's parts and exchanges.
bench_ranks() {
    say "weir bench --device $1 -tp $2"
    if ! has_time 3; then
        count not-run "block on $1"
        close "block on $1 not-run"
        return
    fi
    # shellcheck disable=SC2086  # a list of options
    limited 10 "$tools/weir" bench $demo_pair --device "$1" -tp "$2" --n-prompt 64 --repeat 50 \
        >"$work/bench" 2>&1
    was=$(verdict $? "$work/bench")
    if [ "$was" = ok ]; then
        cat "$work/bench"
        was="$(awk '$1 == "block" { print $3 }' "$work/bench") us"
    else
        count "$was" "block on $1: $(tail -n 1 "$work/bench")"
    fi
    close "block on $1 $was"
}

# answer FILE OPTION...: what the demo pair says.
answer() {
    to=$1
    shift
    # shellcheck disable=SC2086  # a list of options
    limited 6 "$tools/weir" generate $demo_pair --temp 0 -n 16 -q -p 'It snowed a lot.' "$@" >"$to" 2>&1
}

# compare_answers OPTION...: the verdict on two ranks of one device, beside the answer of one.
compare_answers() {
    has_time 5 || { say not-run; return; }
    answer "$work/two" --device cuda:0,0 -tp 2 "$@"
    was=$(verdict $? "$work/two")
    [ "$was" != ok ] || cmp -s "$work/one" "$work/two" || was=wrong
    say "$was"
}

verdict_on() { say "$tested" | sed -n "s/.* $1=\([^ ]*\).*/\1/p"; }

# Whether kernels that wait for each other run at once on one device: two launches that exchange, and two
# graphs whose loops do. Where the test does not say so, an answer may: with --no-graph it has the launches
# only.
side_by_side() {
    grids=yes graphs=yes looped=ok called=ok
    of_grids=$(verdict_on exchange) of_graphs=$(verdict_on engine_ranks)
    if [ "$of_grids,$of_graphs" != ok,ok ]; then
        answer "$work/one" --device cuda:0
        looped=$(compare_answers) called=$(compare_answers --no-graph)
        say "one device, generate on two ranks: with graphs $looped, with --no-graph $called"
    fi
    [ "$of_grids" = ok ] || case $called in
        ok) grids="yes in generate, not in the test" ;;
        late) grids=no ;;
        *) grids="not known" ;;
    esac
    [ "$of_graphs" = ok ] || case $looped,$called in
        ok,*) graphs="yes in generate, not in the test" ;;
        late,ok) graphs="no, but --no-graph works" ;;
        late,*) graphs="no, and --no-graph is $called" ;;
        *) graphs="not known; --no-graph is $called" ;;
    esac
    say "two cooperative grids run side by side on one device: $grids"
    say "two WHILE graphs run side by side on one device: $graphs"
    close "grids side by side: $grids; WHILE graphs side by side: $graphs"
}

part_ranks() {
    closing=
    visible=${CUDA_VISIBLE_DEVICES:-} devices=$(count_devices)
    first=${visible:-0}
    say "devices: $devices"
    export CUDA_VISIBLE_DEVICES="${first%%,*}"
    test_ranks "one device"
    side_by_side
    bench_ranks cuda:0 1
    bench_ranks cuda:0,0 2
    if [ -n "$visible" ]; then CUDA_VISIBLE_DEVICES=$visible; else unset CUDA_VISIBLE_DEVICES; fi
    [ "$devices" -lt 2 ] || test_ranks "$devices devices"
    list=cuda:0 n=1
    while [ "$n" -lt 8 ] && [ $((2 * n)) -le "$devices" ]; do
        for i in $(seq "$n" $((2 * n - 1))); do list=$list,$i; done
        n=$((2 * n))
        bench_ranks "$list" "$n"
    done
}
