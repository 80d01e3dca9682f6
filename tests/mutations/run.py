"""Seeds bugs into the CUDA kernels and counts how many the CPU runner's tests find, in the builds of CI and in all
schedules of each (CI runs one of them).

The table (table.py) has one entry a bug: file, kind, exact text, replacement. What is committed (HEAD) is copied to
build/mutations/src, so that the checkout stays as it is; three builds of the copy (plain, ASan + UBSan, TSan) recompile what a mutated file touches. A mutant is
found when a test of CI fails: the tests of the mutated op look for every bug first, then all others of the runner for those that are
left. Progress is kept in build/mutations/state.json: a run that was ended goes on where it stopped, and a mutant runs again when its
file or its entry changed.

    python3 tests/mutations/run.py --check          every entry's text is there, once
    python3 tests/mutations/run.py                  all of them, then tests/mutations/results.md
    python3 tests/mutations/run.py --report         results.md of what has been run so far
    python3 tests/mutations/run.py --near           without the second look by other tests
    python3 tests/mutations/run.py --only linear    entries whose file name or label has this

Standard library only.
"""
import argparse
import collections
import datetime
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from table import MUTANTS, TESTS

ROOT = Path(__file__).resolve().parent.parent.parent
WORK = ROOT / "build" / "mutations"
HEAD, SOURCE = WORK / "head", WORK / "src"
STATE = WORK / "state.json"
RESULTS = Path(__file__).resolve().parent / "results.md"
BUILDS = {
    "plain": ["-DCMAKE_BUILD_TYPE=Release"],
    "asan": ["-DCMAKE_BUILD_TYPE=RelWithDebInfo", "-DWEIR_ASAN=ON"],
    "tsan": ["-DCMAKE_BUILD_TYPE=RelWithDebInfo", "-DWEIR_TSAN=ON"],
}
NAMES = {"plain": "plain", "asan": "ASan + UBSan", "tsan": "TSan"}
# The first report is enough: some bugs give thousands, each with its symbols.
ENVIRONMENT = {**os.environ, "TSAN_OPTIONS": "halt_on_error=1", "UBSAN_OPTIONS": "halt_on_error=1"}
LEAST_SECONDS = 30  # a test that needs ten times its usual time, and this, hangs


def end(pid):
    """Kills a process and all below it: ctest and Criterion put theirs into sessions of their own."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue  # it ended meanwhile
    family = [pid]
    for member in family:
        family += [child for child, parent in parents.items() if parent == member]
    for member in family:
        try:
            os.kill(member, signal.SIGKILL)
        except ProcessLookupError:
            pass


def run(command, seconds=None, **how):
    """Status and output of a command; status None when it was ended for lack of time."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **how) as p:
        try:
            out, _ = p.communicate(timeout=seconds)
            return p.returncode, out.decode(errors="replace")
        except subprocess.TimeoutExpired:
            end(p.pid)
            out, _ = p.communicate()
            return None, out.decode(errors="replace")
        finally:
            if p.poll() is None:  # this script is being ended
                end(p.pid)


# ---- the table -----------------------------------------------------------------------------------------------------

def label(m):
    return f"{m['file'].removeprefix('kernels/')}: {m['what']}"


def text_of(m):
    """The file as it is: in the checkout for --check, as committed for a run."""
    return ((HEAD if HEAD.exists() else ROOT) / m["file"]).read_text(encoding="utf-8")


def mutate(m, text):
    """The file with the bug in it; `nth` (from 0) where the text occurs more than once."""
    parts = text.split(m["old"])
    n = m.get("nth", 0)
    return m["old"].join(parts[:n + 1]) + m["new"] + m["old"].join(parts[n + 1:])


def check():
    """Complaints about entries that do not apply."""
    bad = []
    for m in MUTANTS:
        count = text_of(m).count(m["old"])
        if count == 0:
            bad.append(f"{label(m)}: its text is not there")
        elif count != 1 and "nth" not in m:
            bad.append(f"{label(m)}: its text is there {count} times, and no nth")
        elif m.get("nth", 0) >= count:
            bad.append(f"{label(m)}: its text is there {count} times only")
        if m["old"] == m["new"]:
            bad.append(f"{label(m)}: changes nothing")
        if not tests_of(m):
            bad.append(f"{label(m)}: no test is named for its file")
    seen = collections.Counter((m["file"], m["what"]) for m in MUTANTS)
    bad += [f"{file}: {what}: twice" for (file, what), n in seen.items() if n > 1]
    return bad


def tests_of(m):
    """Tests of the mutated file, the nearest first: the longest prefix of its path that TESTS names."""
    found = [k for k in TESTS if m["file"].startswith(k)]
    return TESTS[max(found, key=len)] if found else []


def key(m):
    h = hashlib.sha256()
    for part in (text_of(m), m["old"], m["new"], str(m.get("nth", 0))):
        h.update(part.encode() + b"\0")
    return h.hexdigest()[:16]


# ---- builds --------------------------------------------------------------------------------------------------------

