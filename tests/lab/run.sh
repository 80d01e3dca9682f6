#!/bin/sh
# The lab's tests. Without a Python that has its requirements: says so, and 77, which CTest and .ci/run call skipped.
set -eu
cd "$(dirname "$0")/../.."
python=${WEIR_LAB_PYTHON:-${PYTHON:-build/python/lab/bin/python}}
if ! "$python" -c 'import sacrebleu, rouge_score, matplotlib, yaml, numpy' 2>/dev/null; then
    echo "skipped: $python has not all of bench/lab/requirements.txt; ./make.sh lab test makes it" >&2
    exit 77
fi
PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=bench exec "$python" -W error::ResourceWarning -m unittest discover \
    -s tests/lab -t tests/lab "$@"
