# shellcheck shell=sh
# Parts of gpu.sh, which reads this file: pairs of random weights in the shapes of published models. Their
# files are made in memory by all cores and removed after use: 57 GB for the largest pair, which is less than
# half of a machine with 128 GiB. blocks.csv and parts.csv begin with the family and the mode (gpu_demo.sh).
# shellcheck disable=SC2154  # gpu.sh sets them

# room_for MIB: makes a folder with that much space, in memory if possible, else on disk, and prints it.
# Prints nothing if there is none.
room_for() {
    available=$(awk '/^MemAvailable:/ { print int($2 / 1024) }' /proc/meminfo)
    for dir in /dev/shm "${TMPDIR:-/tmp}"; do
        free=$(df -Pk "$dir" 2>/dev/null | awk 'NR == 2 { print int($4 / 1024) }')
        [ "$dir" != /dev/shm ] || [ "${available:-0}" -gt "$1" ] || continue
        if [ "${free:-0}" -gt "$1" ] && made=$(mktemp -d "$dir/weir-models.XXXXXX" 2>/dev/null); then
            echo "$made" >>"$work/models"
            say "$made"
            return
        fi
    done
}

remove_models() {
    [ ! -e "$work/models" ] || while read -r dir; do rm -rf "$dir"; done <"$work/models"
    rm -f "$work/models"
}

# mib SHAPE...: the MiB of their checkpoints together.
mib() {
    for shape in "$@"; do "$tools/weir-random-model" --list | sed -n "s/^$shape //p"; done |
        awk '{ sum += $1 } END { print sum + 0 }'
}

# make_models SHAPE...: into $models, all in parallel; says why not and returns 1.
make_models() {
    models=$(room_for $(($(mib "$@") + 500)))
    if [ -z "$models" ]; then
        absent "no room for $(mib "$@") MiB of weights in memory or on disk"
        return 1
    fi
    : >"$work/made"
    for shape in "$@"; do
        {
            limited "$all_seconds" "$tools/weir-random-model" "$models/$shape" "$shape" ||
                echo "$?" >>"$work/made"
        } &
    done
    wait
    [ -s "$work/made" ] || return 0
    judge "$(head -n 1 "$work/made")" "making weights of $*"
    return 1
}

# file_rows FAMILY MODE NAME: what weir-blocks has left in $work to the CSVs; the blocks on the screen too.
file_rows() {
    [ ! -s "$work/blocks" ] || {
        sed "1s/^/family,mode,/; 2,\$s/^/$1,$2,/" "$work/blocks" >"$work/rows"
        append "$work/rows" "$results/blocks.csv"
        sed 1d "$work/rows" | cut -d , -f 1-12
    }
    [ ! -s "$work/parts" ] || {
        sed "1s/^/family,mode,pair,/; 2,\$s/^/$1,$2,$3,/" "$work/parts" >"$work/rows"
        append "$work/rows" "$results/parts.csv"
        sed 1d "$work/rows" | cut -d , -f 3-6
    }
}

# time_pair FAMILY MODE NAME VERIFIER DRAFTER OPTION...
time_pair() {
    family=$1 with=$2 name=$3 verifier=$4 drafter=$5
    shift 5
    if out_of_time; then
        late "$name $with"
        return
    fi
    rm -f "$work/blocks" "$work/parts"
    # shellcheck disable=SC2046  # one option or none
    in_mode "$with" "$all_seconds" "$tools/weir-blocks" -m "$models/$verifier" -md "$models/$drafter" \
        --device cuda --name "$name" $(mode_option "$with") "$@" >"$work/blocks"
    status=$?
    file_rows "$family" "$with" "$name"
    judge "$status" "$name $with"
}

# compare_modes NAME: at gamma 5 one session's tokens are the same in every mode that has a row.
compare_modes() {
    [ -s "$results/blocks.csv" ] || return 0
    awk -F, -v name="$1" '$3 == name && $6 == 5 && $7 == 1 && $13 != "" { n++; seen[$13] }
        END { for (t in seen) kinds++
              print name ": tokens of " n + 0 " runs are " (kinds > 1 ? "NOT THE SAME" : "the same")
              exit kinds > 1 }' "$results/blocks.csv" || wrong "$1: tokens differ between modes"
}

