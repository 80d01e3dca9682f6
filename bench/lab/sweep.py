"""Runs the points of a plan over the prompts of a task into a store; existing answers are not run again.

Order: for each seed and prompt the verifier alone, then every point, the first one rotating from prompt to
prompt. A point's latency is compared with the verifier's on the same prompt, a fraction of a second away,
since a shared machine's speed drifts within a minute.
"""
from __future__ import annotations

import contextlib
import sys
import time
from collections import defaultdict
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Iterable, Iterator

from lab import workers
from lab.errors import LabError
from lab.grid import Plan, Point
from lab.identity import identity
from lab.program import Generate, command_of
from lab.store import Store, answers_of, prompt_sum, read_store
from lab.tasks import Task, open_task

SEED_STRIDE = 1_000_003  # one seed per prompt: equal prompts must not share draws, nor may neighbouring runs
FLUSH_SECONDS = 0.2      # records are gathered for so long before they are appended
PROGRESS_SECONDS = (10.0, 1.0)  # between two lines of progress: in a log, on a terminal


@dataclass(frozen=True)
class Job:
    """One answer to be made. process: number of the plan's group of flags it belongs to."""

    process: int
    point: Point
    seed: int
    prompt: int

    @property
    def key(self) -> tuple[int, str, int, int]:
        return (self.process, self.point.key, self.seed, self.prompt)


def processes(points: Iterable[Point]) -> list[tuple[str, ...]]:
    """The groups of flags in order; the plain one, which the verifier alone belongs to, is first."""
    return list(dict.fromkeys([(), *(p.process for p in points)]))


def jobs(plan_points: list[Point], groups: list[tuple[str, ...]], seeds: list[int], n_prompt: int,
         process: int) -> Iterator[Job]:
    """The jobs of one process in the order of the run."""
    own = [p for p in plan_points if p.method != "verifier" and p.process == groups[process]]
    alone = [p for p in plan_points if p.method == "verifier"] if process == 0 else []
    beside = list(dict.fromkeys([*alone, *(p.beside() for p in own)]))
    for seed in seeds:
        for prompt in range(n_prompt):
            for base in beside:
                yield Job(process, base, seed, prompt)
                mine = [p for p in own if p.beside() == base]
                turn = prompt % len(mine) if mine else 0
                for point in mine[turn:] + mine[:turn]:
                    yield Job(process, point, seed, prompt)


def with_verifiers(todo: list[Job]) -> list[Job]:
    """The verifier runs before the answers to its prompt, again if an earlier run has its answer already."""
    out: dict[Job, None] = {}
    for job in todo:
        if job.point.method != "verifier":
            out.setdefault(replace(job, point=job.point.beside()))
        out.setdefault(job)
    return list(out)


def record_of(job: Job, prompt: str, answer: dict[str, Any], run: int) -> dict[str, Any]:
    """What is kept of an answer, in milliseconds. run: number of the lab's run, since speeds differ between
    runs. Rates become sums over examined rows, so that they can be added up."""
    t, metrics = answer["timings"], (answer.get("metrics") or {}).get("speculative_decoding") or {}
    rows = metrics.get("examined_rows") or 0
    record = {
        "g": job.process, "k": job.point.key, "s": job.seed, "i": job.prompt, "r": run,
        "p": prompt_sum(prompt), "text": answer["text"], "finish": answer["finish_reason"],
        "tokens": t["predicted_n"], "prompt_ms": t["prompt_ms"], "decode_ms": t["predicted_ms"],
        "verifier_calls": metrics.get("verifier_calls") or 0,
    }
    if metrics.get("num_spec_steps"):
        record.update(
            steps=metrics["num_spec_steps"], drafted=metrics["num_draft_tokens"],
            accepted=metrics["num_accepted_draft_tokens"], rows=rows,
            deferred=metrics.get("deferred_rows") or 0,
            reject=metrics["rejection_rate"] * rows if rows else 0.0,
            hist=metrics.get("acceptance_histogram") or [])
    return record


class Progress:
    """One line on standard error: done, rate, time left."""

    def __init__(self, total: int, done: int, what: str = "answers") -> None:
        self.total, self.done, self.begun, self.what = total, done, done, what
        self.start = self.shown = time.monotonic()

    def step(self, note: str = "") -> None:
        self.done += 1
        now = time.monotonic()
        if now - self.shown >= PROGRESS_SECONDS[sys.stderr.isatty()] or self.done == self.total:
            self.shown = now
            rate = (self.done - self.begun) / max(now - self.start, 1e-9)
            left = (self.total - self.done) / rate
            end = "\r" if sys.stderr.isatty() and self.done < self.total else "\n"
            print(f"{self.done}/{self.total} {self.what}, {rate:.{0 if rate >= 10 else 2}f}/s, {clock(left)} "
                  f"left{note}  ", end=end, file=sys.stderr, flush=True)


