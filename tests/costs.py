"""Measures what the suites cost and writes tests/costs.txt. CTest uses it to start the longest programs
first.

    python3 tests/costs.py [REGEX]     of build/, build/asan/ and build/tsan/, those compiled; REGEX: only
                                       these entries

CPU-seconds, because wall-clock time depends on what else runs. Prints every entry. A program under a second
has no line in the file; one that was not measured keeps its line. Standard library only.
"""
import json
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COSTS = ROOT / "tests" / "costs.txt"
BUILDS = {"release": ROOT / "build", "asan": ROOT / "build" / "asan", "tsan": ROOT / "build" / "tsan"}


def entries(build):
    """ctest's entries that a suite runs: (name, command, environment)."""
    out = subprocess.run(["ctest", "--test-dir", str(build), "--show-only=json-v1"], stdout=subprocess.PIPE,
                         check=True).stdout
    for test in json.loads(out)["tests"]:
        facts = {p["name"]: p["value"] for p in test.get("properties", [])}
        if "command" in test and "schedule" not in facts.get("LABELS", []):
            yield test["name"], test["command"], dict(e.split("=", 1) for e in facts.get("ENVIRONMENT", []))


def cost(entry):
    """(name, CPU-seconds of the entry and all that it started, passed)"""
    name, command, environment = entry
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **environment}, stdout=said,
                                   stderr=said)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return name, usage.ru_utime + usage.ru_stime, process.returncode in (0, 77)


def read():
    """{program: {build: seconds}} of the file, and its head."""
    lines = COSTS.read_text(encoding="utf-8").splitlines()
    rows = (line.split() for line in lines if not line.startswith("#"))
    costs = {r[0]: dict(zip(BUILDS, map(int, r[1:]))) for r in rows}
    return [line for line in lines if line.startswith("#")], costs


def main():
    chosen = re.compile(sys.argv[1] if len(sys.argv) > 1 else "")
    head, table = read()
    failed = []
    for build, folder in BUILDS.items():
        if not (folder / "CTestTestfile.cmake").exists():
            continue
        todo = [e for e in entries(folder) if chosen.search(e[0])]
        total = 0.0
        with ThreadPoolExecutor(2) as two:
            for name, seconds, passed in two.map(cost, todo):
                print(f"{build:8} {seconds:8.1f} {name}", flush=True)
                total += seconds
                table.setdefault(re.sub(r"\.(desc|rand\d+)(\.early)?$", "", name), {})[build] = round(seconds)
                failed += [] if passed else [f"{build}: {name}"]
        print(f"{build:8} {total:8.1f} all {len(todo)}", flush=True)
    rows = [(name, *(costs.get(b, 0) for b in BUILDS)) for name, costs in table.items()
            if max(costs.values()) > 0]
    rows.sort(key=lambda r: (-sum(r[1:]), r[0]))
    text = "\n".join(head + [f"{name:<26} {r:4d} {a:4d} {t:4d}" for name, r, a, t in rows]) + "\n"
    COSTS.write_text(text, encoding="utf-8")
    for name in failed:
        print(f"failed: {name}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
