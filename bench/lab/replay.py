"""Record once, replay every rule: drives `weir record` and `weir replay`, compares with real runs."""
from __future__ import annotations

import csv
import json
import math
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterable

import numpy as np

from lab.analysis import Measured, analyse
from lab.errors import LabError
from lab.grid import Plan, Point
from lab.program import environment
from lab.sweep import SEED_STRIDE
from lab.tasks import Task, open_task

FIGURES = {"rejection": "rejection_rate", "deferral": "deferral_rate", "acceptance": "mean_acceptance_length",
           "calls_token": "verifier_calls_per_token", "length": "tokens_per_answer"}
# the reweighted estimate is used from so many effective texts on; below, its error cannot be trusted
TRUSTED_TEXTS = 30.0


@dataclass(frozen=True)
class Estimate:
    """One point. values[kind][figure] = (value, standard error); NaN where it does not exist."""

    point: Point
    values: dict[str, dict[str, tuple[float, float]]]
    texts: float      # effective ones of the reweighted figures; NaN without
    tail_mass: float  # bound of what merging the tail changed in a row's rejection

    @property
    def kind(self) -> str:
        """Which of the two to believe."""
        return "reweighted" if self.texts >= TRUSTED_TEXTS else "recorded"

    def best(self, figure: str) -> tuple[float, float]:
        return self.values[self.kind][figure]


def write_whole(command: list[str], lines: Iterable[dict[str, Any]], out: Path | None) -> bytes:
    """Runs the program over lines; its output into a file, whole or not at all, or returned."""
    text = "".join(json.dumps(x) + "\n" for x in lines).encode()
    part = out.with_name(out.name + ".part") if out else None
    try:
        if out and part:
            out.parent.mkdir(parents=True, exist_ok=True)
            with open(part, "wb") as f:
                done = subprocess.run(command, input=text, stdout=f, stderr=subprocess.PIPE, check=False,
                                      env=environment())
        else:
            done = subprocess.run(command, input=text, capture_output=True, check=False, env=environment())
        if done.returncode != 0:
            words = done.stderr.decode("utf-8", "replace").strip().splitlines()
            raise LabError(f"{' '.join(command)}: ended with {done.returncode}: "
                           f"{words[-1] if words else 'it said nothing'}")
        if out and part:
            os.replace(part, out)
        return b"" if out else done.stdout
    except OSError as e:
        raise LabError(f"{out or command[0]}: {e.strerror or e}") from e
    finally:
        if part and part.exists():
            part.unlink()


def record(plan: Plan, out: Path, tail: float, rule: Point) -> int:
    """Recordings of the task's prompts under one law, at one temperature; returns how many texts."""
    if len(plan.temperatures) != 1:
        raise LabError("a recording holds one temperature; give one")
    if plan.draft is None:
        raise LabError("a recording needs a drafter")
    return record_task(plan, open_task(plan.task, plan.data, plan.limit, plan.options), out, tail, rule)


def record_task(plan: Plan, task: Task, out: Path, tail: float, rule: Point) -> int:
    """The same of a task that is open."""
    command = [str(plan.program), "record", "-m", str(plan.model), "-md", str(plan.draft), "--input", "-",
               "-q", "-n", str(task.max_tokens), f"--tail={tail:g}",
               *(["-t", str(plan.threads)] if plan.threads else []),
               *(["-c", str(plan.ctx_size)] if plan.ctx_size else []), *rule.process, *plan.flags]
    write_whole(command, record_lines(task, plan.seeds, rule), out)
    return len(task.examples) * len(plan.seeds)


def record_lines(task: Task, seeds: list[int], rule: Point) -> Iterable[dict[str, Any]]:
    for seed in seeds:
        for i, example in enumerate(task.examples):
            yield {"prompt": example.prompt, "seed": seed * SEED_STRIDE + i, "max_tokens": task.max_tokens,
                   **({"stop": list(task.stop)} if task.stop else {}), **rule.line()}


def setting_line(point: Point) -> dict[str, Any]:
    """A point as `weir replay` reads it: temperature and truncation are the recording's."""
    line = {k: v for k, v in point.line().items() if k not in ("temperature", "top_k", "top_p", "min_p")}
    for key in ("gate", "bonus"):
        if getattr(point, key) is not None:
            line[key] = getattr(point, key)
    return line


SHARED = {"temp": ("temperature", 1.0), "top_k": ("top_k", 0), "top_p": ("top_p", 1.0),
          "min_p": ("min_p", 0.0)}


def law_of(recording: Path) -> dict[str, float]:
    """Temperature and truncation from a recording's first line; estimates use them, whatever a point has."""
    try:
        with open(recording, "rb") as f:
            said = json.loads(f.readline() or b"null")
    except OSError as e:
        raise LabError(f"{recording}: {e.strerror or e}") from e
    except ValueError as e:
        raise LabError(f"{recording}:1: broken line ({e})") from e
    law = said.get("law") if isinstance(said, dict) else None
    if not isinstance(law, dict):
        raise LabError(f"{recording}:1: no recording: a law is missing")
    try:
        return {ours: float(law.get(theirs, default)) for ours, (theirs, default) in SHARED.items()}
    except (TypeError, ValueError) as e:
        raise LabError(f"{recording}:1: no recording: its law has a broken number ({e})") from e


