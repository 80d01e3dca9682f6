# Speeds and sources from the JSON lines of weir generate. Arguments: files named */alone.N and */cascade.N, one per round.

function number(key,    at) {
    at = match($0, "\"" key "\": *-?[0-9.eE+-]+")
    if (!at) return 0
    at = substr($0, RSTART, RLENGTH)
    sub(/^.*: */, "", at)
    return at + 0
}

function median(values, n,    i, j, t) {
    for (i = 2; i <= n; i++)
        for (j = i; j > 1 && values[j] < values[j - 1]; j--) {
            t = values[j]; values[j] = values[j - 1]; values[j - 1] = t
        }
    return n % 2 ? values[(n + 1) / 2] : (values[n / 2] + values[n / 2 + 1]) / 2
}

{
    who = FILENAME ~ /alone\.[0-9]+$/ ? "alone" : "cascade"
    round = FILENAME
    sub(/^.*\./, "", round)
    tokens[who, round] += number("predicted_n")
    ms[who, round] += number("prompt_ms") + number("predicted_ms")
    rounds[round] = 1
    answers[who]++
    if (who == "cascade") {
        for (i = 1; i <= 3; i++) source[i] += number(name[i] "_tokens")
        steps += number("num_spec_steps")
        drafted += number("num_draft_tokens")
        agreed += number("num_accepted_draft_tokens")
        calls += number("verifier_calls")
    }
}

BEGIN { split("kept resampled bonus accepted", name) }

END {
    for (r in rounds) {
        n++
        a[n] = 1000 * tokens["alone", r] / ms["alone", r]
        c[n] = 1000 * tokens["cascade", r] / ms["cascade", r]
        ratio[n] = c[n] / a[n]
        all += tokens["cascade", r]
    }
    printf "                 tokens/s   speed-up   (%d answers of each, medians of %d rounds)\n", answers["alone"], n
    printf "verifier alone   %8.0f       1.00\n", median(a, n)
    printf "cascade          %8.0f       %4.2f\n\n", median(c, n), median(ratio, n)
    if (!all || !drafted || !steps) exit 1
    source[4] = all - source[1] - source[2] - source[3]
    printf "sources of the cascade's tokens:"
    for (i = 1; i <= 4; i++) printf " %s %.0f%%%s", name[i], 100 * source[i] / all, i < 4 ? "," : "\n"
    printf "drafted tokens accepted: %.0f%%; tokens per block: %.2f; verifier calls per token: %.2f\n\n",
           100 * agreed / drafted, 1 + agreed / steps, calls / all
    pair = "-m models/demo/verifier -md models/demo/drafter"
    print "Try next:"
    print "  build/weir generate " pair " -p \"Where is my hat?\" --show-sources --stats"
    print "  build/weir generate " pair " --deferral-rule opt --temp 0 -p \"Where is my hat?\""
    print "  build/weir info " pair
    print "  build/weir generate --help"
    print "  ./make.sh bleu     # quality and speed of the rules over 1,000 prompts"
}
