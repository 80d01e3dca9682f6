#!/bin/sh
# A build of llama.cpp that fails: ./make.sh peers llama.cpp shows the end of the compiler's output. A
# stand-in of cmake fails here.
set -eu
cd "$(dirname "$0")/../.."
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
command -v python3 >/dev/null 2>&1 || {
    echo "skipped: no python3" >&2
    exit 77
}
mkdir "$here/bin"
cat >"$here/bin/cmake" <<'SH'
#!/bin/sh
[ "$1" = --build ] || exit 0
i=0
while [ $i -lt 200 ]; do
    echo "[$i/200] line $i"
    i=$((i + 1))
done
echo "ggml.c:7:1: error: the compiler's own words" >&2
exit 2
SH
chmod +x "$here/bin/cmake"

status=0
export PATH="$here/bin:$PATH" PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=bench/peers
python3 - "$here" >"$here/said" 2>&1 <<'PYTHON' || status=$?
import sys
from pathlib import Path

import llama_cpp_pair as peer

peer.BUILD = Path(sys.argv[1])
(peer.BUILD / f"llama_cpp_python-{peer.VERSION}").mkdir()
peer.build_peer(no_amx=False)
PYTHON
fail() {
    echo "peers_build.sh: $1" >&2
    sed 's/^/  | /' "$here/said" >&2
    exit 1
}
[ "$status" -eq 1 ] || fail "status $status, expected 1"
grep -q "the compiler's own words" "$here/said" || fail "the error is not shown"
grep -q 'line 199$' "$here/said" || fail "what came before it is not shown"
! grep -q 'line 100$' "$here/said" || fail "not its end alone"
grep -q '^llama_cpp_pair.py: status 2 of: cmake --build ' "$here/said" || fail "the command is not named"
grep -q "; the whole log: $here/compile.log\$" "$here/said" || fail "the log is not named"
grep -q 'line 0$' "$here/compile.log" || fail "the log is not whole"
! grep -q Traceback "$here/said" || fail "a traceback"
