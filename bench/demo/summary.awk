# Rows for table.awk from the JSON lines of weir generate, without BLEU. Arguments: files named */KIND.ROUND,
# KIND one of verifier, exact, chosen, drafter; each kind answers the same prompts in every round.
# -v exact=NAME -v chosen=NAME: what the table calls them.

function fail(words) {
    print "summary.awk: " words >"/dev/stderr"
    failed = 1
    exit 1
}

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

# The order statistics that enclose the median with at least 95% confidence (sign test): the k-th smallest and
# the k-th largest of n; the extremes where n is too small for that.
function rank(n,    k, i, term, tail) {
    term = tail = 0.5 ^ n
    for (k = 1; k < n && 2 * (tail + term * (n - k + 1) / k) <= 0.05; k++) {
        term *= (n - k + 1) / k
        tail += term
    }
    return k
}

function row(kind, name,    r, n, k, ratio, all, time, steps, block, base_tokens, base_decode, middle) {
    n = 0
    for (r in rounds) {
        if (answers[kind, r] != answers["verifier", r])
            fail(kind "." r ": " answers[kind, r] + 0 " answers, expected " answers["verifier", r] + 0)
        n++
        ratio[n] = (decode["verifier", r] + prompt["verifier", r]) / (decode[kind, r] + prompt[kind, r])
        all += tokens[kind, r]
        time += decode[kind, r] + prompt[kind, r]
        steps += blocks[kind, r]
        block += decode[kind, r]
        base_tokens += tokens["verifier", r]
        base_decode += decode["verifier", r]
    }
    middle = median(ratio, n) # sorts
    k = rank(n)
    block = steps ? sprintf("%.4f\t%.4f", block / steps / (base_decode / base_tokens), all / steps) : "-\t-"
    printf "%s\t%s\t-\t-\t-\t-\t%.4f\t%.4f\t%.4f\t%.4f\t%s\n", kind, name, 1000 * all / time,
           middle, ratio[k], ratio[n + 1 - k], block
}

FNR == 1 {
    kind = FILENAME
    sub(/^.*\//, "", kind)
    round = kind
    sub(/\..*$/, "", kind)
    sub(/^.*\./, "", round)
    rounds[round] = 1
}

{
    if (number("predicted_n") <= 0 || number("predicted_ms") <= 0)
        fail(FILENAME ":" FNR ": no answer of weir generate: " substr($0, 1, 60))
    answers[kind, round]++
    tokens[kind, round] += number("predicted_n")
    prompt[kind, round] += number("prompt_ms")
    decode[kind, round] += number("predicted_ms")
    blocks[kind, round] += number("num_spec_steps")
}

END {
    if (failed) exit 1
    if (!NR) fail("no answers")
    row("verifier", "verifier alone")
    row("exact", exact)
    row("chosen", chosen)
    row("drafter", "drafter alone")
}
