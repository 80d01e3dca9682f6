"""GSM8K: few-shot chain of thought, the exact number counts."""
from __future__ import annotations

import re
from pathlib import Path

from lab.errors import LabError
from lab.files import field, json_lines
from lab.tasks.base import Example, Options, Task, integer, known, need_files

CALCULATION = re.compile(r"<<[^<>]*>>")  # the release's notes for a calculator
NUMBER = re.compile(r"[-+]?\$?\d[\d,]*(?:\.\d+)?")


def number_of(text: str) -> str:
    """The number after "####", else the last one, as a plain decimal; "" if there is none."""
    found = NUMBER.findall(text.split("####", 1)[1] if "####" in text else text)
    if not found:
        return ""
    word = (found[0] if "####" in text else found[-1]).replace("$", "").replace(",", "").lstrip("+")
    if "." in word:
        word = word.rstrip("0").rstrip(".")
    return word or "0"


def read(path: Path) -> list[tuple[str, str]]:
    out = []
    for where, record in json_lines(path):
        question, answer = field(where, record, "question", str), field(where, record, "answer", str)
        if "####" not in answer or not number_of(answer):
            raise LabError(f'{where}: "answer" has no "#### NUMBER" at its end')
        out.append((question.strip(), CALCULATION.sub("", answer).strip()))
    return out


def load(files: list[Path], options: Options) -> Task:
    """Files: the test set, and the training set that the shots are the first ones of."""
    known("gsm8k", options, "shots")
    need_files("gsm8k", files, 1, 2, "the test JSONL and, for shots, the training JSONL")
    shots = integer(options, "shots", 8 if len(files) == 2 else 0, 0, 32)
    if shots and len(files) < 2:
        raise LabError("task gsm8k: shots come from the training file; give it as the second --data")
    train = read(files[1])[:shots] if shots else []
    if len(train) < shots:
        raise LabError(f"{files[1]}: {len(train)} examples, but {shots} shots are wanted")
    head = "".join(f"Question: {q}\nAnswer: {a}\n\n" for q, a in train)
    examples = tuple(Example(f"{head}Question: {q}\nAnswer:", (number_of(a),)) for q, a in read(files[0]))
    return Task("gsm8k", examples, ("exact",), integer(options, "max_tokens", 320, 1), tuple(files),
                stop=("\n\n", "Question:"), clean=number_of, options=dict(options))