def texts_in(recording: Path) -> int:
    """A line is a text."""
    with open(recording, "rb") as f:
        return sum(1 for _ in f)


def departure(point: Point, law: dict[str, float]) -> str:
    """How a point's temperature or truncation differs from the recording's, in words; "" if it does not. The
    program keeps fp32."""
    for name, (_, default) in SHARED.items():
        own = getattr(point, name)
        own = float(default if own is None else own)
        if not math.isclose(own, law[name], rel_tol=1e-6, abs_tol=1e-9):
            return f"{name} is {own:g}, the recording's {law[name]:g}"
    return ""


def pair_of(said: dict[str, Any], name: str) -> tuple[float, float]:
    value, error = said.get(name), said.get(f"{name}_error")
    return (math.nan if value is None else float(value), math.nan if error is None else float(error))


def replay(program: Path, recording: Path, points: list[Point]) -> list[Estimate]:
    """All points from one recording, in order: speculative decoding without block verification only."""
    for point in points:
        if point.gamma == "auto":
            raise LabError(f"{point.key}: blocks of gamma auto cannot be replayed; give numbers")
        if point.method != "speculative" or point.block_verify:
            raise LabError(f"{point.key}: only speculative decoding without block verification can be "
                           "replayed")
    if not points:
        return []
    law = law_of(recording)
    for point in points:
        apart = departure(point, law)
        if apart:
            raise LabError(f"{point.key}: {apart}; make a recording at it")
    text = write_whole([str(program), "replay", "--recording", str(recording), "--input", "-", "-q"],
                       map(setting_line, points), None)
    out = []
    for point, line in zip(points, text.splitlines()):
        said = json.loads(line)
        values = {kind: {ours: pair_of(said[kind], theirs) for ours, theirs in FIGURES.items()}
                  for kind in ("recorded", "reweighted")}
        texts = said["reweighted"]["effective_texts"]
        out.append(Estimate(point, values, math.nan if texts is None else float(texts),
                            float(said["tail_mass"])))
    if len(out) != len(points):
        raise LabError(f"{program}: {len(out)} estimates for {len(points)} settings")
    return out


def write_estimates(estimates: list[Estimate], path: Path) -> None:
    with open(path, "w", newline="", encoding="utf-8") as f:
        writer = csv.writer(f)
        head = [f"{kind}_{figure}{end}" for kind in ("recorded", "reweighted") for figure in FIGURES
                for end in ("", "_error")]
        writer.writerow(["rule", "alpha", "beta", "gamma", "temp", "believe", "effective_texts", "tail_mass",
                         *head])
        for e in estimates:
            p = e.point
            figures = [x for kind in ("recorded", "reweighted") for figure in FIGURES
                       for x in e.values[kind][figure]]
            writer.writerow([p.rule, *("" if x is None else x for x in (p.alpha, p.beta, p.gamma)), p.temp,
                             e.kind, f"{e.texts:.6g}", f"{e.tail_mass:.3g}", *(f"{x:.6g}" for x in figures)])


# ---- against real runs -------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Difference:
    """A figure of a point: the run's, the estimate's, their difference in units of both standard errors."""

    point: Point
    figure: str
    run: float
    run_error: float
    estimate: float
    estimate_error: float
    kind: str

    @property
    def error(self) -> float:
        return math.hypot(self.run_error, self.estimate_error)

    @property
    def z(self) -> float:
        return (self.estimate - self.run) / self.error if self.error > 0 else math.nan


def spread(measured: Measured, figure: str) -> float:
    values = measured.replicates[figure]
    values = values[np.isfinite(values)]
    return float(np.std(values)) if values.size else math.nan


def against(program: Path, recording: Path, store: Path, replicates: int) -> list[Difference]:
    """Every speculative point of a store at the recording's temperature and truncation, with its replay, over
    as many of the store's first prompts as the recording has texts. They may be the same prompts; then the
    two errors are not independent, and |z| is smaller than it would be."""
    law = law_of(recording)
    runs = [m for m in analyse(store, replicates, limit=texts_in(recording)).points
            if m.point.method == "speculative" and not m.point.block_verify and not departure(m.point, law)]
    if not runs:
        raise LabError(f"{store}: no speculative point at the recording's temperature and truncation "
                       f"({', '.join(f'{k} {v:g}' for k, v in law.items())})")
    out = []
    for run, estimate in zip(runs, replay(program, recording, [m.point for m in runs])):
        for figure in ("rejection", "deferral", "acceptance", "calls_token", "length"):
            value, error = estimate.best(figure)
            out.append(Difference(run.point, figure, run.figures[figure], spread(run, figure), value, error,
                                  estimate.kind))
    return out


def summary(differences: list[Difference], figure: str) -> str:
    """One line: mean absolute difference, share within two errors."""
    own = [d for d in differences if d.figure == figure and math.isfinite(d.z)]
    if not own:
        return f"{figure}: nothing to compare"
    mean = float(np.mean([abs(d.estimate - d.run) for d in own]))
    within = float(np.mean([abs(d.z) <= 2.0 for d in own]))
    return (f"{figure}: mean |replay - run| {mean:.4g} over {len(own)} settings; {within:.0%} within two "
            f"standard errors, the largest {max(abs(d.z) for d in own):.1f}")