def unpack_head():
    """What is committed, into HEAD."""
    shutil.rmtree(HEAD, ignore_errors=True)
    HEAD.mkdir(parents=True)
    with subprocess.Popen(["git", "archive", "HEAD"], cwd=ROOT, stdout=subprocess.PIPE) as archive:
        subprocess.run(["tar", "-x", "-C", str(HEAD)], stdin=archive.stdout, check=True)


def copy_tree():
    """HEAD into SOURCE; unchanged files keep their times, so that little is rebuilt."""
    for path in HEAD.rglob("*"):
        if path.is_dir():
            continue
        to = SOURCE / path.relative_to(HEAD)
        to.parent.mkdir(parents=True, exist_ok=True)
        data = path.read_bytes()
        if not to.exists() or to.read_bytes() != data:
            to.write_bytes(data)
            shutil.copymode(path, to)


def restore(m):
    (SOURCE / m["file"]).write_text(text_of(m), encoding="utf-8")


class Build:
    """One of the builds of the copy."""

    def __init__(self, name):
        self.name, self.dir = name, WORK / name
        self.seconds = {}  # a test's usual time, all its schedules together
        self.tests = []  # those of the runner that this build has

    def configure(self):
        command = ["cmake", "-S", str(SOURCE), "-B", str(self.dir), "-G", "Ninja", *BUILDS[self.name]]
        status, out = run(command)
        if status != 0:
            sys.exit(f"{self.name}: configuring failed\n{out}")
        self.tests = self.all_tests()

    def compile(self, tests, seconds=1200):
        targets = [f"test_runner_{t}" for t in tests]
        return run(["cmake", "--build", str(self.dir), "-j2", "--target", *targets], seconds)

    def all_tests(self):
        _, out = run(["ctest", "--test-dir", str(self.dir), "-N", "-R", "^runner_"])
        found = re.findall(r"Test +#\d+: runner_([a-z0-9_]+)", out)
        return sorted(set(found))

    def test(self, name):
        """None, or which entry of ctest failed and how; all schedules of one test."""
        usual = self.seconds.get(name)
        limit = 1200 if usual is None else max(LEAST_SECONDS, 10 * usual)
        command = ["ctest", "--test-dir", str(self.dir), "-R", rf"^runner_{name}(\.|$)", "-j2", "--stop-on-failure",
                   "--output-on-failure"]
        start = time.monotonic()
        status, out = run(command, limit, env=ENVIRONMENT)
        took = time.monotonic() - start
        if status is None:
            return f"runner_{name}: hangs"
        if status == 0 and "No tests were found" not in out:
            self.seconds.setdefault(name, took)
            return None
        failed = re.search(r"Test +#\d+: (\S+) \.*(\*\*\*\S+)", out)
        if not failed:
            return f"runner_{name}: {out.strip().splitlines()[-1] if out.strip() else 'no output'}"
        how = "ends with a report" if "SUMMARY: " in out else "hangs" if "Timeout" in failed[2] else "fails"
        return f"{failed[1]}: {how}"


# ---- one mutant ----------------------------------------------------------------------------------------------------

def try_tests(builds, tests):
    """(build, test, how) of the first failure, or None. Raises ValueError where the mutant does not compile."""
    for b in builds:
        here = [t for t in tests if t in b.tests]
        status, out = b.compile(here)
        if status is None:
            return b.name, "", "the compiler does not end"
        if status != 0:
            errors = [line for line in out.splitlines() if "error" in line]
            raise ValueError(f"{b.name}: does not compile: {errors[0] if errors else out[-300:]}")
        for t in here:
            how = b.test(t)
            if how:
                return b.name, t, how
    return None


def judge(builds, m, tests):
    """How these tests find the mutant, as the state keeps it."""
    start = time.monotonic()
    (SOURCE / m["file"]).write_text(mutate(m, text_of(m)), encoding="utf-8")
    try:
        found = try_tests(builds, tests)
        outcome = {"found": list(found) if found else None}
    except ValueError as e:
        outcome = {"broken": str(e)}
    restore(m)
    outcome["seconds"] = round(time.monotonic() - start)
    return outcome


def prepare(builds, mutants):
    """Fresh copies, builds, and each test once as it is: a test that fails without a bug finds nothing."""
    copy_tree()
    needed = sorted({t for m in mutants for t in tests_of(m)})
    for b in builds:
        b.configure()
        here = [t for t in needed if t in b.tests]
        print(f"{b.name}: building {len(here)} tests", flush=True)
        status, out = b.compile(here, 3600)
        if status != 0:
            sys.exit(f"{b.name}: the tree does not build\n{out[-3000:]}")
        for t in here:
            how = b.test(t)
            if how:
                sys.exit(f"{b.name}: {how}, without any bug")
            print(f"{b.name}: {t} {b.seconds[t]:.1f} s", flush=True)


def finished(outcome):
    return outcome is not None and "broken" not in outcome and (outcome["found"] is not None or outcome.get("all", False))


