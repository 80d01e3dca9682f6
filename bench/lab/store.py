"""The answers of a sweep: one file of JSON lines, only ever appended to.

Line 1 is the identity (lab.identity), every other line one record. A record is written whole, newline last,
so a file that was cut at any byte is valid up to its last newline: opening drops what follows it, and the run
makes that answer again. A crash of the process loses nothing that was appended; a crash of the machine at
most SYNC_SECONDS of records.
"""
from __future__ import annotations

import errno
import fcntl
import json
import os
import time
import zlib
from pathlib import Path
from types import TracebackType
from typing import Any, Iterator

from lab.errors import LabError
from lab.identity import difference

FORMAT = 1          # of the records; another number is another file format
SYNC_SECONDS = 1.0
START = b'{"weir_lab":'  # of every store


def prompt_sum(prompt: str) -> int:
    """What a record keeps of its prompt."""
    return zlib.crc32(prompt.encode("utf-8", "surrogatepass"))


def encode(record: dict[str, Any]) -> bytes:
    return json.dumps(record, ensure_ascii=False,
                      separators=(",", ":")).encode("utf-8", "surrogatepass") + b"\n"


def read_records(path: Path) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """(line number, offset after it, record) of every complete line. A broken line in the middle is an error:
    appending never makes one."""
    end = 0
    try:
        f = open(path, "rb")
    except FileNotFoundError:
        return
    except OSError as e:
        raise LabError(f"{path}: {e.strerror or e}") from e
    with f:
        for number, line in enumerate(f, 1):
            if not line.endswith(b"\n"):
                return
            end += len(line)
            try:
                record = json.loads(line)
            except (ValueError, RecursionError) as e:
                raise LabError(f"{path}:{number}: broken record ({e}); "
                               "the file was changed by something else") from e
            if not isinstance(record, dict):
                raise LabError(f"{path}:{number}: expected a JSON object, got {type(record).__name__}")
            yield number, end, record


def answers_of(path: Path, records: list[dict[str, Any]]) -> set[tuple[int, str, int, int]]:
    """Keys (process, point, seed, prompt) of the answers. A second answer with the same key would count twice
    and is refused, unless it is the verifier timed again for a later run, which is marked ("again")."""
    have: set[tuple[int, str, int, int]] = set()
    for record in records:
        if "k" not in record:
            continue
        key = (record["g"], record["k"], record["s"], record["i"])
        if key in have and not record.get("again"):
            raise LabError(f"{path}: two answers for {record['k']}, seed {record['s']}, prompt {record['i']}")
        have.add(key)
    return have


class Store:
    """Opened for appending by one process at a time. records: in order, without the identity."""

    def __init__(self, path: Path, identity: dict[str, Any], fresh: bool = False) -> None:
        self.path = path
        self.records: list[dict[str, Any]] = []
        self._synced = time.monotonic()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as e:
            raise LabError(f"{path}: {e.strerror or e}") from e
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as e:
            os.close(self._fd)
            raise LabError(f"{path}: another run is writing it") from e
        try:
            self._check_ours()
            self._size = 0 if fresh else self._load(identity)
            os.ftruncate(self._fd, self._size)
            os.lseek(self._fd, self._size, os.SEEK_SET)
            if self._size == 0:
                self.append([{"weir_lab": FORMAT, "identity": identity}])
                self.sync()
        except BaseException:
            os.close(self._fd)
            raise

    def _check_ours(self) -> None:
        """A file that does not begin as a store does is someone's work, so neither --fresh nor a missing
        newline drops it."""
        head = os.pread(self._fd, len(START), 0)
        if not START.startswith(head):
            raise LabError(f"{self.path}:1: no store of this lab (format {FORMAT} expected); give another "
                           "--out")

    def _load(self, identity: dict[str, Any]) -> int:
        """Checks line 1, keeps the records, returns the size of the valid part."""
        size = 0
        for number, end, record in read_records(self.path):
            size = end
            if number > 1:
                self.records.append(record)
                continue
            if record.get("weir_lab") != FORMAT or "identity" not in record:
                raise LabError(f"{self.path}:1: no store of this lab (format {FORMAT} expected)")
            changed = difference(record["identity"], json.loads(json.dumps(identity)))
            if changed:
                raise LabError(f"{self.path}: made under another setting: {changed}; "
                               "give another --out, or --fresh to start over")
        return size

    def append(self, records: list[dict[str, Any]]) -> None:
        """All of them or none: if a full disk or Ctrl-C ends it early, what was written is cut off again."""
        data = memoryview(b"".join(encode(r) for r in records))
        done = 0
        try:
            while done < len(data):
                done += os.write(self._fd, data[done:])
            if time.monotonic() - self._synced > SYNC_SECONDS:
                self.sync()
        except BaseException as e:
            os.ftruncate(self._fd, self._size)
            os.lseek(self._fd, self._size, os.SEEK_SET)
            if not isinstance(e, OSError):
                raise
            full = e.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
            raise LabError(f"{self.path}: {'no room left' if full else e.strerror or e}; what was measured "
                           "before is kept: run the same command again to go on") from e
        self._size += len(data)

    def sync(self) -> None:
        os.fsync(self._fd)
        self._synced = time.monotonic()

    def close(self) -> None:
        try:
            self.sync()
        finally:
            os.close(self._fd)

    def __enter__(self) -> Store:
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None,
                 tb: TracebackType | None) -> None:
        self.close()


def read_store(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """(identity, records) for a report."""
    if not path.exists():
        raise LabError(f"{path}: no such store; lab sweep makes one")
    records = [r for _, _, r in read_records(path)]
    if not records or records[0].get("weir_lab") != FORMAT:
        raise LabError(f"{path}: no store of this lab (format {FORMAT} expected)")
    answers_of(path, records[1:])
    return records[0]["identity"], records[1:]
