#!/bin/sh
# weir-random-model: its tiny shapes load, score and answer as pairs; the bytes of a seed; what it refuses.
#
#   TOOLS=$PWD/build tests/bench/random_model.sh
set -eu
tools=${TOOLS:?the folder of the programs}
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
cd "$here"

fail() {
    printf 'random_model.sh: %s\n' "$*" >&2
    [ ! -e said ] || sed 's/^/  | /' said >&2
    exit 1
}

# ends STATUS COMMAND...: expects this status; the command's output is in said.
ends() {
    want=$1
    shift
    status=0
    "$@" >said 2>&1 </dev/null || status=$?
    [ "$status" -eq "$want" ] || fail "$*: status $status, expected $want"
}

says() { grep -q -- "$1" said || fail "nothing says \"$1\""; }
one_line() { [ "$(wc -l <said)" -eq 1 ] || fail "expected one line"; }
nothing_in() { [ -z "$(find "$1" -type f)" ] || fail "files are left in $1"; }

# ---- models ------------------------------------------------------------------------------------------------

begin="2, 5, 9, 100, 300"
middle="7, 8, 9, 22, 33, 44, 55, 66, 77, 88, 99, 111, 222"
echo "{\"text_ids\": [$begin, $middle, 333, 444, 6, 7, 8, 9, 511]}" >text
echo "{\"prompt_ids\": [$begin], \"completion_ids\": [$middle, 333, 444]}" >completion
echo "{\"prompt_ids\": [$begin, $middle]}" >prompt

# Log-probabilities of random tokens among 512, from logits with deviations up to 3: on average -ln 512 = -6.2
# less half the variance, plus some nats of chance and of layers that repeat their input.
sane() {
    sed 's/.*"logprobs": \[\([^]]*\)\].*/\1/; s/, /\n/g' said | awk -v n="$1" '
        !/^-[0-9.]+(e-?[0-9]+)?$/ { print "not a log-probability: " $0; exit 1 }
        { sum += $1 }
        END { mean = NR ? sum / NR : 0
              if (NR != n || mean < -18 || mean > -4) {
                  print NR " log-probabilities, mean " mean
                  exit 1
              } }' >&2
}

for shape in gemma2-tiny gemma3-tiny llama3-tiny qwen2.5-tiny t5-tiny; do
    ends 0 "$tools/weir-random-model" "$shape" "$shape"
    says "^$shape: .* $shape shape, [0-9.]* MiB$"
    ends 0 "$tools/weir-random-model" "$shape-2" "$shape" 2
    cmp -s "$shape/model.safetensors" "$shape-2/model.safetensors" &&
        fail "$shape: seeds 1 and 2 are the same"
    text=text n=24
    [ "$shape" != t5-tiny ] || text=completion n=15
    ends 0 "$tools/weir" score --device cpu -m "$shape" --input $text
    sane $n || fail "$shape: scores"
    ends 0 "$tools/weir" generate --device cpu -m "$shape" -md "$shape-2" --input prompt --ignore-eos -n 20 -q
    ids=$(sed 's/.*"token_ids": \[\([^]]*\)\].*/\1/' said | tr ',' '\n' | grep -c '[0-9]') || true
    [ "$ids" -eq 20 ] || fail "$shape: $ids tokens, expected 20"
done

# ---- bytes -------------------------------------------------------------------------------------------------

for shape in gemma3-tiny t5-tiny; do
    for threads in 1 2 7; do
        ends 0 "$tools/weir-random-model" "$shape-threads" "$shape" 1 --threads $threads
        cmp "$shape/model.safetensors" "$shape-threads/model.safetensors" ||
            fail "$shape: $threads threads, other bytes"
        cmp "$shape/config.json" "$shape-threads/config.json" || fail "$shape: another config.json"
    done
done
# Values must not change, or timings of two machines would be of different models. From cksum: checksum,
# bytes.
while read -r shape want; do
    is=$(cksum <"$shape/model.safetensors")
    [ "$is" = "$want" ] || fail "$shape: cksum $is, expected $want"
done <<'EOF'
t5-tiny 1465777657 728976
gemma3-tiny 1257892 711464
EOF
# The list has each shape's size in MiB, rounded up: parameters of the published models, two bytes each.
ends 0 "$tools/weir-random-model" --list
while read -r shape parameters; do
    says "^$shape $(((2 * parameters + (1 << 20) - 1) >> 20))$"
done <<'EOF'
gemma2-2b 2614341888
gemma2-9b 9241705984
gemma2-27b 27227128320
llama3-1b 1235814400
llama3-3b 3212749824
llama3-8b 8030261248
llama3-70b 70553706496
qwen2.5-7b 7615616512
qwen2.5-14b 14770033664
qwen2.5-32b 32763876352
EOF

# ---- refusals ----------------------------------------------------------------------------------------------

ends 2 "$tools/weir-random-model" none gemma2-3b
says '^weir-random-model: shape gemma2-3b is unknown; there are: t5-small .* qwen2.5-tiny$'
one_line
[ ! -e none ] || fail "a folder for an unknown shape"
ends 2 "$tools/weir-random-model" none gemma2-tiny one
says '^weir-random-model: seed: expected a number from 0 on: one$'
ends 2 "$tools/weir-random-model" none gemma2-tiny 1 --threads 0
says '^weir-random-model: --threads: expected 1 to 256: 0$'
ends 2 "$tools/weir-random-model" none
says '^usage: weir-random-model DIR SHAPE'
ends 1 "$tools/weir-random-model" /proc/none gemma2-tiny
says '^weir-random-model: /proc/none: gemma2-tiny shape, 0.4 MiB: No such file or directory$'
one_line

# A limit of the shell stands for a full disk.
full() { (trap '' XFSZ && ulimit -f 100 && exec "$tools/weir-random-model" "$@"); }
ends 1 full full gemma3-tiny
says '^weir-random-model: full: gemma3-tiny shape, 0.7 MiB: File too large$'
one_line
nothing_in full
