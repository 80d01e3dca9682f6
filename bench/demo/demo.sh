#!/bin/sh
# What a cascade is, ten sentences by the verifier alone and by the cascade, then quality and speed of both.
#
#   demo.sh [PYTHON [OPTION...]]
#
# PYTHON has bench/quality_requirements.txt; "": there is none, so the setting is a fixed one and BLEU is left
# out. OPTION: of every weir generate (--isa avx2).
set -eu
cd "$(dirname "$0")/../.."

python=${1-}
[ $# -eq 0 ] || shift
weir=build/weir
verifier=models/demo/verifier
drafter=models/demo/drafter
sentences=bench/demo/sentences.txt
rounds=12 # without Python, of 60 prompts; the settings take turns
# Without Python: kept the verifier's BLEU in bench/results/demo_gammas.
fixed_rule=token-v2 fixed_alpha=0.3 fixed_gamma=3

# A setting of the user's shell must not change one of the compared runs and not the others.
for name in $(env | sed -n 's/^\(WEIR_[A-Z_]*\)=.*/\1/p'); do unset "$name"; done
export LC_ALL=C PYTHONPATH=bench PYTHONDONTWRITEBYTECODE=1 PYTHONUTF8=1

fail() {
    echo "demo: $1" >&2
    exit 1
}
work=$(mktemp -d 2>/dev/null) || fail "no room for files under ${TMPDIR:-/tmp}"
trap 'rm -rf "$work"' EXIT
trap 'echo; exit 130' INT
trap 'exit 143' TERM HUP

bold="" dim="" plain=""
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
    esc=$(printf '\033')
    bold="${esc}[1m" dim="${esc}[2m" plain="${esc}[0m"
fi

alone() { "$weir" generate -m "$verifier" --temp 1 "$@"; }
pair() { "$weir" generate -m "$verifier" -md "$drafter" --temp 1 "$@"; }

# What it says goes to a file first, because Ctrl-C makes a traceback of it; then the trap comes before cat.
measure() {
    "$python" bench/demo/measure.py "$@" 2>"$work/errors" || {
        cat "$work/errors" >&2
        exit 1
    }
}

# ---- parts -------------------------------------------------------------------------------------------------

# The setting: words on one line, and on the next why it is no faster than the verifier, if so.
choose() {
    why_not=
    if [ -z "$python" ]; then
        why_not="no Python with bench/quality_requirements.txt could be made (no network?)"
    elif ! "$python" -c 'import numpy, sacrebleu' >/dev/null 2>&1; then
        why_not="$python lacks numpy or sacrebleu (bench/quality_requirements.txt)"
    fi
    if [ -n "$why_not" ]; then
        printf '%s\n' "BLEU is left out, and the setting is a fixed one:" "$why_not."
        {
            printf '{"weir_profile": 1, "deferral_rule": "%s", ' $fixed_rule
            printf '"deferral_alpha": %s, "num_speculative_tokens": %s}\n' $fixed_alpha $fixed_gamma
        } >"$work/profile.json"
        echo "$fixed_rule, α $fixed_alpha, γ $fixed_gamma" >"$work/words"
    else
        echo "Choosing the fastest of some thirty settings that loses at most 1 BLEU here (weir tune) ..."
        measure choose "$work" "$@"
    fi
    setting=$(sed -n 1p "$work/words")
    sed -n '2s/.*/&./p' "$work/words" | fold -s -w 100 | sed 's/ *$//'
    echo "The cascade below: ${bold}$setting${plain}"
}

show_sentences() {
    printf '\n'
    pair "$@" --profile "$work/profile.json" -p x -n 1 --show-sources </dev/null 2>"$work/legend" \
        >"$work/answer" || {
        status=$?
        cat "$work/legend" >&2
        exit $status
    }
    while IFS= read -r sentence; do
        printf '%s\n' "${dim}English ${plain} $sentence"
        printf '%s' "${dim}verifier${plain} "
        alone "$@" -q -s 1 -p "$sentence" </dev/null
        printf '%s' "${dim}cascade ${plain} "
        pair "$@" -q -s 1 --profile "$work/profile.json" -p "$sentence" --show-sources </dev/null
        printf '\n'
    done <"$sentences"
    fold -s -w 100 "$work/legend" | sed 's/ *$//'
}

# Rows of the table without Python: each round has a seed.
time_rounds() {
    i=0
    while [ $i -le $rounds ]; do
        first=$((i % 5 * 60 + 1))
        sed -n "$first,$((first + 59))s/, \"reference\": .*}\$/, \"seed\": $i}/p" \
            bench/data/tatoeba_1000.jsonl >"$work/prompts"
        alone "$@" -q --jsonl --input "$work/prompts" >"$work/verifier.$i"
        pair "$@" -q --jsonl --gamma $fixed_gamma --input "$work/prompts" >"$work/exact.$i"
        pair "$@" -q --jsonl --profile "$work/profile.json" --input "$work/prompts" >"$work/chosen.$i"
        "$weir" generate -m "$drafter" --temp 1 "$@" -q --jsonl --input "$work/prompts" >"$work/drafter.$i"
        i=$((i + 1))
    done
    rm "$work"/*.0 # warm-up
    awk -v exact="exact, γ $fixed_gamma" -v chosen="$setting" -f bench/demo/summary.awk \
        "$work"/verifier.* "$work"/exact.* "$work"/chosen.* "$work"/drafter.* >"$work/rows"
}

# ---- the demo ----------------------------------------------------------------------------------------------

# shellcheck disable=SC2046,SC2183  # two words
printf '%s\n' \
    "A small drafter writes a few tokens, a large verifier checks them in one pass, and a rule decides," \
    "token by token, whose word stands. A cascade aims at the verifier's quality, sooner." "" \
    "$(printf 'English to German, verifier %s, drafter %s parameters, temperature 1.' $(
        "$weir" info -m $verifier -md $drafter | awk '$1 == "parameters" { printf "%.2fM\n", $2 / 1e6 }'))"
choose "$@"
show_sentences "$@"

printf '\n%s\n' "Timing 300 other sentences, one at a time, the settings in turn ..."
if [ -n "$why_not" ]; then
    time_rounds "$@"
    spread="95% intervals over $rounds rounds"
else
    measure compare "$work" "$@"
    spread="95% intervals over the sentences"
fi
printf '%s\n\n' "Speed-up: the verifier's time over the setting's, prompts included ($spread)."
awk -v bold="$bold" -v plain="$plain" -f bench/demo/table.awk "$work/rows"

models="-m $verifier -md $drafter"
cat <<TEXT

Try next:
  build/weir generate $models \\
      -p "Where is my hat?" --show-sources --stats
  build/weir bench $models     # where the time goes
  build/weir generate --help
  ./make.sh bleu     # the rules over 1,000 prompts
TEXT