def clock(seconds: float) -> str:
    s = int(seconds + 0.5)
    return f"{s // 3600}:{s % 3600 // 60:02d}:{s % 60:02d}" if s >= 3600 else f"{s // 60}:{s % 60:02d}"


def models_of(plan: Plan) -> dict[str, Path]:
    return {"verifier": plan.model, **({"drafter": plan.draft} if plan.draft else {})}


def with_costs(plan: Plan, out: Path, fresh: bool) -> Plan:
    """The plan with the costs that gamma auto goes by, so that all its processes have the same: those of the
    store that it goes on with, or measured now."""
    if any(f == "--costs" or f.startswith("--costs=") for f in plan.flags):
        return plan
    costs: list[str] = []
    if not fresh and out.is_file():
        with contextlib.suppress(LabError):  # opening it to write says what is wrong with it
            costs = [f for f in read_store(out)[0]["setting"]["flags"] if f.startswith("--costs=")]
    if not costs and any(p.gamma == "auto" for p in plan.points()):
        costs = [f"--costs={measured_costs(plan)}"]
    return replace(plan, flags=[*plan.flags, *costs])


def measured_costs(plan: Plan) -> str:
    """As the program measures them when it opens the pair."""
    command = command_of(plan.program, plan.model, plan.draft, 1, ["--gamma", "auto", *plan.flags],
                         threads=plan.threads, parallel=1, ctx_size=plan.ctx_size)
    answer = next(iter(Generate(command).answers([{"prompt": "1"}])))
    costs = answer["settings"].get("costs")
    if not costs:
        raise LabError(f"{plan.program}: no costs for gamma auto")
    return str(costs)


def plan_identity(plan: Plan, task: Task) -> dict[str, Any]:
    """Everything that an answer or its time depends on, and what a report needs to find the prompts again.
    Points, seeds and the number of prompts are left out, because they may grow from run to run."""
    models = models_of(plan)
    setting = {"task": plan.task, "options": dict(plan.options), "max_tokens": task.max_tokens,
               "threads": plan.threads, "parallel": plan.parallel, "ctx_size": plan.ctx_size,
               "flags": list(plan.flags), "stop": list(task.stop), "paths": [str(p) for p in models.values()],
               "data": [str(p) for p in plan.data]}
    return identity(plan.program, models, task.files, setting)


def known_jobs(store: Store, task: Task) -> set[tuple[int, str, int, int]]:
    """Keys of the answers that a store holds. A prompt that has changed since is refused."""
    for record in store.records:
        if "k" not in record:
            continue
        i = record["i"]
        if i < len(task.examples) and record["p"] != prompt_sum(task.examples[i].prompt):
            raise LabError(f"{store.path}: prompt {i} is not the one that was answered; the task's prompts "
                           "have changed: give another --out, or --fresh to start over")
    return answers_of(store.path, store.records)


def declare(store: Store, points: list[Point], groups: list[tuple[str, ...]]) -> dict[tuple[str, ...], int]:
    """Writes the points and the groups of flags that the store does not know yet; numbers of the groups."""
    numbers = {tuple(r["process"]): r["number"] for r in store.records if "process" in r}
    said = {r["point"] for r in store.records if "point" in r}
    lines: list[dict[str, Any]] = []
    for group in groups:
        if group not in numbers:
            numbers[group] = len(numbers)
            lines.append({"process": list(group), "number": numbers[group]})
    for point in points:
        if point.key not in said:
            lines.append({"point": point.key,
                          "is": {k: v for k, v in asdict(point).items() if v is not None}})
    if lines:
        store.append(lines)
    return numbers


def line_of(task: Task, job: Job) -> dict[str, Any]:
    """The program's input."""
    return {"prompt": task.examples[job.prompt].prompt, "seed": job.seed * SEED_STRIDE + job.prompt,
            "max_tokens": task.max_tokens, **({"stop": list(task.stop)} if task.stop else {}),
            **job.point.line()}


