"""Reading data files: every complaint is one line that names the file and the line in it."""
from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Iterator

from lab.errors import LabError


def read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as e:
        raise LabError(f"{path}: {e.strerror or e}") from e


def read_text(path: Path) -> str:
    """The whole file, which must be UTF-8; the line of the first byte that is not is named."""
    data = read_bytes(path)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        line = data.count(b"\n", 0, e.start) + 1
        raise LabError(f"{path}:{line}: not UTF-8 (byte {data[e.start]:#04x})") from e


def read_lines(path: Path) -> list[str]:
    """Lines without their ends. A line break is \\n or \\r\\n only: texts hold other Unicode breaks."""
    lines = read_text(path).split("\n")
    if lines[-1] == "":
        lines.pop()
    return [line[:-1] if line.endswith("\r") else line for line in lines]


def json_value(path: Path) -> Any:
    """A file that is one JSON value."""
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as e:
        raise LabError(f"{path}:{e.lineno}: {e.msg} (column {e.colno})") from e
    except RecursionError as e:
        raise LabError(f"{path}: JSON nested too deeply") from e


def json_lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """("FILE:LINE", object) for each line; empty lines are skipped."""
    for number, line in enumerate(read_lines(path), 1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        try:
            value = json.loads(line)
        except json.JSONDecodeError as e:
            raise LabError(f"{where}: {e.msg} (column {e.colno})") from e
        except RecursionError as e:
            raise LabError(f"{where}: JSON nested too deeply") from e
        if not isinstance(value, dict):
            raise LabError(f"{where}: expected a JSON object, got {type(value).__name__}")
        yield where, value


def field(where: str, record: Any, key: str, kind: type) -> Any:
    """record[key], which must be of the kind; texts must not be blank, lists not empty."""
    if not isinstance(record, dict):
        raise LabError(f"{where}: expected a JSON object, got {type(record).__name__}")
    if key not in record:
        raise LabError(f'{where}: "{key}" is missing; there are {", ".join(sorted(record)) or "no fields"}')
    value = record[key]
    if not isinstance(value, kind) or isinstance(value, bool) and kind is not bool:
        raise LabError(f'{where}: "{key}" is {type(value).__name__}, expected {kind.__name__}')
    if kind is str and not value.strip():
        raise LabError(f'{where}: "{key}" is empty')
    if kind is list and not value:
        raise LabError(f'{where}: "{key}" is an empty list')
    return value


def texts(where: str, record: Any, key: str) -> tuple[str, ...]:
    """record[key], a list of texts that is not empty."""
    values = field(where, record, key, list)
    for value in values:
        if not isinstance(value, str):
            raise LabError(f'{where}: "{key}" holds {type(value).__name__}, expected texts')
    return tuple(values)


def sha256(path: Path) -> str:
    """The hash of a file of any size, read block by block."""
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as f:
            while block := f.read(1 << 20):
                digest.update(block)
    except OSError as e:
        raise LabError(f"{path}: {e.strerror or e}") from e
    return digest.hexdigest()
