#!/bin/sh
# The page's tests in Chromium: run.sh [URL] [TEST...]. Without a browser or a Python that has
# requirements.txt it prints a line and exits with 77, which CTest and .ci/run report as a skip.
set -eu
cd "$(dirname "$0")/../../.."
python=${WEIR_PAGE_PYTHON:-${PYTHON:-build/python/page/bin/python}}
if ! "$python" -c 'import selenium, axe_playwright_python' 2>/dev/null; then
    echo "skipped: $python lacks packages of tests/serve/page/requirements.txt; ./make.sh test page" \
        "installs them" >&2
    exit 77
fi
if ! command -v chromium >/dev/null 2>&1 || ! command -v chromedriver >/dev/null 2>&1; then
    echo "skipped: no chromium and chromedriver; ./make.sh test page installs them" >&2
    exit 77
fi
case ${1:-} in
    http://* | https://*)
        WEIR_PAGE_URL=$1
        export WEIR_PAGE_URL
        shift
        ;;
esac
[ $# -gt 0 ] || set -- test_page test_access test_views test_server
PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=tests/serve/page exec "$python" -m unittest "$@"