def run_all(mutants, passes):
    """Every mutant against the tests near it; where passes has True, then those that are left against the others."""
    state = json.loads(STATE.read_text()) if STATE.exists() else {}
    todo = sorted((m for m in mutants if not finished(state.get(key(m)))), key=lambda m: m["file"])
    print(f"{len(mutants)} mutants, {len(todo)} to run", flush=True)
    if not todo:
        return state
    WORK.mkdir(parents=True, exist_ok=True)
    builds = [Build(name) for name in BUILDS]
    prepare(builds, todo)
    everything = builds[0].tests
    for far in passes:
        for i, m in enumerate(todo):
            before = state.get(key(m))
            if finished(before) or (before and not far and "broken" not in before):
                continue
            if far and (m.get("equivalent") or m.get("invisible")):
                continue
            near = tests_of(m)
            state[key(m)] = judge(builds, m, [t for t in everything if t not in near] if far else near)
            state[key(m)]["all"] = far
            STATE.write_text(json.dumps(state, indent=1))
            report_one(f"{'far' if far else 'near'} {i + 1}/{len(todo)}", m, state[key(m)])
    return state


def report_one(where, m, outcome):
    said = outcome.get("broken") or (" ".join(outcome["found"]) if outcome["found"] else "NOT FOUND")
    print(f"{where} {label(m)}: {said} ({outcome['seconds']} s)", flush=True)


# ---- the report ----------------------------------------------------------------------------------------------------

def found_by(m, state):
    """[build, test, how], or None: also where a mutant was never run, or did not compile."""
    return state.get(key(m), {}).get("found")


def verdict(m, state):
    found = found_by(m, state)
    if found:
        return f"{NAMES[found[0]]}: {found[2]}"
    if m.get("equivalent"):
        return f"equivalent: {m['equivalent']}"
    if m.get("invisible"):
        return f"invisible to the runner: {m['invisible']}"
    return "**not found**" if "found" in state.get(key(m), {}) else "**not run**"


def report(state):
    real = [m for m in MUTANTS if not m.get("equivalent") and not m.get("invisible")]
    hit = [m for m in real if found_by(m, state)]
    by_build = collections.Counter(found_by(m, state)[0] for m in hit)
    commit = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], cwd=ROOT, check=True,
                            stdout=subprocess.PIPE).stdout.decode().strip()
    lines = [f"{datetime.date.today()}, kernels of commit {commit} (and later where the text is the same). "
             "Command: `python3 tests/mutations/run.py`.", "",
             f"{len(hit)} of {len(real)} seeded bugs are found ({100 * len(hit) / len(real):.1f} %); the first to find them: "
             + ", ".join(f"{NAMES[b]} {by_build[b]}" for b in BUILDS) + ".",
             f"Beside them {sum(bool(m.get('equivalent')) for m in MUTANTS)} equivalent changes and "
             f"{sum(bool(m.get('invisible')) for m in MUTANTS)} that only a GPU can show."]
    near = sum("found" in state.get(key(m), {}) and not finished(state[key(m)]) for m in real)
    if near:
        lines.append(f"{near} of those not found were looked for by the tests of their op alone (`--near`).")
    lines += ["", "| kind | bugs | found |", "|---|---|---|"]
    kinds = collections.Counter(m["kind"] for m in real)
    for kind, n in sorted(kinds.items()):
        lines.append(f"| {kind} | {n} | {sum(m['kind'] == kind for m in hit)} |")
    lines += ["", "| file | bug | kind | found by |", "|---|---|---|---|"]
    for m in sorted(MUTANTS, key=lambda m: m["file"]):
        cells = [m["file"].removeprefix("kernels/"), m["what"], m["kind"], verdict(m, state)]
        lines.append("| " + " | ".join(c.replace("|", "\\|") for c in cells) + " |")
    RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(lines[2], f"-> {RESULTS.relative_to(ROOT)}")
    return len(hit) / len(real)


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--check", action="store_true", help="the table against the kernels, nothing else")
    p.add_argument("--only", default="", help="entries whose file or label has this")
    p.add_argument("--report", action="store_true", help="results.md of what has been run so far")
    p.add_argument("--near", action="store_true", help="only the tests of the mutated op: the others cost 20 minutes a bug")
    args = p.parse_args()
    if args.check:
        shutil.rmtree(HEAD, ignore_errors=True)
    else:
        unpack_head()
    bad = check()
    for line in bad:
        print(line)
    if bad or args.check:
        print(f"{len(MUTANTS)} entries, {len(bad)} do not apply")
        return 1 if bad else 0
    if args.report:
        return 0 if report(json.loads(STATE.read_text())) >= 0.95 else 1
    mutants = [m for m in MUTANTS if args.only in label(m)]
    state = run_all(mutants, (False,) if args.near else (False, True))
    broken = [m for m in mutants if "broken" in state[key(m)]]
    for m in broken:
        print(f"{label(m)}: {state[key(m)]['broken']}")
    if broken or len(mutants) < len(MUTANTS):
        return 1 if broken else 0
    return 0 if report(state) >= 0.95 else 1


if __name__ == "__main__":
    sys.exit(main())
