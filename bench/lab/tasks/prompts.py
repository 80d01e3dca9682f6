"""The user's own prompts. Without a store of the verifier's answers only speed is measured. With one, answers
are compared with those: a setting's loss is how much less it scores than the verifier itself does, under
another seed, against the same answers."""
from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from lab.errors import LabError
from lab.files import field, json_lines, read_lines
from lab.store import prompt_sum, read_store
from lab.tasks.base import Example, Options, Task, integer, known, need_files, text


def read(path: Path) -> list[str]:
    """JSON lines with a "prompt", as `weir generate --input` takes them, or else one prompt per line."""
    if path.suffix == ".jsonl":
        return [field(where, record, "prompt", str) for where, record in json_lines(path)]
    lines = read_lines(path)
    for number, line in enumerate(lines, 1):
        if not line.strip():
            raise LabError(f"{path}:{number}: empty line, expected a prompt")
    return lines


def answers_in(path: Path) -> dict[tuple[int, int], list[str]]:
    """The verifier's answers of a store, by number and checksum of the prompt."""
    out: dict[tuple[int, int], list[str]] = defaultdict(list)
    for record in read_store(path)[1]:
        if str(record.get("k", "")).startswith("verifier") and not record.get("again"):
            out[record["i"], record["p"]].append(record["text"].strip())
    return out


def load(files: list[Path], options: Options) -> Task:
    """Files: the prompts, and a store of the lab whose answers by the verifier alone are the references. Then
    only the prompts that it answers are used."""
    known("prompts", options, "prefix", "suffix")
    need_files("prompts", files, 1, 2,
               "a file of prompts and, for a quality, a store of the verifier's answers to them")
    prefix, suffix = text(options, "prefix"), text(options, "suffix")
    prompts = [prefix + p + suffix for p in read(files[0])]
    examples = [Example(p) for p in prompts]
    if len(files) == 2:
        answers = answers_in(files[1])
        given = [answers.get((i, prompt_sum(p)), []) for i, p in enumerate(prompts)]
        covered = next((i for i, texts in enumerate(given) if not texts), len(given))
        if not covered:
            raise LabError(f"{files[1]}: no answer of the verifier to the first prompt of {files[0]}")
        examples = [Example(p, tuple(texts)) for p, texts in zip(prompts[:covered], given)]
    return Task("prompts", tuple(examples), ("chrf", "exact") if len(files) == 2 else (),
                integer(options, "max_tokens", 128, 1), tuple(files), options=dict(options))
