"""Spec-Bench: speed per category; its answers are not scored."""
from __future__ import annotations

from pathlib import Path

from lab.files import field, json_lines, texts
from lab.tasks.base import Example, Options, Task, integer, known, need_files


def load(files: list[Path], options: Options) -> Task:
    """question.jsonl. Only the first turn of a dialogue is asked: a second would need the answer to it."""
    known("spec-bench", options, "prefix", "suffix")
    need_files("spec-bench", files, 1, 1, "question.jsonl")
    prefix, suffix = str(options.get("prefix", "")), str(options.get("suffix", ""))
    examples = tuple(
        Example(prefix + texts(where, r, "turns")[0] + suffix, category=field(where, r, "category", str))
        for where, r in json_lines(files[0]))
    return Task("spec-bench", examples, (), integer(options, "max_tokens", 256, 1), tuple(files),
                options=dict(options))
