#!/bin/sh
# Tries a bundle in an empty root: no library, shell or device except those of the bundle.
#
#   bench/gpu_bundle_check.sh build/gpu-bundle.tar.xz
#
# Needs the right to change the root: root, or user namespaces.
set -eu
[ $# -eq 1 ] || {
    echo "usage: gpu_bundle_check.sh BUNDLE" >&2
    exit 2
}

if [ -z "${IN_NAMESPACE:-}" ]; then
    inside=$(mktemp -d)
    trap 'rm -rf "$inside"' EXIT
    tar -C "$inside" -xf "$1"
    map=
    [ "$(id -u)" -eq 0 ] || map=--map-root-user
    # The mounts below vanish with the namespace.
    # shellcheck disable=SC2086  # one word or none
    IN_NAMESPACE=1 unshare --mount $map "$0" "$inside/weir-gpu"
    exit
fi

root=$1
mkdir -p "$root/proc" "$root/dev/shm" "$root/tmp"
mount -t proc proc "$root/proc" 2>/dev/null || mount --rbind /proc "$root/proc"
mount -t tmpfs tmpfs "$root/dev/shm"
touch "$root/dev/null"
mount --bind /dev/null "$root/dev/null"
out=$(mktemp)
change_root=$(command -v chroot) # an empty environment has no PATH, and the default one no sbin

# inside STATUS PATTERN COMMAND...: expects this status (any: not 0) and a line that matches.
inside() {
    want=$1 pattern=$2
    shift 2
    status=0
    env -i HOME=/tmp ${REQUIRE:+WEIR_REQUIRE_GPU=1} "$change_root" "$root" "$@" >"$out" 2>&1 </dev/null ||
        status=$?
    case $want in
        any) [ $status -ne 0 ] && right=1 || right=0 ;;
        *) [ $status -eq "$want" ] && right=1 || right=0 ;;
    esac
    if [ "$right" -eq 0 ] || ! grep -q "$pattern" "$out"; then
        printf 'FAILED: %s: status %d, wanted %s and "%s"\n' "$*" $status "$want" "$pattern"
        cat "$out"
        exit 1
    fi
    printf 'ok: %s\n' "$*"
}

inside 0 '^weir [0-9]' bin/weir --version
demo="-m models/demo/verifier -md models/demo/drafter"
# shellcheck disable=SC2086  # a list of words
inside 0 'Es hat viel geschneit' bin/weir generate $demo --device cpu --temp 0 -q -p 'It snowed a lot.'
inside any 'no NVIDIA driver\|no CUDA device' \
    bin/weir generate -m models/demo/verifier --device cuda -p 'It snowed a lot.'
inside 0 ' 0 wrong, 0 failed' bin/weir-kernel-bench --device cpu --tiny
inside 3 'no NVIDIA driver\|no CUDA device' bin/weir-kernel-bench --tiny
inside 0 't5-tiny shape' bin/weir-random-model /tmp/tiny t5-tiny
inside 0 'gemma2-tiny shape' bin/weir-random-model /tmp/gemma gemma2-tiny
inside 0 ',same,' \
    bin/weir-blocks -m /tmp/gemma -md /tmp/gemma --device cpu --n-prompt 100 --blocks 2 --repeat 1
# shellcheck disable=SC2086  # a list of words
inside 0 'same' bin/weir-blocks $demo --device cpu --blocks 2 --repeat 1
# shellcheck disable=SC2086  # a list of words
inside 0 'Es hat viel geschneit' bin/weir generate $demo --device cpu -tp 2 --temp 0 -q -p 'It snowed a lot.'
# shellcheck disable=SC2086  # a list of words
inside any 'no NVIDIA driver\|no CUDA device' bin/weir bench $demo --device cuda:0,0 -tp 2
for file in bench/gpu.sh bench/gpu_demo.sh bench/gpu_pairs.sh bench/gpu_ranks.sh bench/gpu_screen.sh \
    bin/test_cuda_exchange bin/test_cuda_model_ranks bin/test_cuda_engine_ranks; do
    [ -e "$root/$file" ] || {
        echo "FAILED: $file is not there"
        exit 1
    }
done
for program in "$root"/bin/test_cuda_*; do
    name=bin/$(basename "$program")
    inside 0 'Synthesis' "$name" --verbose=1 -j1
    grep -q SKIP "$out" || continue # nothing in it needs a device
    REQUIRE=1
    inside any 'no NVIDIA driver\|no CUDA device' "$name" --verbose=1 -j1
    REQUIRE=
done
rm -f "$out"
echo "the bundle works in an empty root"
