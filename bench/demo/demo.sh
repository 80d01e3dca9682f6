#!/bin/sh
# Ten sentences by the verifier alone and by the cascade, then the speed of both. Needs only build/weir.
set -eu
cd "$(dirname "$0")/../.."

weir=build/weir
verifier=models/demo/verifier
drafter=models/demo/drafter
sentences=bench/demo/sentences.txt
seed=1
rule="--deferral-rule token-v2 --deferral-alpha 0.48 --gamma 4"
repeats=20 # seeds per speed, since ten sentences alone are over at once
rounds=5   # verifier and cascade take turns; the result is the median

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

bold="" dim="" plain=""
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
    esc=$(printf '\033')
    bold="${esc}[1m" dim="${esc}[2m" plain="${esc}[0m"
fi

alone() { "$weir" generate -m "$verifier" --temp 1 "$@"; }
# shellcheck disable=SC2086  # rule is a list of flags
cascade() { "$weir" generate -m "$verifier" -md "$drafter" --temp 1 $rule "$@"; }

printf '%s\n' "${bold}English to German: a 9.0 M verifier, a 0.95 M drafter, temperature 1${plain}" \
    "cascade: $rule" ""
n=0
while IFS= read -r sentence; do
    printf '%s\n' "${dim}English ${plain} $sentence"
    printf '%s' "${dim}verifier${plain} "
    alone -q -s $seed -p "$sentence" </dev/null
    printf '%s' "${dim}cascade ${plain} "
    if [ $n -eq 0 ]; then
        cascade -s $seed -p "$sentence" --show-sources </dev/null 2>"$work/legend"
    else
        cascade -q -s $seed -p "$sentence" --show-sources </dev/null
    fi
    printf '\n'
    n=$((n + 1))
done <"$sentences"
cat "$work/legend"

# The same ten sentences under many seeds, one at a time.
i=0
while [ $i -lt $repeats ]; do
    sed 's/.*/{"prompt":"&","seed":'$i'}/' "$sentences"
    i=$((i + 1))
done >"$work/prompts.jsonl"
i=0
while [ $i -le $rounds ]; do
    alone -q --jsonl --input "$work/prompts.jsonl" >"$work/alone.$i"
    cascade -q --jsonl --input "$work/prompts.jsonl" >"$work/cascade.$i"
    i=$((i + 1))
done
rm "$work/alone.0" "$work/cascade.0" # warm-up

exec awk -f bench/demo/summary.awk "$work"/alone.* "$work"/cascade.*
