#!/bin/sh
# The demo: its table and conclusion over invented figures, what it refuses, and the whole of it without
# Python. The lab's part is in tests/lab/test_demo.py.
#
#   TOOLS=$PWD/build tests/bench/demo.sh
set -eu
tools=${TOOLS:?the folder of the programs}
cd "$(dirname "$0")/../.."
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
mkdir "$here/tmp"

fail() {
    printf 'demo.sh: %s\n' "$*" >&2
    [ ! -e "$here/said" ] || sed 's/^/  | /' "$here/said" >&2
    exit 1
}
# ends STATUS COMMAND...: expects this status; the command's output is in said.
ends() {
    want=$1
    shift
    status=0
    "$@" >"$here/said" 2>&1 </dev/null || status=$?
    [ "$status" -eq "$want" ] || fail "$*: status $status, expected $want"
}
says() { grep -q -- "$1" "$here/said" || fail "nothing says \"$1\""; }
silent() { ! grep -q -- "$1" "$here/said" || fail "it says \"$1\""; }
one_line() { [ "$(wc -l <"$here/said")" -eq 1 ] || fail "expected one line"; }
narrow() { ! LC_ALL=C.UTF-8 grep -E '^.{111}' "$here/said" || fail "a line of more than 110 columns"; }

# ---- the table ---------------------------------------------------------------------------------------------

