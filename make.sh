#!/bin/sh
# Installs what is missing, configures, builds and runs weir. ./make.sh help lists the commands.
set -eu
cd "$(dirname "$0")"

build_packages="gcc g++ cmake ninja-build pkg-config
    libsentencepiece-dev libjansson-dev libpcre2-dev libutf8proc-dev libevent-dev libssl-dev"
test_packages="libcriterion-dev libopenmpi-dev openmpi-bin spin"
as_root= # or sudo
python_dir=build/python
logs=build/logs # of every quiet step

usage() {
    cat <<'TEXT'
usage: ./make.sh COMMAND

  build [--cuda]   the program, build/weir, its man page, build/weir.1, and the timers of bench/
                   --cuda: with the CUDA backend, and the tests, in build/cuda/ (needs a CUDA toolkit's nvcc)
  demo [OPTIONS]   build the program, choose a setting for this machine, translate ten sentences, and show
                   quality and speed beside the verifier alone (OPTIONS: of weir generate)
  serve [OPTIONS]  build the program, then serve the demo pair: OpenAI's API and a page, http://127.0.0.1:8080
  test [--all]     build the tests, then run the suite
                   --all: in all schedules of the CUDA kernels' CPU runner, not in one
  test clients [--ci]
                   weir serve with clients from PyPI (1.5 GB in build/python the first time)
                   --ci: openai, lm-eval and curl alone (0.8 GB)
  test serve [N [SECONDS]]
                   a running server: N requests (default 2000) as the command line answers them, clients that
                   leave, full disks, and SECONDS (default 60) of mixed load
  test page [URL]  the server's web page in Debian's Chromium, against a server of the test's own or the one
                   at URL
  bench            build, then time the parts of a block (weir bench) on the demo pair
  bleu [ARGS]      quality and speed of the rules over 1,000 prompts; table and CSV under bench/results/
  peers [ARGS]     compare with transformers (llama.cpp if that comes first) on the same pair and prompts;
                   table under bench/results/ (a large download into build/python the first time)
  lab COMMAND      the cost-quality lab: sweeps, tables, plots (lab --help); lab test: its own tests
  lab distill      train a drafter on its verifier's words (a large download, PyTorch, the first time)
                   lab test distill: the lab's tests with PyTorch
  gpu-bundle       build/gpu-bundle.tar.xz: bench/gpu.sh and everything it needs on a machine with a GPU and
                   little else (needs a CUDA toolkit's nvcc)
  sanitize [--all] [NAME]
                   the suite under asan (ASan + UBSan), tsan, or both
  lint             layers, line length, shell scripts, gcc -fanalyzer; ptxas if there is an nvcc
  ptxas [--update] compare registers, shared memory and spills of the kernels with kernels/ptxas.txt
  fuzz [SECONDS]   every parser's fuzz target, SECONDS each (default 60; clang)
  format [--check] clang-format 14 over the C and C++ sources
  clean            remove build/

PYTHON names a Python that already has what bleu, peers and lab need.
JOBS limits parallel compilers and tests.
TEXT
}

say() { printf '%s\n' "make.sh: $*" >&2; }
die() {
    say "$*"
    exit 1
}

# A package is installed if dpkg reports it; without dpkg, if what it provides is found.
have_package() {
    if command -v dpkg-query >/dev/null 2>&1; then
        case $(dpkg-query -W -f '${db:Status-Status}\n' "$1" 2>/dev/null) in
            *installed*) return 0 ;;
        esac
    fi
    case $1 in
        gcc) command -v cc >/dev/null 2>&1 ;;
        g++) command -v c++ >/dev/null 2>&1 ;;
        ninja-build) command -v ninja >/dev/null 2>&1 ;;
        libopenmpi-dev) command -v mpicc >/dev/null 2>&1 ;;
        lib*-dev)
            module=${1#lib}
            command -v pkg-config >/dev/null 2>&1 && pkg-config --exists "${module%-dev}"
            ;;
        openmpi-bin) command -v mpirun >/dev/null 2>&1 ;;
        chromium-driver) command -v chromedriver >/dev/null 2>&1 ;;
        python3-venv) python3 -c 'import ensurepip, venv' >/dev/null 2>&1 ;;
        *) command -v "$1" >/dev/null 2>&1 ;;
    esac
}

