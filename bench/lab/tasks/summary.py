"""Summarisation: XSum and CNN/DailyMail as JSON lines."""
from __future__ import annotations

from pathlib import Path

from lab.errors import LabError
from lab.files import field, json_lines
from lab.tasks.base import Example, Options, Task, integer, known, need_files, text

# Field names of the releases: the sets' own (document, summary; article, highlights), and prompts made by
# others.
DOCUMENT = ("document", "article", "text")
SUMMARY = ("summary", "highlights", "summary_gt")


def pick(where: str, record: dict, names: tuple[str, ...]) -> str:
    for name in names:
        if name in record:
            return field(where, record, name, str)
    raise LabError(f'{where}: expected one of {", ".join(names)}; there are {", ".join(sorted(record))}')


def load_summaries(name: str, max_tokens: int, files: list[Path], options: Options) -> Task:
    """prefix: before the document ("summarize: " for T5); suffix: after it ("\\nTL;DR:"); words: the document
    is cut after so many words (0: whole)."""
    known(name, options, "prefix", "suffix", "words")
    need_files(name, files, 1, 1, "one JSONL")
    prefix, suffix, words = text(options, "prefix"), text(options, "suffix"), integer(options, "words", 0)
    examples = []
    for where, record in json_lines(files[0]):
        document = pick(where, record, DOCUMENT)
        if words:
            document = " ".join(document.split()[:words])
        examples.append(Example(prefix + document + suffix, (pick(where, record, SUMMARY),)))
    return Task(name, tuple(examples), ("rouge2", "rouge1", "rougeL"),
                integer(options, "max_tokens", max_tokens, 1), tuple(files), stop=("###",),
                options=dict(options))


def load_xsum(files: list[Path], options: Options) -> Task:
    return load_summaries("xsum", 64, files, options)


def load_cnn_dm(files: list[Path], options: Options) -> Task:
    return load_summaries("cnn-dm", 128, files, options)
