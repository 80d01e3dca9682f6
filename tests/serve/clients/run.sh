#!/bin/sh
# run.sh PYTHON ci|all [CASE...]: weir serve with clients from PyPI, which ./make.sh test clients installs.
# CASE: a name of unittest's, such as test_openai.Chat.
set -eu
cd "$(dirname "$0")/../../.."
python=$1
part=$2
shift 2
if [ $# -eq 0 ]; then
    set -- test_openai test_lm_eval test_curl
    [ "$part" = ci ] || set -- "$@" test_libraries test_bench_clients
fi
# Clients' own warnings are none of ours.
PYTHONPATH=tests/serve/clients:tests/serve/running
export PYTHONPATH
PYTHONDONTWRITEBYTECODE=1 exec "$python" -W ignore -m unittest "$@"
