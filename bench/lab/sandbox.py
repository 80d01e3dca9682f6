"""Runs a Python program that a model wrote: its own process group, limits, no network, an empty folder that
is removed.

What holds: wall clock and CPU seconds, address space, file size, open files, processes (kernel limits; root
has no limit of processes); no network by an empty network namespace (unshare) where the kernel grants one,
else by a guard inside the interpreter that refuses sockets, which a determined program can get around; its
processes end with it, by a namespace of process ids or else by a parent that adopts and kills them (kind()
says which). What does not hold: the program reads what this user may read, and may write where this user may
write outside its folder. Models' programs are clumsy rather than hostile; run hostile ones in a machine of
their own.
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
PROCESSES = 256         # in addition to those that this user has
GRACE = 2.0             # seconds that the parent of a program has to end what is still running
OUTPUT = 2000           # bytes of the program's output that are kept

# How the child begins. Without a namespace of process ids: a parent that adopts orphans
# (PR_SET_CHILD_SUBREAPER, 36) and kills them. Then limits, the guard if there is no network namespace, the
# program, the mark.
START = """import resource, runpy, sys
limits, guard, adopt, program, mark = eval(sys.argv[1]), *sys.argv[2:]
sys.argv = [program]
def watch():
    import ctypes, os, signal
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
    def parent_of(p):
        try:
            with open(f"/proc/{p}/stat", "rb") as f:
                return int(f.read().rpartition(b")")[2].split()[1])
        except OSError:
            return 0
    def end(*_):
        while True:
            for p in filter(str.isdigit, os.listdir("/proc")):
                if parent_of(p) == os.getpid():
                    os.kill(int(p), signal.SIGKILL)
            try:
                os.wait()
            except ChildProcessError:
                return
    def stop(*_):
        end()
        os._exit(1)
    signal.signal(signal.SIGTERM, stop)
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        return
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    end()
    if code < 0:
        os.kill(os.getpid(), -code)
    os._exit(code if code >= 0 else 1)
if adopt:
    watch()
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
    """The command that puts a child into an empty network namespace, and one of process ids if the kernel
    grants that too; () if it grants none."""
    program = shutil.which("unshare")
    own = ("-p", "-f", "--kill-child")
    for flags in (("-n", *own), ("-r", "-n", *own), ("-n",), ("-r", "-n")):
        if program and subprocess.run([program, *flags, "true"], capture_output=True,
                                      check=False).returncode == 0:
            return (program, *flags)
    return ()


def kind() -> str:
    """How the network is blocked and processes are ended, in words for a report."""
    network = ("an empty network namespace" if namespace() else
               "a guard inside the interpreter (no namespace on this machine)")
    ends = "a namespace of process ids" if "-p" in namespace() else "a parent that ends their processes"
    return f"{network}, {ends}"


@functools.cache
def most_processes() -> int:
    """The kernel counts all threads of a user, so the present ones are added."""
    count = 0
    for path in Path("/proc").glob("[0-9]*"):
        try:
            count += len(os.listdir(path / "task")) if path.stat().st_uid == os.getuid() else 0
        except OSError:
            pass  # it ended meanwhile
    most, hard = PROCESSES + count, resource.getrlimit(resource.RLIMIT_NPROC)[1]
    return most if hard == resource.RLIM_INFINITY else min(most, hard)


def last_line(path: Path) -> str:
    with open(path, "rb") as f:
        f.seek(max(0, path.stat().st_size - OUTPUT))
        lines = f.read().decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else ""


def command(script: Path, mark: str) -> list[str]:
    guard = "" if namespace() else "guard"
    adopt = "" if "-p" in namespace() else "adopt"
    limits = (*LIMITS, (int(resource.RLIMIT_NPROC), most_processes()))
    return [*namespace(), sys.executable, "-I", "-B", "-c", START, repr(limits), guard, adopt, str(script),
            mark]


def end(child: subprocess.Popen) -> None:
    """Asks the parent of a program to end it and what it started, in other sessions too."""
    child.terminate()
    try:
        child.wait(GRACE)
    except subprocess.TimeoutExpired:
        pass


def run(program: str, seconds: float = SECONDS) -> Verdict:
    """Passed: the program ran to its end and left with 0. If it leaves early, the mark is missing."""
    with tempfile.TemporaryDirectory(prefix="weir-lab-", ignore_cleanup_errors=True) as folder:
        home, control = Path(folder, "home"), Path(folder, "control")
        home.mkdir()
        control.mkdir()
        script, words, mark = control / "program.py", control / "words", os.urandom(16).hex()
        script.write_text(program, encoding="utf-8", errors="replace")
        environment = {"HOME": str(home), "TMPDIR": str(home), "PATH": "/usr/bin:/bin",
                       "OMP_NUM_THREADS": "1"}
        with open(words, "wb") as out:
            child = subprocess.Popen(command(script, mark), cwd=home, env=environment,
                                     stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                                     start_new_session=True)
            try:
                code: int | None = child.wait(seconds)
            except subprocess.TimeoutExpired:
                code = None
                if "-p" not in namespace():
                    end(child)
            finally:
                try:
                    os.killpg(child.pid, signal.SIGKILL)  # the program and what it started
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
    namespace(), most_processes()  # once, before threads ask
    unique = list(dict.fromkeys(programs))
    with ThreadPoolExecutor(workers or len(os.sched_getaffinity(0))) as pool:
        verdicts = dict(zip(unique, pool.map(run, unique)))
    return [verdicts[p] for p in programs]
