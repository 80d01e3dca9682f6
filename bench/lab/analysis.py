"""From the answers of a store to figures with intervals.

All figures of a point are functions of sums over prompts, and the bootstrap draws prompts, so each replicate
is a row of counts times a matrix. One set of draws serves every point: differences and ratios between points
keep their pairing.
"""
from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Iterable

import numpy as np

from lab.errors import LabError
from lab.grid import Point, point_of
from lab.metrics import Metric, open_metrics
from lab.store import prompt_sum, read_store
from lab.tasks import Task, open_task

REPLICATES = 1000
LEVEL = 0.95  # of every interval

# Sums of a point over the answers to one prompt. beside_*: the verifier alone on the same prompt and seed.
SUMS = ("answers", "tokens", "ms", "decode_ms", "beside_ms", "beside_tokens", "beside_decode_ms", "steps",
        "drafted", "accepted", "rows", "deferred", "reject", "calls", "at_limit")
COLUMN = {name: i for i, name in enumerate(SUMS)}


def ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a / b by element, NaN where b is 0."""
    return np.divide(a, b, out=np.full(np.shape(b), math.nan), where=np.asarray(b) != 0)


# name: function of the sums, by element. Latencies are relative to the verifier's run on the same prompts:
# below 1 is faster.
FIGURES = {
    "latency": lambda s: ratio(s["ms"], s["beside_ms"]),
    "latency_token": lambda s: ratio(ratio(s["ms"], s["tokens"]), ratio(s["beside_ms"], s["beside_tokens"])),
    "latency_decode": lambda s: ratio(s["decode_ms"], s["beside_decode_ms"]),
    "ms_answer": lambda s: ratio(s["ms"], s["answers"]),
    "ms_token": lambda s: ratio(s["ms"], s["tokens"]),
    "rejection": lambda s: ratio(s["reject"], s["rows"]),
    "deferral": lambda s: ratio(s["deferred"], s["rows"]),
    "acceptance": lambda s: 1.0 + ratio(s["accepted"], s["steps"]),
    "calls_token": lambda s: ratio(s["calls"], s["tokens"]),
    "length": lambda s: ratio(s["tokens"], s["answers"]),
    "at_limit": lambda s: ratio(s["at_limit"], s["answers"]),
}


@dataclass
class Measured:
    """A point: sums and metric statistics by prompt, then its figures and their bootstrap replicates."""

    point: Point
    sums: np.ndarray                                               # (prompts, len(SUMS))
    quality: dict[str, np.ndarray]                                 # metric: (prompts, k)
    hist: np.ndarray                                               # (17) blocks by accepted drafts
    apart: int = 0  # answers whose verifier was timed in another run
    figures: dict[str, float] = field(default_factory=dict)
    replicates: dict[str, np.ndarray] = field(default_factory=dict)  # figure: (REPLICATES)

    @property
    def answered(self) -> np.ndarray:
        """(prompts) bool: the prompts that it has answered."""
        return self.sums[:, COLUMN["answers"]] > 0

    @property
    def prompts(self) -> int:
        return int(self.answered.sum())

    def interval(self, name: str) -> tuple[float, float]:
        return interval(self.replicates[name])


@dataclass
class Analysis:
    identity: dict[str, Any]
    task: Task
    metrics: list[Metric]
    points: list[Measured]      # in the order of the plan
    categories: list[str]       # of the prompts; empty where the task has none
    engine: tuple[float, float]  # seconds in the engine, seconds of the sweep (runs that ended by themselves)
    n_prompt: int

    @property
    def metric(self) -> str | None:
        return self.metrics[0].name if self.metrics else None

    def verifier(self, temp: float) -> Measured | None:
        return next((m for m in self.points if m.point.method == "verifier" and m.point.temp == temp), None)

    def matched(self, curve: list[Measured]) -> tuple[list[Measured], Measured | None]:
        """The points of a curve and their verifier, over the prompts that all of them have answered."""
        verifier = next((m for m in self.points if m.point == curve[0].point.beside()), None)
        if verifier is None:
            return curve, None
        kept = np.logical_and.reduce([m.answered for m in (*curve, verifier)])
        return [self.over(m, kept) for m in curve], self.over(verifier, kept)

    def over(self, m: Measured, kept: np.ndarray) -> Measured:
        """m over the prompts of a mask, with the replicates drawn anew from the same draws."""
        if (m.answered == kept).all():
            return m
        own = Measured(m.point, m.sums * kept[:, None], {k: v * kept[:, None] for k, v in m.quality.items()},
                       m.hist)
        bootstrap(own, self.metrics, resamples(self.n_prompt, len(m.replicates["latency"])))
        return own


def interval(replicates: np.ndarray) -> tuple[float, float]:
    """The percentile interval; replicates in which the figure does not exist are left out."""
    values = replicates[np.isfinite(replicates)]
    if not values.size:
        return (math.nan, math.nan)
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return (float(low), float(high))


def figures_of(rows: np.ndarray) -> dict[str, np.ndarray]:
    """rows: (..., len(SUMS)); each figure: (...)."""
    sums = dict(zip(SUMS, np.moveaxis(rows, -1, 0)))
    return {name: figure(sums) for name, figure in FIGURES.items()}


def resamples(n_prompt: int, replicates: int, seed: int = 1) -> np.ndarray:
    """(replicates, prompts): how often each prompt is drawn."""
    return np.random.default_rng(seed).multinomial(n_prompt, [1.0 / n_prompt] * n_prompt,
                                                   size=replicates).astype(float)


def bootstrap(measured: Measured, metrics: Iterable[Metric], counts: np.ndarray) -> None:
    """Fills figures and replicates. counts: (replicates, prompts)."""
    measured.figures = {k: float(v) for k, v in figures_of(measured.sums.sum(axis=0)).items()}
    measured.replicates = figures_of(counts @ measured.sums)
    for metric in metrics:
        statistics = measured.quality[metric.name]
        measured.figures[metric.name] = metric.score(statistics.sum(axis=0))
        measured.replicates[metric.name] = np.array([metric.score(row) for row in counts @ statistics])


def row_of(record: dict[str, Any], beside: dict[str, Any]) -> np.ndarray:
    row = np.zeros(len(SUMS))
    said = {"answers": 1, "tokens": record["tokens"], "ms": record["prompt_ms"] + record["decode_ms"],
            "decode_ms": record["decode_ms"], "beside_ms": beside["prompt_ms"] + beside["decode_ms"],
            "beside_tokens": beside["tokens"], "beside_decode_ms": beside["decode_ms"],
            "calls": record["verifier_calls"], "at_limit": record["finish"] == "length",
            **{k: record.get(k, 0) for k in ("steps", "drafted", "accepted", "rows", "deferred", "reject")}}
    for name, value in said.items():
        row[COLUMN[name]] = value
    return row


def gather(point: Point, records: list[dict[str, Any]], beside: dict[tuple[Any, ...], dict[str, Any]],
           task: Task, metrics: list[Metric], n_prompt: int) -> Measured:
    """Sums of one point over its records for which the verifier has an answer too."""
    base = point.key if point.method == "verifier" else point.beside().key
    sums, hist, used = np.zeros((n_prompt, len(SUMS))), np.zeros(17), []
    apart = 0
    for record in records:
        key = (record["g"], base, record["s"], record["i"])
        other = beside.get((*key, record.get("r"))) or beside.get((*key, None))
        if other is None or record["i"] >= n_prompt:
            continue
        sums[record["i"]] += row_of(record, other)
        apart += record.get("r") != other.get("r")
        for n, blocks in enumerate(record.get("hist", ())):
            hist[n] += blocks
        used.append(record)
    quality = {}
    for metric in metrics:
        rows = metric.statistics([task.examples[r["i"]] for r in used], [task.clean(r["text"]) for r in used])
        width = rows.shape[1] if len(used) else 1
        quality[metric.name] = np.zeros((n_prompt, width))
        for record, row in zip(used, rows):
            quality[metric.name][record["i"]] += row
    return Measured(point, sums, quality, hist, apart)


def task_of(identity: dict[str, Any], path: Path) -> Task:
    setting = identity["setting"]
    return open_task(setting["task"], [Path(p) for p in setting["data"]], 0, setting["options"])


def check_prompts(path: Path, records: list[dict[str, Any]], task: Task) -> None:
    for record in records:
        if "k" in record and (record["i"] >= len(task.examples) or
                              record["p"] != prompt_sum(task.examples[record["i"]].prompt)):
            raise LabError(f"{path}: prompt {record['i']} is not the one that was answered; the task's data "
                           "have changed")


def analyse(path: Path, replicates: int = REPLICATES, category: str = "", limit: int = 0,
            n_metric: int | None = None) -> Analysis:
    """Everything of a store; category: only prompts of it; limit: only the first ones, 0 is all; n_metric:
    only the task's first metrics, which take most of the time."""
    identity, records = read_store(path)
    task = task_of(identity, path)
    check_prompts(path, records, task)
    points = {r["point"]: point_of(r["is"]) for r in records if "point" in r}
    by_point: dict[str, list[dict[str, Any]]] = defaultdict(list)
    beside: dict[tuple[Any, ...], dict[str, Any]] = {}
    if limit:
        records = [r for r in records if "k" not in r or r["i"] < limit]
    n_prompt = 1 + max((r["i"] for r in records if "k" in r), default=-1)
    categories = sorted({e.category for e in task.examples[:n_prompt] if e.category})
    for record in records:
        if "k" not in record or (category and task.examples[record["i"]].category != category):
            continue
        point = points.get(record["k"]) or Point(method="verifier")
        if point.method == "verifier":
            key = (record["g"], record["k"], record["s"], record["i"])
            beside[(*key, record.get("r"))] = record
            beside.setdefault((*key, None), record)
            if record.get("again"):
                continue  # its time counts for other points, its answer once
        if not (point.method == "verifier" and record["g"]):
            by_point[record["k"]].append(record)
    if not by_point:
        raise LabError(f"{path}: no answer in it yet")
    metrics = open_metrics(task.metrics[:n_metric])
    counts = resamples(n_prompt, replicates)
    measured = [gather(point, by_point[key], beside, task, metrics, n_prompt)
                for key, point in points.items() if by_point.get(key)]
    measured = [m for m in measured if m.prompts]
    for m in measured:
        bootstrap(m, metrics, counts)
    spans = [r for r in records if "span" in r]
    return Analysis(identity, task, metrics, measured, categories,
                    (sum(r["engine"] for r in spans), sum(r["span"] for r in spans)), n_prompt)