t5_options="--gamma 5 --sessions 1 --n-prompt 1000 --ctx 1024 --repeat 9"

part_t5() {
    make_models t5-small t5-large t5-xl || { remove_models; return; }
    best=$(best_mode)
    for size in large xl; do
        # shellcheck disable=SC2086  # a list of options
        time_pair t5 "$best" small-$size t5-$size t5-small $t5_options --parts "$work/parts"
    done
    for size in large xl; do
        for mode_here in straight calls while; do
            # shellcheck disable=SC2086
            [ "$mode_here" = "$best" ] ||
                time_pair t5 $mode_here small-$size t5-$size t5-small $t5_options
        done
        compare_modes "small-$size"
    done
    # shellcheck disable=SC2086
    ! named || time_pair t5 "$best" small-large t5-large t5-small $t5_options --gamma 1,3,7
    remove_models
}

# why_not VERIFIER DRAFTER: prints why a pair cannot run on this machine; nothing if it may.
why_not() {
    need=$(mib "$1" "$2")
    has=$(nvidia-smi --query-gpu=memory.total --format=csv,noheader,nounits 2>/dev/null | head -n 1)
    case $has in '' | *[!0-9]*) has=$need ;; esac
    [ "$has" -ge "$need" ] || say "$need MiB of weights, the device has $has"
}

# time_decoders DRAFTER VERIFIER: context 1k: a prompt of 1,000 tokens, then up to 13 blocks.
time_decoders() {
    pair=$1-$2
    if out_of_time; then
        late "$pair"
        return
    fi
    why=$(why_not "$2" "$1")
    if [ -n "$why" ]; then
        absent "$pair: $why"
        return
    fi
    if make_models "$1" "$2"; then
        limited 30 "$tools/weir" info -m "$models/$2" -md "$models/$1" --device cuda -c 1152 -np 1 --gamma 5 \
            >"$work/plan" 2>&1
        why=$(awk '$1 == "total" { plan = $(NF - 1) }
                   $1 == "available" && has == "" { has = $(NF - 1) } # a second one is of the host
                   $1 == "fits" && $2 == "no" { print "a plan of " plan " MiB, the device has " has }' \
            "$work/plan")
        if [ -n "$why" ]; then
            absent "$pair: $why"
        else
            time_pair decoder "$(best_mode)" "$pair" "$2" "$1" --gamma 5 --sessions 1 --ctx 1152 \
                --n-prompt 1000 --blocks 12 --repeat 3 --parts "$work/parts"
        fi
    fi
    remove_models
}

part_decoder() {
    time_decoders llama3-1b llama3-8b
    time_decoders gemma2-2b gemma2-27b
    if ! named; then # a machine without room for 57 GB has some for 24
        grep -q ',gemma2-2b-gemma2-27b,' "$results/blocks.csv" 2>/dev/null ||
            time_decoders gemma2-2b gemma2-9b
        return 0
    fi
    time_decoders gemma2-2b gemma2-9b
    time_decoders qwen2.5-0.5b qwen2.5-7b
    time_decoders gemma3-270m gemma3-4b
    time_decoders gemma3-1b gemma3-27b
    time_decoders qwen2.5-0.5b qwen2.5-32b
}

# Many sessions: short prompts, so that blocks are what takes the time.
part_sessions() {
    best=$(best_mode)
    if make_models llama3-1b llama3-8b; then
        time_pair decoder "$best" llama3-1b-llama3-8b llama3-8b llama3-1b --gamma 5,1 --sessions 8,32,64 \
            --ctx 384 --n-prompt 256 --blocks 8 --repeat 2
    fi
    remove_models
    if make_models t5-small t5-large; then
        time_pair t5 "$best" small-large t5-large t5-small --gamma 5 --sessions 8,32,64 --n-prompt 64 \
            --repeat 2
    fi
    remove_models
}
