"""Seeds bugs and counts how many the tests of CI find. The CPU runner's tests look for bugs in the CUDA
kernels, in CI's builds and all schedules (table `kernels`); other tests look for bugs in the code for CPUs
(table `cpu`).

A table (table.py) has one entry per bug: file, kind, text (blanks and line ends do not count), replacement.
HEAD is copied to build/mutations/src, so the checkout stays as it is; builds of the copy (plain, ASan +
UBSan, TSan) recompile what a mutated file touches. A mutant is found when a test of CI fails. The tests named
for it look first, build after build; then, for those that are left, all others of their kind. Progress is
kept in build/mutations/state.json: a run that was ended continues where it stopped, and a mutant runs again
when its file or its entry changed.

    python3 tests/mutations/run.py --check          every entry's text is there, once
    python3 tests/mutations/run.py                  all of them, then the results of each table
    python3 tests/mutations/run.py --table cpu      one table
    python3 tests/mutations/run.py --report         the results of what has been run so far
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

from table import TABLES, TESTS

ROOT = Path(__file__).resolve().parent.parent.parent
WORK = ROOT / "build" / "mutations"
HEAD, SOURCE = WORK / "head", WORK / "src"
STATE = WORK / "state.json"
BUILDS = {
    "plain": ["-DCMAKE_BUILD_TYPE=Release"],
    "asan": ["-DCMAKE_BUILD_TYPE=RelWithDebInfo", "-DWEIR_ASAN=ON"],
    "tsan": ["-DCMAKE_BUILD_TYPE=RelWithDebInfo", "-DWEIR_TSAN=ON"],
}
HERE = Path(__file__).resolve().parent
MUTANTS = [m for t in TABLES.values() for m in t["mutants"]]
NAMES = {"plain": "plain", "asan": "ASan + UBSan", "tsan": "TSan"}
# The first failure and the first report are enough: some bugs give thousands, each with its symbols.
ENVIRONMENT = {**os.environ, "CRITERION_FAIL_FAST": "1", "TSAN_OPTIONS": "halt_on_error=1",
               "UBSAN_OPTIONS": "halt_on_error=1"}
origin = HEAD
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


# ---- the table ---------------------------------------------------------------------------------------------

def label(m):
    return f"{m['file'].removeprefix('kernels/')}: {m['what']}"


def text_of(m):
    """The file as it is: in the checkout for --check, as committed for a run."""
    return (origin / m["file"]).read_text(encoding="utf-8")


def bare(text):
    """The text without blanks and line ends, and the place of each of its characters."""
    at = [i for i, c in enumerate(text) if not c.isspace()]
    return "".join(text[i] for i in at), at


def places(m, text):
    """(begin, end) of each place of the entry's text, however it is wrapped and indented."""
    (stripped, at), old = bare(text), bare(m["old"])[0]
    found, k = [], stripped.find(old)
    while k >= 0:
        found.append((at[k], at[k + len(old) - 1] + 1))
        k = stripped.find(old, k + len(old))
    return found


def mutate(m, text):
    """The file with the bug in it; `nth` (from 0) where the text occurs more than once."""
    begin, end = places(m, text)[m.get("nth", 0)]
    return text[:begin] + m["new"].strip() + text[end:]


def check():
    """Complaints about entries that do not apply."""
    bad = []
    for m in MUTANTS:
        if not (origin / m["file"]).exists():
            bad.append(f"{label(m)}: its file is not there")
            continue
        count = len(places(m, text_of(m)))
        if count == 0:
            bad.append(f"{label(m)}: its text is not there")
        elif count != 1 and "nth" not in m:
            bad.append(f"{label(m)}: its text is there {count} times, and no nth")
        elif m.get("nth", 0) >= count:
            bad.append(f"{label(m)}: its text is there {count} times only")
        if bare(m["old"])[0] == bare(m["new"])[0]:
            bad.append(f"{label(m)}: changes nothing")
        if not tests_of(m):
            bad.append(f"{label(m)}: no test is named for its file")
    seen = collections.Counter((m["file"], m["what"]) for m in MUTANTS)
    bad += [f"{file}: {what}: twice" for (file, what), n in seen.items() if n > 1]
    return bad


def tests_of(m):
    """The tests that look first: those of the entry, or of the longest prefix of its path in TESTS."""
    if "tests" in m:
        return m["tests"]
    found = [k for k in TESTS if m["file"].startswith(k)]
    return TESTS[max(found, key=len)] if found else []


def builds_of(m):
    return [b for b in BUILDS if b in m.get("builds", BUILDS)]


def is_runners(test):
    return test.startswith("runner_")


def key(m):
    h = hashlib.sha256()
    for part in (text_of(m), m["old"], m["new"], str(m.get("nth", 0))):
        h.update(part.encode() + b"\0")
    return h.hexdigest()[:16]


