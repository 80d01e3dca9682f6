#!/bin/sh
# The quiet steps of make.sh: of each that fails the end of its output is shown, with the path of the whole;
# nothing is shown of what went well. Stand-ins of cmake, python3 and pip fail here on demand.
set -eu
cd "$(dirname "$0")/../.."
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
mkdir -p "$here/bin" "$here/tree/bench/lab" "$here/tree/bench/demo"
cp make.sh "$here/tree"
# shellcheck disable=SC2016  # the stand-in reads them
printf '#!/bin/sh\necho "demo: [$1] $2"\n' >"$here/tree/bench/demo/demo.sh"
chmod +x "$here/tree/bench/demo/demo.sh"
cp bench/quality_requirements.txt "$here/tree/bench"
cp bench/lab/requirements.txt "$here/tree/bench/lab"

# FAILS names the step. A build prints lines as ninja does: progress, then a compiler's words.
cat >"$here/bin/cmake" <<'SH'
#!/bin/sh
case $1 in
    --preset)
        [ "$FAILS" = configure ] || exit 0
        echo "CMake Error: the compiler is not able to compile"
        exit 1
        ;;
esac
i=1
while [ $i -le 200 ]; do
    echo "[$i/200] Building C object $i.o"
    [ "$FAILS" != compile ] || echo "line $i"
    i=$((i + 1))
done
[ "$FAILS" = compile ] || exit 0
printf 'file.c:7:1: \033[01;31m\033[Kerror:\033[m\033[K the own words of the compiler\n' >&2
exit 2
SH
# python3 -m venv DIR makes a pip that fails, python3 -c anything works.
cat >"$here/bin/python3" <<'SH'
#!/bin/sh
[ "$1" = -m ] || exit 0
[ "$FAILS" != venv ] || { echo "no ensurepip here"; exit 1; }
mkdir -p "$3/bin"
printf '#!/bin/sh\n[ "$FAILS" != pip ] || { echo "No matching distribution: $*"; exit 1; }\n' >"$3/bin/pip"
chmod +x "$3/bin/pip"
printf '#!/bin/sh\necho "python: $*"\n' >"$3/bin/python"
chmod +x "$3/bin/python"
SH
# Whatever make.sh asks for is installed.
printf '#!/bin/sh\necho installed\n' >"$here/bin/dpkg-query"
chmod +x "$here/bin/"*

fail() {
    echo "make_steps.sh: $1" >&2
    sed 's/^/  | /' "$here/said" >&2
    exit 1
}
# make STATUS FAILS COMMAND...: expects this status; its output is in said.
make() {
    want=$1
    status=0
    fails=$2
    shift 2
    env -u PYTHON PATH="$here/bin:$PATH" FAILS="$fails" "$here/tree/make.sh" "$@" >"$here/said" 2>&1 ||
        status=$?
    [ $status -eq "$want" ] || fail "$* with $fails failing: status $status, expected $want"
}
says() { grep -qF -- "$1" "$here/said" || fail "nothing says \"$1\""; }
one_line() { [ "$(wc -l <"$here/said")" -eq 1 ] || fail "more than one line"; }
silent() { ! grep -qF -- "$1" "$here/said" || fail "it says \"$1\""; }

make 1 configure build
says 'CMake Error: the compiler is not able to compile'
says 'make.sh: configure-release failed; the whole log: build/logs/configure-release.log'

make 1 compile build
says 'file.c:7:1: error: the own words of the compiler'
says 'make.sh: compiling release failed; the whole log: build/logs/compile-release.log'
says 'line 172'
silent 'line 171'
silent 'Building'
says 'release: 200 of 200 targets'
grep -q '^line 1$' "$here/tree/build/logs/compile-release.log" || fail "the log is not whole"

make 1 venv bleu
says 'no ensurepip here'
says 'make.sh: venv-quality failed; the whole log: build/logs/venv-quality.log'
make 1 pip bleu
says 'No matching distribution: install -q -r bench/quality_requirements.txt'
says 'make.sh: pip-quality failed; the whole log: build/logs/pip-quality.log'
[ ! -e "$here/tree/build/python/quality/ready" ] || fail "a failed installation counts as one"

# The demo goes on without it.
make 0 pip demo
says 'make.sh: pip-quality failed'
says 'demo: []'

# Made once; made again when the list, or one that it includes, changes.
make 0 none bleu
says 'installing bench/quality_requirements.txt'
says 'python: bench/quality.py'
make 0 none bleu
silent installing
make 0 none demo --isa=avx2
says 'demo: [build/python/quality/bin/python] --isa=avx2'
silent installing
make 0 none lab
says 'python: -m lab'
make 0 none lab
silent installing
echo 'another==1' >>"$here/tree/bench/quality_requirements.txt"
make 0 none lab
says 'installing bench/lab/requirements.txt'

# A full disk: one line.
ln -sf /dev/full "$here/tree/build/logs/compile-release.log"
make 1 none build
says 'make.sh: cannot write build/logs/compile-release.log: is the disk full, or this folder read-only?'
one_line
rm -rf "$here/tree/build"
echo >"$here/tree/build"
make 1 none build
says 'make.sh: cannot write build/logs/configure-release.log: is the disk full, or this folder read-only?'
one_line
