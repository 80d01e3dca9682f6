"""The verifier's own answers to the prompts, through `weir generate`, in a store that continues when cut."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Iterable, Mapping

from lab.errors import LabError
from lab.files import sha256
from lab.grid import Plan
from lab.identity import model
from lab.program import Generate, command_of
from lab.store import Store, prompt_sum, read_records
from lab.sweep import SEED_STRIDE, Progress
from lab.tasks import Task

APPEND = 64  # answers written at once


@dataclass(frozen=True)
class Sample:
    """One text. tokens: of the answer, end-of-text last where the verifier wrote it."""

    prompt: list[int]
    tokens: list[int]


def identity(plan: Plan, task: Task) -> dict[str, Any]:
    """What the verifier's words depend on. Seeds and the number of prompts are left out: both may grow."""
    return {"verifier": model(plan.model),
            "data": {path.name: sha256(path) for path in task.files},
            "setting": {"task": plan.task, "options": dict(plan.options), "max_tokens": task.max_tokens,
                        "temp": plan.temperatures[0]}}


def write(plan: Plan, task: Task, path: Path, fresh: bool) -> None:
    """Answers of the verifier to every prompt under every seed of the plan. Strings that end an answer are
    not used: a text ends with end-of-text, so that the last token is the verifier's word like any other."""
    with Store(path, identity(plan, task), fresh) as store:
        have = {(r["s"], r["i"]) for r in store.records}
        jobs = [(s, i) for s in plan.seeds for i in range(len(task.examples)) if (s, i) not in have]
        if not jobs:
            return
        progress = Progress(len(jobs) + len(have), len(have))
        command = command_of(plan.program, plan.model, None, task.max_tokens, plan.flags,
                             threads=plan.threads, parallel=plan.parallel, ctx_size=plan.ctx_size)
        lines = ({"prompt": task.examples[i].prompt, "seed": s * SEED_STRIDE + i,
                  "temperature": plan.temperatures[0], "max_tokens": task.max_tokens} for s, i in jobs)
        batch: list[dict[str, Any]] = []
        try:
            for (s, i), answer in zip(jobs, Generate(command).answers(lines)):
                batch.append({"s": s, "i": i, "p": prompt_sum(task.examples[i].prompt),
                              "n": answer["usage"]["prompt_tokens"], "t": answer["token_ids"],
                              "end": answer["finish_reason"] == "stop"})
                if len(batch) == APPEND:
                    store.append(batch)
                    batch = []
                progress.step()
        finally:
            store.append(batch)


def read(plan: Plan, task: Task, path: Path, end_of_text: int,
         prompt_ids: Callable[[str], list[int]]) -> list[Sample]:
    """All samples, in the order in which they were written; later ones never move earlier ones. prompt_ids:
    the verifier's tokenizer, which must agree with the program about the number of tokens."""
    known: dict[int, list[int]] = {}
    out = []
    for number, _, record in read_records(path):
        if number == 1:
            continue
        i = record["i"]
        if i >= len(task.examples) or record["p"] != prompt_sum(task.examples[i].prompt):
            raise LabError(f"{path}:{number}: prompt {i} is not in {task.files[0]} any more; --fresh starts "
                           "over")
        if i not in known:
            known[i] = prompt_ids(task.examples[i].prompt)
            if len(known[i]) != record["n"]:
                raise LabError(f"{plan.model}: prompt {i} has {record['n']} tokens in weir, {len(known[i])} "
                               "in transformers; both must read prompts alike")
        tokens = [*record["t"], *([end_of_text] if record["end"] else [])]
        if tokens:
            out.append(Sample(known[i], tokens))
    return out


def packed(lengths: Mapping[int, tuple[int, int]], members: Iterable[int],
           batch: int) -> list[list[int]]:
    """Batches of samples of about equal lengths: at most `batch` tokens each, padding counted, and at least
    one sample. lengths: (prompt, answer) of each sample."""
    out: list[list[int]] = []
    longest = 0
    for m in sorted(members, key=lambda m: (sum(lengths[m]), m)):
        longest = max(longest, sum(lengths[m]))
        if not out or longest * (len(out[-1]) + 1) > batch:
            out.append([])
            longest = sum(lengths[m])
        out[-1].append(m)
    return out