# row KIND NAME BLEU LESS LOW HIGH TOKENS/S SPEED-UP LOW HIGH BLOCK PER-BLOCK
row() { printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$@"; }
# table CHOSEN'S FIGURES...
table() {
    {
        row verifier 'verifier alone' 18.5 0 0 0 3000 1 1 1 - -
        row exact 'exact, γ 3' 18.9 0.4 -1 1.8 2200 0.73 0.7 0.76 3.1 2.3
        row chosen 'token-v2, α 0.3, γ 3' "$@" 2.5 3.25
    } >"$here/rows"
    ends 0 env LC_ALL=C awk -f bench/demo/table.awk "$here/rows"
    tr '\n' ' ' <"$here/said" >"$here/line"
    mv "$here/line" "$here/said"
}

table 18.4 -0.1 -1 0.8 4000 1.3 1.2 1.4
says 'token-v2, α 0.3, γ 3 gives the verifier.s quality sooner: 1.30 × its speed (1.20 … 1.40) at BLEU 18.4 '
says '18.4   -0.1  (-1.0 … +0.8)  *4000   1.30  (1.20 … 1.40)'
says 'Why: a block of token-v2, α 0.3, γ 3 takes the time of 2.50 tokens of the verifier and gives 3.25;'
says 'exact samples from the verifier.s own distribution'
table 20.4 1.9 0.2 2.8 4000 1.3 1.2 1.4
says 'gives more than the verifier.s quality sooner'
table 17.6 -0.9 -2 0.4 4000 1.3 1.2 1.4
says 'gives the verifier.s quality sooner'
table 17.4 -1.1 -2 -0.4 4000 1.3 1.2 1.4
says 'Nothing is proven to beat .* 1.30 × its speed (1.20 … 1.40), but on .* it loses 1.1 BLEU (0.4 … 2.0)\.'
table 18.4 -0.1 -1 0.8 2400 0.8 0.75 0.85
says 'Nothing beats the verifier alone here: the best .* runs at 0.80 × its speed (0.75 … 0.85) at BLEU 18.4 '
table 18.4 -0.1 -1 0.8 3030 1.01 0.97 1.05
says 'Nothing is clearly faster than the verifier alone here: the best .* runs at 1.01 × its speed'
# Without BLEU nothing is said of quality.
{
    row verifier 'verifier alone' - - - - 3000 1 1 1 - -
    row chosen 'exact, γ 3' - - - - 3900 1.3 1.2 1.4 2.5 3.25
} >"$here/rows"
ends 0 env LC_ALL=C awk -f bench/demo/table.awk "$here/rows"
says 'exact, γ 3 beats the verifier alone: 1.30 × its speed (1.20 … 1.40)\. Its quality is not measured'
silent BLEU
narrow

# refused FILE WORDS: table.awk and summary.awk end with one line.
refused() {
    ends 1 env LC_ALL=C awk -f "bench/demo/$1" "$here/bad"
    says "$2"
    one_line
}
: >"$here/bad"
refused table.awk '^table.awk: no row of the verifier, or none of the chosen setting$'
refused summary.awk '^summary.awk: no answers$'
printf 'verifier\tname\t1\n' >"$here/bad"
refused table.awk ':1: 3 columns, expected 12$'
row verifier 'verifier alone' 18.5 0 0 0 nan 1 1 1 - - >"$here/bad"
refused table.awk ':1: column 7 is no number: nan$'
row verifier 'verifier alone' 18.5 0 0 0 10 1 1 1 - - >"$here/bad"
refused table.awk 'none of the chosen setting$'
echo 'weir: no such model' >"$here/bad"
refused summary.awk ':1: no answer of weir generate: weir: no such model$'

# ---- sums --------------------------------------------------------------------------------------------------

# answer TOKENS MS BLOCKS: as far as summary.awk reads it.
answer() {
    printf '{"timings": {"prompt_ms": 1, "predicted_n": %s, "predicted_ms": %s}, ' "$1" "$2"
    printf '"metrics": {"speculative_decoding": {"num_spec_steps": %s}}}\n' "$3"
}
rounds() {
    rm -rf "$here/sums"
    mkdir "$here/sums"
    for i in 1 2 3 4 5 6 7 8 9 10 11 12; do
        { answer 10 19 0 && answer 10 19 0; } >"$here/sums/verifier.$i"
        # 40 ms against i: 12 ratios of which the third of each end are 40 / 10 and 40 / 3
        { answer 10 "$((i - 1))".5 4 && answer 10 0.5 4; } >"$here/sums/chosen.$i"
        sed 's/"predicted_ms": [0-9.]*/"predicted_ms": 19/' "$here/sums/chosen.$i" >"$here/sums/exact.$i"
        cp "$here/sums/verifier.$i" "$here/sums/drafter.$i"
    done
}
sums() { LC_ALL=C awk -v exact=E -v chosen=C -f bench/demo/summary.awk "$here"/sums/*; }
rounds
ends 0 sums
# 12 rounds of (i + 2) ms: third and tenth of 40 / 3 … 40 / 14, and the median of 40 / 8 and 40 / 9
says "^chosen	C	-	-	-	-	2352.9412	4.7222	3.3333	8.0000	"
says "^exact	E	-	-	-	-	500.0000	1.0000	1.0000	1.0000	2.5000	2.5000$"
says "^drafter	drafter alone	.*	-	-$"
sed -i 1d "$here/sums/exact.7"
ends 1 sums
says '^summary.awk: exact.7: 1 answers, expected 2$'

# ---- the whole, without Python -----------------------------------------------------------------------------

# A tree whose program answers two prompts of each file.
mkdir -p "$here/tree/build"
cp -R bench models "$here/tree"
cat >"$here/tree/build/weir" <<SH
#!/bin/sh
case "\$*" in
    *--input*)
        for input in "\$@"; do :; done
        head -n 2 "\$input" >"\$input.few"
        set -- "\$@" --input "\$input.few"
        ;;
esac
exec "$tools/weir" "\$@"
SH
chmod +x "$here/tree/build/weir"

cd /
export TMPDIR="$here/tmp" WEIR_TEMP=0 WEIR_GAMMA=99
demo=$here/tree/bench/demo/demo.sh
nothing_left() { [ -z "$(find "$here/tmp" -mindepth 1)" ] || fail "files are left"; }
ends 0 "$demo"
says '^BLEU is left out, and the setting is a fixed one:$'
says 'no Python with bench/quality_requirements.txt'
says '^verifier Ich freue mich'
[ "$(grep -c '^cascade  \[' "$here/said")" -eq 10 ] || fail "ten sentences are expected with their sources"
says '^verifier alone  *[0-9]*   1\.00$'
says '^token-v2, α 0.3, γ 3  *[0-9]*   [0-9.]*  ([0-9.]* … [0-9.]*)$'
says '^drafter alone '
says '^Why: '
! grep -q "$(printf '\033')" "$here/said" || fail "colours without a terminal"
narrow
nothing_left
ends 2 "$demo" "" --isa sparc
says '^weir: .*--isa sparc'
nothing_left
# A Python without the packages; what the machine has need not be there.
printf '#!/bin/sh\nexit 1\n' >"$here/python"
chmod +x "$here/python"
ends 2 "$demo" "$here/python" --no-such-option
says "$here/python lacks numpy or sacrebleu"
nothing_left
ends 1 env TMPDIR=/dev/null "$demo"
says '^demo: no room for files under /dev/null$'
one_line

# Ctrl-C in the middle.
"$demo" >"$here/said" 2>&1 &
child=$!
until grep -q '^cascade ' "$here/said"; do
    kill -0 $child 2>/dev/null || fail "it ended early"
    sleep 0.1
done
kill -TERM $child
status=0
wait $child || status=$?
[ $status -eq 143 ] || fail "status $status after SIGTERM, expected 143"
nothing_left