need() {
    missing=
    for package in "$@"; do
        have_package "$package" || missing="$missing $package"
    done
    [ -n "$missing" ] || return 0
    if ! command -v apt-get >/dev/null 2>&1; then
        die "missing (Debian's names):$missing; install them and run this again"
    fi
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null 2>&1 || die "missing:$missing; as root: apt-get install$missing"
        as_root=sudo
    fi
    say "installing$missing"
    install "$missing" || die "installing$missing failed"
}

# want PACKAGE COMMAND: useful but not required; installed only if that needs no question.
want() {
    ! command -v "$2" >/dev/null 2>&1 || return 0
    command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" -eq 0 ] || return 0
    install "$1" >/dev/null 2>&1 || say "cannot install $1: continuing without it"
}

# install NAMES
install() {
    # shellcheck disable=SC2086  # a list of names
    $as_root apt-get update -q &&
        $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $1
}

jobs() { echo "${JOBS:-$(getconf _NPROCESSORS_ONLN)}"; }

need_nvcc() {
    command -v nvcc >/dev/null 2>&1 ||
        die "no nvcc: install a CUDA toolkit (12.8 or newer) and put its bin/ on PATH"
}

# begin_log NAME: sets log to the step's log, which begins with its name: an empty file would need no room.
begin_log() {
    log=$logs/$1.log
    { mkdir -p "$logs" && echo "$1" >"$log"; } 2>/dev/null ||
        die "cannot write $log: is the disk full, or this folder read-only?"
}

# failed WORDS: the end of the log of the step that failed, without the lines of what went well.
failed() {
    sed -e 1d -e '/^\[[0-9]*\/[0-9]*\] /d' "$log" | tail -n 30 >&2
    say "$1; the whole log: $log"
}

# quietly NAME COMMAND...: its output goes to the log.
quietly() {
    begin_log "$1"
    name=$1
    shift
    "$@" >>"$log" 2>&1 || {
        failed "$name failed"
        return 1
    }
}

# configure PRESET [OPTION...]
configure() {
    # shellcheck disable=SC2086  # a list of names
    need $build_packages
    quietly "configure-$1" cmake --preset "$@" || exit 1
}

# make_targets PRESET TARGET...: one line on a terminal, a few lines elsewhere; the rest goes to the log.
make_targets() {
    preset=$1
    shift
    begin_log "compile-$preset"
    live=0
    [ ! -t 1 ] || live=1
    status=$logs/compile-$preset.status
    rm -f "$status"
    {
        NINJA_STATUS='[%f/%t] ' cmake --build --preset "$preset" -j "$(jobs)" --target "$@" &&
            echo 0 >"$status"
    } 2>&1 | awk -v preset="$preset" -v log_file="$log" -v live=$live '
        {
            line = $0
            gsub(/\033\[[0-9;]*[mK]/, "", line)
            print line >>log_file
        }
        /^\[[0-9]+\/[0-9]+\] / {
            split(substr($1, 2), n, /[\/\]]/)
            if (live || int(4 * n[1] / n[2]) > quarter || n[1] == 1)
                printf "%s%s: %d of %d targets%s", live ? "\r" : "", preset, n[1], n[2], live ? "" : "\n"
            quarter = int(4 * n[1] / n[2])
            fflush()
        }
        END { if (live && n[2]) print "" }' || true
    [ -e "$status" ] || {
        failed "compiling $preset failed"
        exit 1
    }
}

# compile PRESET [TARGET...]: the program, or the named targets. A fresh build folder is configured without
# tests, so it needs no Criterion; compile_suite adds them later without compiling the program again.
compile() {
    preset=$1
    shift
    dir=build
    [ "$preset" = release ] || dir=build/$preset
    if [ -e "$dir/CMakeCache.txt" ]; then configure "$preset"; else configure "$preset" -DWEIR_TESTS=OFF; fi
    make_targets "$preset" "${@:-weir}"
}

