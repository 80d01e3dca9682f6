#!/bin/sh
# Packs what bench/gpu.sh needs into build/gpu-bundle.tar.xz, for a machine with an NVIDIA driver and Python
# but without a compiler or package index: programs and tests of the CUDA build, their libraries down to libc
# and its loader, the demo pair.
#
#   bench/gpu_bundle.sh          (or ./make.sh gpu-bundle; needs a CUDA toolkit)
#   ARCHS=90a-real bench/gpu_bundle.sh         for that machine's processor alone: smaller, compiled sooner
#   there: tar xf gpu-bundle.tar.xz && weir-gpu/bench/gpu.sh
#   without xz: python3 -c 'import tarfile; tarfile.open("gpu-bundle.tar.xz").extractall(".")'
#
# Programs find libraries by their own place (DT_RPATH, so libraries of libraries are found too). They name
# the bundle's loader relative to the folder weir-gpu and must start there, as gpu.sh does. So the age of that
# machine's libc does not matter, and no environment variable leaks into its own programs.
set -eu
cd "$(dirname "$0")/.."

limit_mib=60 # of tree and bundle together, which is what such a machine receives
build=build/bundle
stage=build/gpu-bundle/weir-gpu
archive=build/gpu-bundle.tar.xz
loader=lib/ld-linux-x86-64.so.2

say() { printf '%s\n' "gpu_bundle.sh: $*" >&2; }
die() {
    say "$*"
    exit 1
}

compile() {
    mkdir -p build
    # shellcheck disable=SC2016  # the loader reads $ORIGIN
    cmake --preset cuda -B "$build" -DWEIR_TEST_ROOT=. -DCMAKE_BUILD_RPATH='$ORIGIN/../lib' \
        -DCMAKE_EXE_LINKER_FLAGS=-Wl,--disable-new-dtags \
        ${ARCHS:+"-DCMAKE_CUDA_ARCHITECTURES=$ARCHS"} >"build/configure-bundle.log" 2>&1 || {
        cat build/configure-bundle.log >&2
        die "configuring failed"
    }
    tests=$(cmake --build "$build" --target help | sed -n 's/^\(test_cuda_[A-Za-z0-9_]*\): phony.*/\1/p')
    [ -n "$tests" ] || die "the build has no test_cuda_ programs"
    # shellcheck disable=SC2086  # a list of names
    cmake --build "$build" -j "${JOBS:-$(getconf _NPROCESSORS_ONLN)}" \
        --target weir weir-kernel-bench weir-blocks weir-random-model $tests
}

# Replaces the interpreter named in a program's header. The new path is shorter and is padded with zeros.
set_loader() {
    python3 - "$1" "$loader" <<'PYTHON'
import sys
path, new = sys.argv[1], sys.argv[2].encode()
old = b"/lib64/ld-linux-x86-64.so.2"
data = bytearray(open(path, "rb").read())
at = data.find(old + b"\0", 0, 4096)
if at < 0 or len(new) > len(old):
    sys.exit(f"{path}: no {old.decode()} in its first page")
data[at:at + len(old)] = new.ljust(len(old), b"\0")
open(path, "wb").write(data)
PYTHON
}

# Everything a program loads, then the stubs that drivers still ask for by name.
libraries() {
    for program in "$stage"/bin/*; do
        ldd "$program"
    done | sed -n 's/^.* => \(\/[^ ]*\) .*/\1/p' | sort -u
    libc=$(ldd "$stage/bin/weir" | sed -n 's/^.*libc\.so\.6 => \(\/[^ ]*\) .*/\1/p')
    for stub in libdl.so.2 libpthread.so.0 librt.so.1 libutil.so.1; do
        found=$(dirname "$libc")/$stub
        [ ! -e "$found" ] || echo "$found"
    done
}

fill() {
    rm -rf build/gpu-bundle
    mkdir -p "$stage/bin" "$stage/lib" "$stage/bench/demo" "$stage/tests"
    for name in weir weir-kernel-bench weir-blocks weir-random-model; do
        cp "$build/$name" "$stage/bin/"
    done
    find "$build" -type f -name 'test_cuda_*' -perm -u+x -exec cp {} "$stage/bin/" \;
    strip "$stage"/bin/*
    libraries >build/gpu-bundle/libraries
    while read -r library; do
        cp -L "$library" "$stage/lib/"
    done <build/gpu-bundle/libraries
    cp -L /lib64/ld-linux-x86-64.so.2 "$stage/$loader"
    chmod u+w "$stage"/lib/*
    for program in "$stage"/bin/*; do
        set_loader "$program"
    done
    for name in gpu gpu_demo gpu_pairs gpu_ranks gpu_screen; do
        cp "bench/$name.sh" "$stage/bench/"
    done
    cp bench/demo/device.py "$stage/bench/demo/"
    cp -R models "$stage/models.all"
    mkdir "$stage/models"
    mv "$stage/models.all/demo" "$stage/models/demo"
    rm -r "$stage/models.all"
    cp -R tests/golden "$stage/tests/golden"
    cp LICENSE "$stage/"
    id=$(git rev-parse HEAD 2>/dev/null || echo unknown)
    [ -z "$(git status --porcelain 2>/dev/null)" ] || id="$id with changes"
    echo "$id" >"$stage/COMMIT"
}

# Every program contains the same device code; a window as large as the bundle compresses it once.
pack() {
    tar -C build/gpu-bundle --sort=name --owner=0 --group=0 -cf - weir-gpu |
        xz -T1 --lzma2=preset=6,dict=256MiB >"$archive"
    tree=$(git ls-files -z | xargs -0 cat | wc -c)
    bundle=$(wc -c <"$archive")
    unpacked=$(du -sm "$stage" | cut -f 1)
    say "$archive: $((bundle >> 20)) MiB, $unpacked MiB unpacked; the tree has $((tree >> 20)) MiB"
    [ $((tree + bundle)) -le $((limit_mib << 20)) ] || die "tree and bundle exceed $limit_mib MiB"
}

compile
fill
pack
exec bench/gpu_bundle_check.sh "$archive"
