#!/bin/sh
# The lab's tests. Without a Python that has its requirements it prints a line and exits with 77, which CTest
# and .ci/run report as a skip.
set -eu
cd "$(dirname "$0")/../.."
python=${WEIR_LAB_PYTHON:-${PYTHON:-build/python/lab/bin/python}}
if ! "$python" -c 'import sacrebleu, rouge_score, matplotlib, yaml, numpy, distributed' 2>/dev/null; then
    echo "skipped: $python lacks packages of bench/lab/requirements.txt; ./make.sh lab test installs them" >&2
    exit 77
fi
unset WEIR_COSTS # tests look at what the lab gives the program, and costs are part of it
PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=bench exec "$python" -W error::ResourceWarning -m unittest discover \
    -s tests/lab -t tests/lab "$@"