# ---- builds ------------------------------------------------------------------------------------------------

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
        self.there = []

    def configure(self):
        command = ["cmake", "-S", str(SOURCE), "-B", str(self.dir), "-G", "Ninja", *BUILDS[self.name]]
        status, out = run(command)
        if status != 0:
            sys.exit(f"{self.name}: configuring failed\n{out}")
        self.there = self.all_tests()

    def compile(self, tests, seconds=1200):
        targets = [f"test_{t}" for t in tests]
        return run(["cmake", "--build", str(self.dir), "-j2", "--target", *targets], seconds)

    def all_tests(self):
        """Of the programs named test_<name>: each once, whatever its schedules."""
        _, out = run(["ctest", "--test-dir", str(self.dir), "-N"])
        _, targets = run(["cmake", "--build", str(self.dir), "--target", "help"])
        there = set(re.findall(r"\btest_([a-z0-9_]+)", targets))
        return sorted(set(re.findall(r"Test +#\d+: ([a-z0-9_]+)", out)) & there)

    def those_of(self, tests):
        """Those that this build has."""
        return [t for t in tests if t in self.there]

    def test(self, name):
        """None, or which entry of ctest failed and how; covers all schedules of one test."""
        usual = self.seconds.get(name)
        limit = 1200 if usual is None else max(LEAST_SECONDS, 10 * usual)
        command = ["ctest", "--test-dir", str(self.dir), "-R", rf"^{name}(\.|$)", "-j2", "--stop-on-failure",
                   "--output-on-failure"]
        start = time.monotonic()
        status, out = run(command, limit, env=ENVIRONMENT)
        took = time.monotonic() - start
        if status is None:
            return f"{name}: hangs"
        if status == 0 and "No tests were found" not in out:
            self.seconds.setdefault(name, took)
            return None
        failed = re.search(r"Test +#\d+: (\S+) \.*(\*\*\*\S+)", out)
        if not failed:
            return f"{name}: {out.strip().splitlines()[-1] if out.strip() else 'no output'}"
        how = "ends with a report" if "SUMMARY: " in out else "hangs" if "Timeout" in failed[2] else "fails"
        return f"{failed[1]}: {how}"


# ---- one mutant --------------------------------------------------------------------------------------------

def try_tests(build, tests):
    """(build, test, how) of the first failure, or None. ValueError if the mutant does not compile."""
    status, out = build.compile(tests)
    if status is None:
        return build.name, "", "the compiler does not end"
    if status != 0:
        errors = [line for line in out.splitlines() if "error" in line]
        raise ValueError(f"{build.name}: does not compile: {errors[0] if errors else out[-300:]}")
    for t in tests:
        how = build.test(t)
        if how:
            return build.name, t, how
    return None


def judge(build, m, tests, outcome):
    """Adds to an outcome, as the state keeps it, what these tests find of the mutant in a build."""
    start = time.monotonic()
    outcome.pop("broken", None)
    (SOURCE / m["file"]).write_text(mutate(m, text_of(m)), encoding="utf-8")
    try:
        found = try_tests(build, tests)
        outcome["found"] = list(found) if found else None
    except ValueError as e:
        outcome["broken"] = str(e)
    restore(m)
    outcome["seconds"] = outcome.get("seconds", 0) + round(time.monotonic() - start)


def prepare(build, mutants):
    """A fresh copy, the build, and each test once as it is: a test that fails without a bug finds nothing."""
    copy_tree()
    build.configure()
    needed = sorted({t for m in mutants for t in build.those_of(tests_of(m))})
    print(f"{build.name}: building {len(needed)} tests", flush=True)
    status, out = build.compile(needed, 3600)
    if status != 0:
        sys.exit(f"{build.name}: the tree does not build\n{out[-3000:]}")
    for t in needed:
        how = build.test(t)
        if how:
            print(f"{build.name}: {how}, without any bug: it is left out", flush=True)
            build.there.remove(t)
        else:
            print(f"{build.name}: {t} {build.seconds[t]:.1f} s", flush=True)


def is_left(m, outcome, build, look):
    """Whether a build's tests must still look for the mutant: `near` those named for it, `far` the others."""
    if look == "far" and (m.get("equivalent") or m.get("invisible")):
        return False
    return build in builds_of(m) and not outcome.get("found") and build not in outcome.get(look, [])