compile_suite() {
    # shellcheck disable=SC2086  # a list of names
    need $build_packages $test_packages
    want mold mold
    configure "$1" -DWEIR_TESTS=ON
    make_targets "$1" suite
}

# run_suite PRESET [--all]: ctest, then the number of cases (ctest counts programs only).
run_suite() {
    dir=build
    [ "$1" = release ] || dir=build/$1
    log=$dir/suite.log
    which="--preset $1"
    [ "${2:-}" != --all ] || which="--test-dir $dir --output-on-failure"
    {
        # shellcheck disable=SC2086  # a list of words
        ctest $which -j "$(jobs)" --verbose && echo 0 >"$log.status" || echo 1 >"$log.status"
    } 2>&1 | tee "$log" | grep --line-buffered -E '^ *[0-9]+/[0-9]+ Test ' || true
    if [ "$(cat "$log.status")" -ne 0 ]; then
        grep -vE '^[0-9]+: (\[(----|RUN |PASS)\]|$|Test (command|timeout)|Working Directory)' "$log" || true
    fi
    awk '/Synthesis: Tested:/ {
             gsub(/\033\[[0-9;]*m/, "")
             for (i = 1; i < NF; i++) {
                 if ($i == "Tested:") run += $(i + 1)
                 if ($i == "Passing:") passed += $(i + 1)
                 if ($i == "Failing:") failed += $(i + 1)
                 if ($i == "Crashing:") crashed += $(i + 1)
             }
         }
         /\[SKIP\]/ { skipped++ }
         END { printf "cases: %d run, %d passed, %d failed, %d crashed, %d skipped\n",
                      run, passed, failed, crashed, skipped }' "$log"
    grep -E '^[0-9]+% tests passed|^Total Test time|^No tests were found' "$log" || true
    sed -n "s/^\(.*\): \(..*\)/left out of $1, \1: \2/p" "$dir/left_out.txt"
    [ "$(cat "$log.status")" -eq 0 ] || die "$1: the suite failed; all of it is in $log"
}

# wanted LIST: the requirements in a list and in those that it includes (-r, relative to it).
wanted() {
    cat "$1"
    sed -n 's/^-r *//p' "$1" | while read -r other; do cat "$(dirname "$1")/$other"; done
}

# python_with DIR REQUIREMENTS [PIP-OPTION...]: prints a Python that has them.
python_with() {
    if [ -n "${PYTHON:-}" ]; then
        echo "$PYTHON"
        return
    fi
    need python3-venv >&2
    dir=$1 list=$2
    shift 2
    if ! [ -e "$dir/ready" ] || [ "$(wanted "$list")" != "$(cat "$dir/ready")" ]; then
        say "installing $list into $dir"
        quietly "venv-${dir##*/}" python3 -m venv "$dir" || return 1
        quietly "pip-${dir##*/}" "$dir/bin/pip" install -q "$@" -r "$list" || return 1
        wanted "$list" >"$dir/ready" || return 1
    fi
    echo "$dir/bin/python"
}

# test_page [URL] [TEST...]
test_page() {
    need chromium chromium-driver
    if ! python=$(python_with $python_dir/page tests/serve/page/requirements.txt --no-deps); then
        say "test page: skipped: no Python with tests/serve/page/requirements.txt" \
            "(without a network, set PYTHON)"
        exit 77
    fi
    WEIR_PAGE_PYTHON=$python exec tests/serve/page/run.sh "$@"
}

# test_clients [--ci]
test_clients() {
    part=all
    case ${1:-} in
        '') requirements=tests/serve/clients/requirements.txt ;;
        --ci) requirements=tests/serve/clients/requirements_ci.txt part=ci ;;
        *) die "test clients takes --ci or nothing, not $1" ;;
    esac
    need curl
    if ! python=$(python_with $python_dir/clients_$part $requirements); then
        say "test clients: skipped: no Python with $requirements (without a network, set PYTHON)"
        exit 77
    fi
    compile release
    exec tests/serve/clients/run.sh "$python" $part
}

sources() { git ls-files '*.c' '*.h' '*.cc' '*.cu' '*.cuh'; }

