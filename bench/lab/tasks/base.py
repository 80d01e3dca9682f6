"""What a task is: prompts, what counts as right, and where an answer ends."""
from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Callable, Mapping

from lab.errors import LabError


@dataclass(frozen=True)
class Example:
    """One prompt. references: every text that counts as right; code tasks have a test program instead."""

    prompt: str
    references: tuple[str, ...] = ()
    category: str = ""
    test: Callable[[str], str] | None = None  # answer to the program that decides it


def whole(answer: str) -> str:
    return answer.strip()


@dataclass(frozen=True)
class Task:
    """metrics: names of lab.metrics, the first one is what curves are drawn of; none: speed only.

    stop: strings that end an answer, given to the program. clean: from the answer's text to what is scored.
    files: what the examples were read from, for the identity of a store.
    """

    name: str
    examples: tuple[Example, ...]
    metrics: tuple[str, ...]
    max_tokens: int
    files: tuple[Path, ...]
    stop: tuple[str, ...] = ()
    clean: Callable[[str], str] = whole
    options: Mapping[str, object] = field(default_factory=dict)

    def first(self, limit: int) -> Task:
        """The task on its first `limit` prompts; 0 is all of them."""
        return replace(self, examples=self.examples[:limit]) if limit else self


Options = Mapping[str, object]


def integer(options: Options, key: str, default: int, low: int = 0, high: int = 1_000_000) -> int:
    """A whole number among the options of a task."""
    value = options.get(key, default)
    try:
        number = int(str(value))
    except ValueError as e:
        raise LabError(f"task option {key}: {value!r} is no whole number") from e
    if not low <= number <= high:
        raise LabError(f"task option {key}: {number} is out of range, expected {low} to {high}")
    return number


def text(options: Options, key: str, default: str = "") -> str:
    return str(options.get(key, default))


def known(task: str, options: Options, *keys: str) -> None:
    """Refuses options that the task does not read."""
    for key in options:
        if key not in keys and key != "max_tokens":
            raise LabError(f"task {task}: unknown option {key}; it has {', '.join(('max_tokens', *keys))}")


def need_files(task: str, files: list[Path], low: int, high: int, what: str) -> None:
    if not low <= len(files) <= high:
        raise LabError(f"task {task}: {len(files)} data files given, expected {what}")
