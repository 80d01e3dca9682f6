"""Runs a Python program that a model wrote: its own process group, limits, no network, an empty folder that goes away.

What holds: wall clock and CPU seconds, address space, file size, open files (kernel limits); no network by an empty
network namespace (unshare) where the kernel grants one, else by a guard inside the interpreter that refuses sockets,
which a determined program can get around (kind() says which). What does not hold: the program reads what this user may
read, and may write where this user may write outside its folder. Models' programs are clumsy rather than hostile; run
hostile ones in a machine of their own.
"""
from __future__ import annotations

import functools
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Sequence

SECONDS = 10            # wall clock and CPU of one program
MEMORY = 1 << 30        # bytes of address space
FILE_SIZE = 16 << 20    # bytes of one file
OPEN_FILES = 64
OUTPUT = 2000           # bytes of the program's words that are kept

# The child's first words: limits, the guard where there is no namespace, then the program, then the mark.
START = """import resource, runpy, sys
limits, guard, program, mark = eval(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
sys.argv = [program]
for what, most in limits:
    resource.setrlimit(what, (most, most))
if guard:
    import _socket, socket
    def refuse(*a, **k):
        raise OSError("no network in the lab's sandbox")
    class Refused:
        __init__ = refuse
    socket.socket = _socket.socket = Refused
    socket.create_connection = socket.getaddrinfo = socket.socketpair = refuse
runpy.run_path(program, run_name="__main__")
print()
print(mark)
"""
LIMITS = ((resource.RLIMIT_CPU, SECONDS), (resource.RLIMIT_AS, MEMORY), (resource.RLIMIT_FSIZE, FILE_SIZE),
          (resource.RLIMIT_NOFILE, OPEN_FILES), (resource.RLIMIT_CORE, 0))


@dataclass(frozen=True)
class Verdict:
    """why: "" when passed, else "timeout", "signal N", or the last line that the program wrote."""

    passed: bool
    why: str


@functools.cache
def namespace() -> tuple[str, ...]:
    """The command that puts a child into an empty network namespace; () where the kernel grants none."""
    program = shutil.which("unshare")
    for flags in (("-n",), ("-r", "-n")):
        if program and subprocess.run([program, *flags, "true"], capture_output=True, check=False).returncode == 0:
            return (program, *flags)
    return ()


def kind() -> str:
    """How the network is kept away, in words for a report."""
    return "an empty network namespace" if namespace() else "a guard inside the interpreter (no namespace on this machine)"


def last_line(path: Path) -> str:
    with open(path, "rb") as f:
        f.seek(max(0, path.stat().st_size - OUTPUT))
        lines = f.read().decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else ""


def command(script: Path, mark: str) -> list[str]:
    guard = "" if namespace() else "guard"
    return [*namespace(), sys.executable, "-I", "-B", "-c", START, repr(LIMITS), guard, str(script), mark]


def run(program: str, seconds: float = SECONDS) -> Verdict:
    """Passed: the program ran to its end and left with 0; one that leaves early with 0 does not print the mark."""
    with tempfile.TemporaryDirectory(prefix="weir-lab-") as folder:
        home, control = Path(folder, "home"), Path(folder, "control")
        home.mkdir()
        control.mkdir()
        script, words, mark = control / "program.py", control / "words", os.urandom(16).hex()
        script.write_text(program, encoding="utf-8", errors="replace")
        environment = {"HOME": str(home), "TMPDIR": str(home), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"}
        with open(words, "wb") as out:
            child = subprocess.Popen(command(script, mark), cwd=home, env=environment, stdin=subprocess.DEVNULL,
                                     stdout=out, stderr=subprocess.STDOUT, start_new_session=True)
            try:
                code: int | None = child.wait(seconds)
            except subprocess.TimeoutExpired:
                code = None
            finally:
                try:
                    os.killpg(child.pid, signal.SIGKILL)  # it, and what it left behind
                except ProcessLookupError:
                    pass
                child.wait()
        said = last_line(words)
    if code is None:
        return Verdict(False, "timeout")
    if code < 0:
        return Verdict(False, f"signal {-code}")
    return Verdict(True, "") if code == 0 and said == mark else Verdict(False, said or f"exit status {code}")


def run_all(programs: Sequence[str], workers: int | None = None) -> list[Verdict]:
    """Verdicts in order; equal programs run once."""
    namespace()  # once, before threads ask
    unique = list(dict.fromkeys(programs))
    with ThreadPoolExecutor(workers or len(os.sched_getaffinity(0))) as pool:
        verdicts = dict(zip(unique, pool.map(run, unique)))
    return [verdicts[p] for p in programs]
