"""Translation: two files of lines (WMT newstest, Tatoeba), a TSV, or JSON lines of prompt and reference."""
from __future__ import annotations

from pathlib import Path
from typing import Iterator

from lab.errors import LabError
from lab.files import field, json_lines, read_lines
from lab.tasks.base import Example, Options, Task, integer, known, need_files, text

Pair = tuple[str, str]


def pairs_of_files(source: Path, target: Path) -> Iterator[Pair]:
    sources, targets = read_lines(source), read_lines(target)
    if len(sources) != len(targets):
        raise LabError(f"{target}: {len(targets)} lines, but {source} has {len(sources)}")
    for number, (s, t) in enumerate(zip(sources, targets), 1):
        for path, line in ((source, s), (target, t)):
            if not line.strip():
                raise LabError(f"{path}:{number}: empty line, expected a sentence")
        yield s.strip(), t.strip()


def pairs_of_tsv(path: Path, source: int, target: int) -> Iterator[Pair]:
    """Columns are counted from 0."""
    for number, line in enumerate(read_lines(path), 1):
        columns = line.split("\t")
        if len(columns) <= max(source, target):
            raise LabError(f"{path}:{number}: {len(columns)} columns, expected at least "
                           f"{max(source, target) + 1}")
        if not columns[source].strip() or not columns[target].strip():
            raise LabError(f"{path}:{number}: empty sentence")
        yield columns[source].strip(), columns[target].strip()


def pairs_of_json(path: Path) -> Iterator[Pair]:
    for where, record in json_lines(path):
        yield field(where, record, "prompt", str), field(where, record, "reference", str)


def few_shot(pairs: list[Pair], source: str, names: tuple[str, str]) -> str:
    """Plain lines of "English: …" and "German: …", the last one open."""
    lines = [f"{names[0]}: {s}\n{names[1]}: {t}\n" for s, t in pairs]
    return "\n".join([*lines, f"{names[0]}: {source}\n{names[1]}:"])


def load(files: list[Path], options: Options) -> Task:
    """shots: the first pairs become examples in the prompt and are not tested (0: the sentence itself is the
    prompt, after `prefix`, as encoder-decoder models are trained)."""
    known("translation", options, "shots", "prefix", "source_name", "target_name", "source_column",
          "target_column")
    need_files("translation", files, 1, 2, "a JSONL or TSV, or two files of lines")
    if len(files) == 2:
        pairs = list(pairs_of_files(*files))
    elif files[0].suffix == ".jsonl":
        pairs = list(pairs_of_json(files[0]))
    else:
        pairs = list(pairs_of_tsv(files[0], integer(options, "source_column", 0),
                                  integer(options, "target_column", 1)))
    shots = integer(options, "shots", 0, 0, 32)
    names = (text(options, "source_name", "English"), text(options, "target_name", "German"))
    prefix = text(options, "prefix")
    examples = tuple(
        Example(few_shot(pairs[:shots], s, names) if shots else prefix + s, (t,)) for s, t in pairs[shots:])
    return Task("translation", examples, ("bleu", "chrf"), integer(options, "max_tokens", 80, 1),
                tuple(files), stop=("\n",) if shots else (), options=dict(options))