command=${1:-help}
[ $# -eq 0 ] || shift
case $command in
    build)
        case ${1:-} in
            '') compile release programs ;;
            --cuda)
                need_nvcc
                compile_suite cuda
                make_targets cuda programs
                ;;
            *) die "build takes --cuda or nothing, not $1" ;;
        esac
        ;;
    demo)
        compile release
        # BLEU is a part that the demo can do without: a network that is away must not keep it waiting.
        python=$(python_with $python_dir/quality bench/quality_requirements.txt --retries 1 --timeout 15) ||
            python=
        exec bench/demo/demo.sh "$python" "$@"
        ;;
    serve)
        compile release
        exec build/weir serve -m models/demo/verifier -md models/demo/drafter "$@"
        ;;
    test)
        case ${1:-} in
            '' | --all) ;;
            serve)
                compile release
                export PYTHONPATH=tests/serve/running PYTHONDONTWRITEBYTECODE=1
                python3 tests/serve/live/same_tokens.py --requests "${2:-2000}"
                python3 tests/serve/live/faults.py "${2:-2000}"
                exec python3 tests/serve/live/soak.py "${3:-60}"
                ;;
            page)
                shift
                test_page "$@"
                ;;
            clients)
                shift
                test_clients "$@"
                ;;
            *) die "test takes --all, serve, page, clients or nothing, not $1" ;;
        esac
        compile_suite release
        run_suite release "${1:-}"
        ;;
    bench)
        compile release
        exec build/weir bench -m models/demo/verifier -md models/demo/drafter "$@"
        ;;
    bleu)
        compile release
        python=$(python_with $python_dir/quality bench/quality_requirements.txt)
        exec "$python" bench/quality.py "$@"
        ;;
    peers)
        compile release
        if [ "${1:-}" = llama.cpp ]; then
            shift
            python=$(python_with $python_dir/quality bench/quality_requirements.txt) # for its pip
            exec "$python" bench/peers/llama_cpp_pair.py "$@"
        fi
        [ "${1:-}" != transformers ] || shift
        python=$(python_with $python_dir/peers bench/peers/requirements.txt)
        exec "$python" bench/peers/transformers_pair.py "$@"
        ;;
    lab)
        case "${1:-} ${2:-}" in # PyTorch is a large download, which other commands do without
            distill* | 'test distill') list=bench/lab/distill_requirements.txt dir=$python_dir/distill ;;
            *) list=bench/lab/requirements.txt dir=$python_dir/lab ;;
        esac
        if ! python=$(python_with "$dir" "$list"); then
            say "lab: skipped: no Python with $list (without a network, set PYTHON)"
            exit 77
        fi
        compile release
        if [ "${1:-}" = test ]; then
            shift
            [ "${1:-}" != distill ] || shift
            WEIR_LAB_PYTHON=$python exec tests/lab/run.sh "$@"
        fi
        PYTHONPATH=bench exec "$python" -m lab "$@"
        ;;
    gpu-bundle)
        # shellcheck disable=SC2086  # a list of names
        need $build_packages xz-utils
        need_nvcc
        exec bench/gpu_bundle.sh
        ;;
    sanitize)
        all=
        if [ "${1:-}" = --all ]; then
            all=$1
            shift
        fi
        for preset in ${1:-asan tsan}; do
            compile_suite "$preset"
            run_suite "$preset" "$all"
        done
        ;;
    lint)
        # shellcheck disable=SC2086  # a list of names
        need $build_packages shellcheck
        exec tests/lint.sh
        ;;
    ptxas)
        need_nvcc
        exec tests/ptxas.sh "$@"
        ;;
    fuzz)
        need clang
        compile fuzz all
        exec tests/fuzz/run.sh build/fuzz "${1:-60}"
        ;;
    format)
        need clang-format
        if [ "${1:-}" = --check ]; then
            sources | xargs -n 40 -P "$(jobs)" clang-format --dry-run -Werror
        else
            sources | xargs clang-format -i
        fi
        ;;
    clean) rm -rf build ;;
    help | -h | --help) usage ;;
    *)
        usage >&2
        die "unknown command: $command"
        ;;
esac
