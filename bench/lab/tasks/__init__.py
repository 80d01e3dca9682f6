"""Tasks: loaders for the public releases' formats. One module per family, one entry in LOADERS per task."""
from __future__ import annotations

from pathlib import Path
from typing import Callable

from lab.errors import LabError
from lab.tasks import code, math, prompts, qa, spec_bench, summary, translation
from lab.tasks.base import Example, Options, Task

__all__ = ["LOADERS", "Example", "Task", "open_task"]

HERE = Path(__file__).resolve().parent.parent
BENCH_DATA = HERE.parent / "data"

# name: (loader, the sample in this tree or none)
LOADERS: dict[str, tuple[Callable[[list[Path], Options], Task], tuple[Path, ...]]] = {
    "translation": (translation.load, (BENCH_DATA / "tatoeba_1000.jsonl",)),
    "xsum": (summary.load_xsum, ()),
    "cnn-dm": (summary.load_cnn_dm, ()),
    "gsm8k": (math.load, (HERE / "data/gsm8k_test_60.jsonl", HERE / "data/gsm8k_train_8.jsonl")),
    "mbpp": (code.load_mbpp, (HERE / "data/mbpp_63.jsonl",)),
    "humaneval": (code.load_humaneval, (HERE / "data/humaneval_20.jsonl",)),
    "squad": (qa.load_squad, (HERE / "data/xquad_en_12.json",)),
    "webquestions": (qa.load_webquestions, (HERE / "data/webquestions_60.json",)),
    "nq-open": (qa.load_nq_open, (HERE / "data/nq_open_60.jsonl",)),
    "triviaqa": (qa.load_triviaqa, ()),
    "spec-bench": (spec_bench.load, ()),
    "prompts": (prompts.load, ()),
}


def open_task(name: str, files: list[Path], limit: int, options: Options) -> Task:
    """A task by its name. files: none takes the included sample; limit: the first prompts only, 0 is all."""
    if name not in LOADERS:
        raise LabError(f"unknown task {name}; there are {', '.join(LOADERS)}")
    load, sample = LOADERS[name]
    if not files:
        if not sample:
            raise LabError(f"task {name}: no sample of it is shipped; give its file with --data")
        files = list(sample)
    task = load(files, options)
    if not task.examples:
        raise LabError(f"{files[0]}: no example in it")
    if limit > len(task.examples):
        raise LabError(f"task {name}: {limit} prompts wanted, {files[0]} has {len(task.examples)}")
    return task.first(limit)
