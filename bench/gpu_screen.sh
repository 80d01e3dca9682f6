# shellcheck shell=sh
# The last screen of gpu.sh, which reads this file: what was found, from the files of this run alone. A caller
# may see only the last 12,000 characters of a command, so it is short and comes last.
# shellcheck disable=SC2154  # gpu.sh sets them

# us FILE OP SHAPE: the median of the first row of ops.csv or latency.csv whose op and shape begin so.
us() {
    [ ! -s "$results/$1" ] || awk -F, -v op="$2" -v shape="$3" '
        $1 == op && !found && $NF == "ok" {
            text = $0
            sub(/^[^,]*,/, "", text)
            n = split(text, f, ",")
            for (i = 2; i <= n - 7; i++) f[1] = f[1] "," f[i] # a shape may have commas
            if (index(f[1], shape) == 1) { print f[n - 6]; found = 1 }
        }' "$results/$1"
}

# or_dash WORDS: - where nothing was measured.
or_dash() { say "${1:--}"; }

# launches WHERE: us of a launch in a chain, by kind: 1 block, all blocks.
launches() {
    line=
    for how in plain programmatic cooperative; do
        one=$(us latency.csv launch "$how, $1, 1 block") all=$(us latency.csv launch "$how, $1, all blocks")
        line="$line${line:+; }$how $(or_dash "$one")/$(or_dash "$all")"
    done
    say "$line"
}

# blocks PAIR: us of a block at gamma 5 and one session, its tokens, by mode.
blocks() {
    [ ! -s "$results/blocks.csv" ] || awk -F, -v pair="$1" '
        $3 == pair && $6 == 5 && $7 == 1 && $8 != "" {
            out = out (out ? "; " : "") $2 " " $8 " us, " $10 " tokens a block"
        }
        END { if (out) print out }' "$results/blocks.csv"
}

# rates PAIR: tokens/s at gamma 5, by sessions.
rates() {
    [ ! -s "$results/blocks.csv" ] || awk -F, -v pair="$1" '
        $3 == pair && $6 == 5 && $11 > 0 && !seen[$7]++ {
            out = out (out ? ", " : "") $7 ": " sprintf("%.0f", 1e6 / $11)
        }
        END { if (out) print out }' "$results/blocks.csv"
}

# parts_of PAIR: us of the parts of a block.
parts_of() {
    [ ! -s "$results/parts.csv" ] || awk -F, -v pair="$1" '
        $3 == pair && ($4 == "draft step" || $4 == "accept step" || ($4 == "verify pass" && $5 == 6)) {
            out = out (out ? ", " : "") $4 " " $6
        }
        END { if (out) print out }' "$results/parts.csv"
}

# shares OP: of the copy bandwidth, the least and the most of its rows that move 16 MB or more.
shares() {
    [ ! -s "$results/ops.csv" ] || awk -F, -v op="$1" '
        $1 == op && $NF == "ok" && $(NF - 4) >= 16e6 {
            n++
            if (n == 1 || $(NF - 2) < lo) lo = $(NF - 2)
            if ($(NF - 2) > hi) hi = $(NF - 2)
        }
        END { if (n) printf "%d to %d in %d rows\n", lo, hi, n }' "$results/ops.csv"
}

# cases: sums of all tests' reports.
cases() {
    [ ! -s "$results/suite.txt" ] || awk '/Synthesis: / {
            for (i = 1; i < NF; i++) {
                if ($i == "Tested:") run += $(i + 1)
                if ($i == "Passing:") passed += $(i + 1)
            }
        }
        END { print run + 0 " cases run, " passed + 0 " passed" }' "$results/suite.txt"
}

# listed TITLE FILE: its first lines, and how many more there are.
listed() {
    n=$(wc -l <"$2")
    say "$1: $n"
    head -n 10 "$2" | cut -c 1-160 | sed 's/^[^:]*: /  /'
    [ "$n" -le 10 ] || say "  and $((n - 10)) more, in log.txt"
}

# - stands where this run has nothing.
last_screen() {
    printf '\n== last screen: commit %s, %s, %d s of %d\n' "$(commit_id)" "$device" $(($(now) - began)) \
        "$all_seconds"
    tr '\n' ';' <"$work/parts_done" | sed 's/;$//; s/;/; /g' | fold -s -w 108
    say
    say " 1 copy, GB/s                $(or_dash "$(awk -F, '$1 == "copy" { print $(NF - 3); exit }' \
        "$results/latency.csv" "$results/ops.csv" 2>/dev/null)"); cuBLASLt ${lt:-not found}"
    say " 2 demo, same tokens of $n_answer   $(or_dash "$(tr '\n' ';' <"$work/modes" 2>/dev/null |
        sed 's/;$//; s/;/; /g')")"
    say " 3 launch, us: straight      $(launches "straight graph")"
    say "              WHILE          $(launches "WHILE graph")"
    say " 4 team barrier, us          $(or_dash "$(us latency.csv "team barrier" all)");" \
        "cluster of 8 $(or_dash "$(us latency.csv "cluster barrier" "clusters of 8")");" \
        "host's flag $(or_dash "$(us latency.csv "flag of the host" relaxed)");" \
        "fence $(or_dash "$(us latency.csv "system fence" "after a store to the host")");" \
        "trip L2 $(or_dash "$(us latency.csv trip L2)"), memory $(or_dash "$(us latency.csv trip memory)")"
    say " 5 T5 small-large, block     $(or_dash "$(blocks small-large)")"
    say "                  parts, us  $(or_dash "$(parts_of small-large)")"
    say " 6 T5 small-XL, block        $(or_dash "$(blocks small-xl)")"
    say " 7 accept 6 x 256128, us     exact $(or_dash "$(us ops.csv "loop close" "exact: 6 x 256128")")," \
        "at 32128 $(or_dash "$(us ops.csv "loop close" "exact: 6 x 32128")")"
    say " 8 Llama 1B-8B, block        $(or_dash "$(blocks llama3-1b-llama3-8b)")"
    say "   Gemma 2 2B-27B, block     $(or_dash "$(blocks gemma2-2b-gemma2-27b)")"
    say "                  parts, us  $(or_dash "$(parts_of gemma2-2b-gemma2-27b)")"
    say " 9 tests                     $(or_dash "$(cases)"); linear, % of copy $(or_dash "$(shares linear)")"
    say "10 tokens/s by sessions      Llama $(or_dash "$(rates llama3-1b-llama3-8b)");" \
        "T5 $(or_dash "$(rates small-large)")"
    [ ! -s "$work/closing" ] || cut -c 1-400 "$work/closing"
    listed "not run" "$work/absent"
    listed late "$work/late"
    listed wrong "$work/wrong"
    say "results in ${results#"$root"/}"
}
