"""What a store's answers depend on: the program, the models, the data. Two runs may share a store only if all
are equal."""
from __future__ import annotations

import functools
import subprocess
from pathlib import Path
from typing import Any, Iterable

from lab.errors import LabError
from lab.files import sha256
from lab.program import environment


@functools.cache
def hash_of(path: Path, size: int, changed: int, inode: int) -> str:
    """Of a whole file, read once while it stays as it is."""
    return sha256(path)[:32]


def fingerprint(path: Path) -> str:
    """"SIZE:HASH" of the whole file, weights too, because fine-tuned ones differ nowhere else. The program
    reads them next anyway, and then from memory."""
    try:
        now = path.stat()
    except OSError as e:
        raise LabError(f"{path}: {e.strerror or e}") from e
    return f"{now.st_size}:{hash_of(path, now.st_size, now.st_mtime_ns, now.st_ino)}"


def model(path: Path) -> dict[str, str]:
    """{name of the file: fingerprint} of a directory's files, or of a single file; prompt lookup has none."""
    if str(path) == "ngram":
        return {"ngram": "prompt lookup"}
    if path.is_file():
        return {path.name: fingerprint(path)}
    if not path.is_dir():
        raise LabError(f"{path}: no such model")
    files = sorted(p for p in path.iterdir() if p.is_file())
    if not files:
        raise LabError(f"{path}: no file in it")
    return {p.name: fingerprint(p) for p in files}


def version(program: Path) -> str:
    """What the program reports about itself."""
    try:
        done = subprocess.run([str(program), "--version"], capture_output=True, check=False, timeout=60,
                              env=environment())
    except OSError as e:
        raise LabError(f"{program}: {e.strerror or e}; build it with ./make.sh build") from e
    except subprocess.TimeoutExpired as e:
        raise LabError(f"{program}: --version did not end within a minute") from e
    if done.returncode != 0:
        raise LabError(f"{program}: --version ended with {done.returncode}")
    return done.stdout.decode("utf-8", "replace").strip()


def identity(program: Path, models: dict[str, Path], data: Iterable[Path],
             setting: dict[str, Any]) -> dict[str, Any]:
    """JSON-ready. setting: whatever else must stay, such as the task's options and the threads."""
    return {
        "program": {"version": version(program), "sha256": sha256(program)},
        "models": {side: model(path) for side, path in models.items()},
        "data": {f"{i}:{path.name}": sha256(path) for i, path in enumerate(data)},
        "setting": setting,
    }


def difference(old: Any, new: Any, at: str = "") -> str:
    """The first place where two identities differ, in words; "" if there is none."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*old, *(k for k in new if k not in old)]:
            here = f"{at}.{key}" if at else str(key)
            if key not in old or key not in new:
                return f"{here} is only in the {'new' if key in new else 'old'} one"
            found = difference(old[key], new[key], here)
            if found:
                return found
        return ""
    return "" if old == new else f"{at} was {old}, is {new}"