def run_process(plan: Plan, task: Task, store: Store, todo: list[Job], flags: tuple[str, ...],
                have: set[tuple[int, str, int, int]], progress: Progress) -> dict[str, Any]:
    """The jobs of one process; returns the record of how the time was spent."""
    command = command_of(plan.program, plan.model, plan.draft, task.max_tokens, [*flags, *plan.flags],
                         threads=plan.threads, parallel=plan.parallel, ctx_size=plan.ctx_size)
    generate, start, flushed, engine_ms, n = Generate(command), time.monotonic(), time.monotonic(), 0.0, 0
    pending: list[dict[str, Any]] = []
    run = 1 + max((r["r"] for r in store.records if "r" in r), default=0)
    try:
        for answer, job in zip(generate.answers(line_of(task, job) for job in todo), todo):
            if answer["finish_reason"] == "cancelled":
                raise LabError(f"{command[0]}: answer {n} was cancelled; run the same command again to go on")
            record = record_of(job, task.examples[job.prompt].prompt, answer, run)
            engine_ms += record["prompt_ms"] + record["decode_ms"]
            pending.append(record if job.key not in have else {**record, "again": True})
            n += 1
            if time.monotonic() - flushed > FLUSH_SECONDS:
                batch, pending, flushed = pending, [], time.monotonic()
                store.append(batch)
            progress.step()
    finally:
        batch, pending = pending, []
        if batch:
            store.append(batch)
    if n != len(todo):
        raise LabError(f"{' '.join(command)}: {n} answers to {len(todo)} prompts")
    return {"span": time.monotonic() - start, "engine": engine_ms / 1000.0 / plan.parallel,
            "waited": generate.waited, "loading": generate.loading, "answers": n}


def run_away(plan: Plan, task: Task, store: Store, todo: list[Job], flags: tuple[str, ...],
             have: set[tuple[int, str, int, int]], progress: Progress, client: Any,
             wanted: dict[str, Any]) -> dict[str, Any]:
    """run_process on the workers of a client: a batch of prompts is appended when it comes."""
    command = command_of(plan.program, plan.model, plan.draft, task.max_tokens, [*flags, *plan.flags],
                         threads=plan.threads, parallel=plan.parallel, ctx_size=plan.ctx_size)
    run = 1 + max((r["r"] for r in store.records if "r" in r), default=0)
    start, engine_ms, n, waited, loading = time.monotonic(), 0.0, 0, 0.0, 0.0
    work = [(jobs_of, [line_of(task, job) for job in jobs_of]) for jobs_of in workers.batches(todo)]
    for jobs_of, done in workers.answers_of(client, command, work, plan.program, models_of(plan), wanted):
        records = []
        for answer, job in zip(done["answers"], jobs_of, strict=True):
            if answer["finish_reason"] == "cancelled":
                raise LabError(f"{done['machine']}: an answer was cancelled; run the same command again "
                               "to go on")
            record = {**record_of(job, task.examples[job.prompt].prompt, answer, run), "m": done["machine"]}
            engine_ms += record["prompt_ms"] + record["decode_ms"]
            records.append(record if job.key not in have else {**record, "again": True})
            progress.step()
        store.append(records)
        n, waited, loading = n + len(records), waited + done["waited"], loading + done["loading"]
    return {"span": time.monotonic() - start, "engine": engine_ms / 1000.0 / plan.parallel,
            "waited": waited, "loading": loading, "answers": n}


def run_plan(plan: Plan, out: Path, fresh: bool = False, spread: str = "") -> dict[str, float]:
    """The whole sweep; returns {answers, seconds, engine} of this run. spread: workers to run it on
    (workers.py); "": one process of the program after another, here."""
    with workers.client_of(spread) if spread else contextlib.nullcontext() as client:
        return run_on(plan, out, fresh, client)


def run_on(plan: Plan, out: Path, fresh: bool, client: Any) -> dict[str, float]:
    task = open_task(plan.task, plan.data, plan.limit, plan.options)
    plan = with_costs(plan, out, fresh)
    points = plan.points()
    groups = processes(points)
    total = {"answers": 0.0, "seconds": 0.0, "engine": 0.0}
    wanted_identity = plan_identity(plan, task)
    with Store(out, wanted_identity, fresh) as store:
        have = known_jobs(store, task)
        numbers = declare(store, points, groups)
        todo: dict[int, list[Job]] = defaultdict(list)
        wanted = 0
        for at, group in enumerate(groups):
            for job in jobs(points, groups, plan.seeds, len(task.examples), at):
                own = Job(numbers[group], job.point, job.seed, job.prompt)
                wanted += 1
                if own.key not in have:
                    todo[numbers[group]].append(own)
            todo[numbers[group]] = with_verifiers(todo[numbers[group]])
        left = sum(map(len, todo.values()))
        progress = Progress(max(wanted, left), max(wanted, left) - left)
        for group in groups:
            if todo[numbers[group]]:
                own = todo[numbers[group]]
                span = (run_away(plan, task, store, own, group, have, progress, client, wanted_identity)
                        if client else run_process(plan, task, store, own, group, have, progress))
                store.append([span])
                for key, name in (("answers", "answers"), ("seconds", "span"), ("engine", "engine")):
                    total[key] += span[name]
    return total
