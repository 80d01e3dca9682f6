# shellcheck shell=sh
# Modes of the engine, and the part `demo` of gpu.sh, which reads this file: greedy answers of the demo pair
# in every mode, against those of transformers and against each other. What follows runs in the best that is
# right.
# shellcheck disable=SC2154  # gpu.sh sets them

demo_pair="-m models/demo/verifier -md models/demo/drafter"

# calls: every op launched by the host; straight: a graph a block; while: blocks loop on the device. Then the
# loop without programmatic launches, with plain launches of teams, and calls without programmatic launches.
all_modes="calls straight while while-nopdl while-plain calls-nopdl"

# mode_settings MODE: environment and, for a program that knows nothing of it, an option.
mode_settings() {
    case $1 in
        calls) say "WEIR_GRAPH=none" ;;
        calls-nopdl) say "WEIR_GRAPH=none WEIR_PDL=0" ;;
        straight) say "WEIR_GRAPH=straight" ;;
        while) say "WEIR_GRAPH=while" ;;
        while-nopdl) say "WEIR_GRAPH=while WEIR_PDL=0" ;;
        while-plain) say "WEIR_GRAPH=while WEIR_TEAM=plain" ;;
    esac
}
mode_option() { case $1 in calls*) say --no-graph ;; esac; }

# in_mode MODE SECONDS COMMAND...
in_mode() {
    mode=$1 most=$2
    shift 2
    # shellcheck disable=SC2046  # words
    limited "$most" env $(mode_settings "$mode") "$@"
}

# The first of these that was right in the demo; without a demo, what the engine does by itself.
best_mode() {
    for mode in while while-plain while-nopdl straight calls calls-nopdl; do
        ! grep -q "^$mode ok" "$work/modes" 2>/dev/null || { say $mode; return; }
    done
    say while
}

n_answer=24
ids() { sed -n 's/.*"token_ids": *\[\([^]]*\)\].*/\1/p' "$1" | tr -d ' '; }
# Prompts included, as in the rows of demo/device.py.
tokens_a_second() {
    awk 'function number(key) {
            if (!match($0, "\"" key "\": *[0-9.e+-]+")) return 0
            return substr($0, RSTART + length(key) + 3, RLENGTH) + 0
        }
        { n += number("predicted_n"); ms += number("prompt_ms") + number("predicted_ms") }
        END { printf "%.1f", ms > 0 ? 1000 * n / ms : 0 }' "$1"
}
# same_lines A B: how many lines of two files agree.
same_lines() { paste -d '|' "$1" "$2" | awk -F'|' '$1 == $2 && $1 != ""' | wc -l | tr -d ' '; }

# try_mode MODE: a line of $work/modes (MODE VERDICT SAME SPEED), and of demo.csv. Inputs that are rounded to
# bf16 decide a few near-ties otherwise than the reference does, so 90% is enough of that; modes agree in all.
try_mode() {
    # shellcheck disable=SC2046,SC2086  # lists of options
    in_mode "$1" 10 "$tools/weir" generate $demo_pair --device cuda $(mode_option "$1") --jsonl --temp 0 \
        --gamma 5 -n 128 -np 1 -q <"$work/prompts" >"$work/answers" 2>"$work/said"
    status=$?
    ids "$work/answers" >"$work/ids.$1"
    same=$(same_lines "$work/ids.$1" "$work/want")
    speed=$(tokens_a_second "$work/answers")
    [ -s "$work/first" ] || cp "$work/ids.$1" "$work/first"
    verdict=ok
    if [ "$status" -eq 124 ] || [ "$status" -eq 137 ]; then
        verdict=late
        late "$1: no $n_answer answers within 10 s"
    elif [ "$status" -ne 0 ]; then
        verdict=wrong
        wrong "$1: status $status: $(tail -n 1 "$work/said")"
    elif [ $((10 * same)) -lt $((9 * n_answer)) ]; then
        verdict=wrong
        wrong "$1: $same of $n_answer answers are those of transformers"
    elif ! cmp -s "$work/ids.$1" "$work/first"; then
        verdict=wrong
        wrong "$1: other tokens than the first mode"
    fi
    say "$1 $verdict $same $speed" | tee -a "$work/modes"
    say "weir exact T=0 $1,$speed,$same of $n_answer,$verdict" >>"$results/demo.csv"
}

part_demo() {
    sed 's/, "token_ids".*/}/' models/demo/greedy_200.jsonl | head -n $n_answer >"$work/prompts"
    head -n $n_answer models/demo/greedy_200.jsonl >"$work/reference"
    ids "$work/reference" >"$work/want"
    : >"$work/first"
    : >"$work/modes"
    say "case,tokens_per_second,same_as_reference,result" >"$results/demo.csv"
    for each in $all_modes; do
        if out_of_time; then late "$each"; else try_mode "$each"; fi
    done
    say "what follows runs in mode $(best_mode)"
}
