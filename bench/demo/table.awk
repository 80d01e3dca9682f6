# The demo's table and its conclusion. Rows, cut by tabs; "-": not measured:
#   kind: verifier (first), exact, chosen (the cascade), drafter; name; BLEU; its difference to the verifier's
#   and that one's paired interval, low and high; tokens/s; speed-up over the verifier, low and high; a
#   block's time in tokens of the verifier alone; tokens of a block
# If the chosen setting is exact, it has one row, of the kind chosen.
# -v bold= -v plain=: escape sequences. Needs LC_ALL=C.

BEGIN {
    FS = "\t"
    MAX_LOSS = 1 # BLEU, as in measure.py
    COLUMNS = 100
}

function fail(words) {
    print "table.awk: " words >"/dev/stderr"
    failed = 1
    exit 1
}

# Columns of UTF-8 text: all bytes but those that continue a character.
function width(text) {
    gsub(/[\200-\277]/, "", text)
    return length(text)
}

function right(text, n) {
    while (width(text) < n) text = " " text
    return text
}

function left(text, n) {
    while (width(text) < n) text = text " "
    return text
}

# Text in lines of at most COLUMNS.
function wrap(text,    n, i, word, line, out) {
    n = split(text, word, " ")
    for (i = 1; i <= n; i++) {
        if (line != "" && width(line) + 1 + width(word[i]) > COLUMNS) {
            out = out line "\n"
            line = ""
        }
        line = line (line == "" ? "" : " ") word[i]
    }
    return out line
}

function range(low, high, form) { return sprintf("(" form " … " form ")", low, high) }

function print_row(i,    quality, speed) {
    speed = sprintf("%.2f", f[i, 8])
    if (kind[i] != "verifier") speed = speed "  " range(f[i, 9], f[i, 10], "%.2f")
    if (with_bleu) {
        quality = kind[i] == "verifier" ? "" : sprintf("%+.1f  ", f[i, 4]) range(f[i, 5], f[i, 6], "%+.1f")
        quality = right(sprintf("%.1f", f[i, 3]), 8) "   " left(quality, 24)
    }
    printf "%s%s%s%s%s   %s\n", kind[i] == "chosen" ? bold : "", left(name[i], 26), quality,
           right(sprintf("%.0f", f[i, 7]), 8), kind[i] == "chosen" ? plain : "", speed
}

function conclude(c,    v, loss, speed, at, best) {
    v = row["verifier"]
    speed = sprintf("%.2f × its speed %s", f[c, 8], range(f[c, 9], f[c, 10], "%.2f"))
    at = with_bleu ? sprintf(" at BLEU %.1f against %.1f", f[c, 3], f[v, 3]) : ""
    loss = -f[c, 4]
    best = (with_bleu ? ": the best setting, " name[c] "," : ": " name[c]) " runs at " speed at "."
    if (f[c, 10] <= 1) return "Nothing beats the verifier alone here" best
    if (f[c, 9] <= 1) return "Nothing is clearly faster than the verifier alone here" best
    if (!with_bleu) return name[c] " beats the verifier alone: " speed ". Its quality is not measured here."
    if (loss > MAX_LOSS)
        return sprintf("Nothing is proven to beat the verifier here: %s runs at %s, but on these draws, " \
                       "other than those it was chosen by, it loses %.1f BLEU (%.1f … %.1f).",
                       name[c], speed, loss, -f[c, 6], -f[c, 5])
    return name[c] " gives " (f[c, 5] > 0 ? "more than " : "") "the verifier's quality sooner: " speed at "."
}

NF != 12 { fail(FILENAME ":" FNR ": " NF " columns, expected 12") }
{
    kind[NR] = $1
    name[NR] = $2
    row[$1] = NR
    for (i = 3; i <= 12; i++) {
        if ($i != "-" && $i !~ /^[+-]?[0-9]+(\.[0-9]+)?$/)
            fail(FILENAME ":" FNR ": column " i " is no number: " $i)
        f[NR, i] = $i
    }
}

END {
    if (failed) exit 1
    if (!row["verifier"] || !row["chosen"]) fail("no row of the verifier, or none of the chosen setting")
    with_bleu = f[row["verifier"], 3] != "-"
    quality = with_bleu ? right("BLEU", 8) "   " left("against the verifier", 24) : ""
    printf "%s%s%s   %s\n", left("", 26), quality, right("tokens/s", 8), "speed-up"
    for (i = 1; i <= NR; i++) print_row(i)
    c = row["chosen"]
    printf "\n%s%s%s\n", bold, wrap(conclude(c)), plain
    if (f[c, 11] != "-")
        print wrap(sprintf("Why: a block of %s takes the time of %.2f tokens of the verifier and gives " \
                           "%.2f; both models read the prompt.", name[c], f[c, 11], f[c, 12]))
    if (with_bleu && row["exact"])
        print "exact samples from the verifier's own distribution: its BLEU differs by chance only."
}