def run_all(mutants, looks, again):
    """Every mutant against the tests near it, build after build, each build for those that are left; then the
    far ones. again: looks again for what was not found."""
    state = json.loads(STATE.read_text()) if STATE.exists() else {}
    for m in mutants:
        found = state.get(key(m), {}).get("found")
        if again and not m.get("equivalent") and not m.get("invisible") and not found:
            state.pop(key(m), None)
    for look in looks:
        for name in BUILDS:
            todo = sorted((m for m in mutants if is_left(m, state.get(key(m), {}), name, look)),
                          key=lambda m: m["file"])
            print(f"{look}, {name}: {len(todo)} of {len(mutants)} mutants to run", flush=True)
            if not todo:
                continue
            WORK.mkdir(parents=True, exist_ok=True)
            build = Build(name)
            prepare(build, todo)
            for i, m in enumerate(todo):
                outcome = state.setdefault(key(m), {})
                tests = build.those_of(tests_of(m))
                if look == "far":
                    tests = [t for t in build.there if t not in tests and
                             is_runners(t) == is_runners(tests_of(m)[0])]
                if tests:
                    judge(build, m, tests, outcome)
                if "broken" not in outcome:
                    outcome.setdefault(look, []).append(name)
                STATE.write_text(json.dumps(state, indent=1))
                report_one(f"{look} {name} {i + 1}/{len(todo)}", m,
                           outcome if tests else {"broken": "no test of it here", "seconds": 0})
    return state


def report_one(where, m, outcome):
    said = outcome.get("broken") or (" ".join(outcome["found"]) if outcome["found"] else "NOT FOUND")
    print(f"{where} {label(m)}: {said} ({outcome['seconds']} s)", flush=True)


# ---- the report --------------------------------------------------------------------------------------------

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


def report(name, state):
    table = TABLES[name]
    real = [m for m in table["mutants"] if not m.get("equivalent") and not m.get("invisible")]
    hit = [m for m in real if found_by(m, state)]
    by_build = collections.Counter(found_by(m, state)[0] for m in hit)
    commit = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], cwd=ROOT, check=True,
                            stdout=subprocess.PIPE).stdout.decode().strip()
    equivalent = sum(bool(m.get("equivalent")) for m in table["mutants"])
    invisible = sum(bool(m.get("invisible")) for m in table["mutants"])
    lines = [f"{datetime.date.today()}, {table['what']} of commit {commit} (and later where the text is the "
             f"same). Command: `python3 tests/mutations/run.py --table {name}`.", "",
             f"{len(hit)} of {len(real)} seeded bugs are found ({100 * len(hit) / len(real):.1f} %); the "
             "first to find them: "
             + ", ".join(f"{NAMES[b]} {by_build[b]}" for b in BUILDS
                         if any(b in builds_of(m) for m in real)) + ".",
             f"Beside them {equivalent} equivalent changes" +
             (f" and {invisible} that cannot show here." if invisible else ".")]
    near = sum(state.get(key(m), {}).get("found", 0) is None and "far" not in state[key(m)] for m in real)
    if near:
        lines.append(f"{near} of those not found were looked for by the tests named for them alone "
                     "(`--near`).")
    lines += ["", "| kind | bugs | found |", "|---|---|---|"]
    kinds = collections.Counter(m["kind"] for m in real)
    for kind, n in sorted(kinds.items()):
        lines.append(f"| {kind} | {n} | {sum(m['kind'] == kind for m in hit)} |")
    lines += ["", "| file | bug | kind | found by |", "|---|---|---|---|"]
    for m in sorted(table["mutants"], key=lambda m: m["file"]):
        cells = [m["file"].removeprefix("kernels/"), m["what"], m["kind"], verdict(m, state)]
        lines.append("| " + " | ".join(c.replace("|", "\\|") for c in cells) + " |")
    (HERE / table["results"]).write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(lines[2], f"-> {table['results']}")
    return len(hit) / len(real)


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--check", action="store_true", help="only compare the tables with the sources")
    p.add_argument("--table", choices=TABLES, help="only this one")
    p.add_argument("--only", default="", help="entries whose file or label has this")
    p.add_argument("--report", action="store_true", help="write the results of what has been run so far")
    p.add_argument("--near", action="store_true",
                   help="only the tests named for a bug: the others cost minutes each")
    p.add_argument("--again", action="store_true",
                   help="look again for what was not found before (after adding tests)")
    args = p.parse_args()
    global origin
    if args.check:
        origin = ROOT
    else:
        unpack_head()
    bad = check()
    for line in bad:
        print(line)
    if bad or args.check:
        print(f"{len(MUTANTS)} entries, {len(bad)} do not apply")
        return 1 if bad else 0
    tables = [args.table] if args.table else list(TABLES)
    if args.report:
        state = json.loads(STATE.read_text())
        return 0 if min([report(name, state) for name in tables]) >= 0.95 else 1
    of_tables = [m for name in tables for m in TABLES[name]["mutants"]]
    mutants = [m for m in of_tables if args.only in label(m)]
    state = run_all(mutants, ("near",) if args.near else ("near", "far"), args.again)
    broken = [m for m in mutants if "broken" in state[key(m)]]
    for m in broken:
        print(f"{label(m)}: {state[key(m)]['broken']}")
    if broken or len(mutants) < len(of_tables):
        return 1 if broken else 0
    return 0 if min([report(name, state) for name in tables]) >= 0.95 else 1


if __name__ == "__main__":
    sys.exit(main())
