"""Picks a setting with few runs: replay finds what could be fast, then short runs halve the rest by quality.

1. A recording of some prompts under exact decoding; replay of every candidate; with the measured times of a
block and of a
   verifier's token this predicts each candidate's latency. It cannot predict quality.
2. Of each rule and gamma, candidates that are predicted faster than needed, spread along the prediction.
3. Successive halving: all run on a few prompts, the better half on twice as many, and so on; the last ones on
all.
"""
from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lab.analysis import COLUMN, REPLICATES, Analysis, Measured, analyse, interval
from lab.errors import LabError
from lab.grid import Plan, Point
from lab.replay import Estimate, record, replay
from lab.sweep import run_plan, with_costs
from lab.tasks import open_task
from weir_runs import machine

FIRST_PROMPTS = 24      # of the first round of runs, and of the recording
CALIBRATION_PROMPTS = 12
REFERENCES = 4          # answers of the verifier to a prompt that has no other references
SPREAD = 3              # candidates kept of each rule and gamma
ROUND_REPLICATES = 200  # of the bootstrap in all rounds but the last
FINALISTS = 5           # run on all prompts: on a quarter of them two neighbours in alpha still change places

# alpha's candidates of each rule, as a plan has them: within the paper's range, where the interest is
CANDIDATES: dict[str, list[float] | None] = {
    "exact": None,
    "chow": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7],
    "diff": [-0.3, -0.1, 0.0, 0.1, 0.2, 0.3, 0.4],
    "opt": [0.0, 0.05, 0.1, 0.2, 0.3, 0.5],
    "token-v1": [0.05, 0.1, 0.2, 0.3, 0.4, 0.5],
    "token-v2": [0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6],
    "token-v3": [0.2, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99],
    "lossy": [0.1, 0.2, 0.3, 0.5, 0.7],
}


class NoSetting(LabError):
    """No setting is worth a profile: each breaks the budget, or the verifier alone is as fast. best: the one
    that comes closest, by prediction if none was worth a run."""

    def __init__(self, words: str, best: Point) -> None:
        super().__init__(f"{words}; no profile is written")
        self.best = best


@dataclass(frozen=True)
class Budget:
    """loss: most quality that may be lost against the verifier, in points of the first metric; None:
    unbounded, speed is then bounded from below by `speedup`, and quality is what is maximised."""

    loss: float | None
    speedup: float | None


@dataclass(frozen=True)
class Costs:
    """Milliseconds: one token by the verifier alone, one block by gamma (drafting, verifying, accepting)."""

    token: float
    block: dict[int | str, float]


def fixed_of(gammas: list[int | str]) -> list[int | str]:
    """Those that replay can predict."""
    return [g for g in gammas if g != "auto"] or [1, 3, 5]


def with_auto(points: list[Point], gammas: list[int | str]) -> list[Point]:
    """What was picked at fixed gammas, as `gammas` has it: its rules and alphas at auto too, or only."""
    if "auto" not in gammas:
        return points
    chosen = list(dict.fromkeys(replace(p, gamma="auto") for p in points))
    return chosen if set(gammas) == {"auto"} else [*points, *chosen]


def candidates(plan: Plan) -> list[Point]:
    return [p for p in plan.points() if p.method == "speculative"]


def calibrate(analysis: Analysis, exact: list[Point]) -> Costs:
    """From runs of exact decoding at each gamma, and of the verifier."""
    verifier = analysis.verifier(exact[0].temp)
    if verifier is None:
        raise LabError("no run of the verifier to compare with")
    block = {}
    for point in exact:
        own = next((m for m in analysis.points if m.point == point), None)
        if own is None:
            raise LabError(f"no run of exact decoding at gamma {point.gamma} and temperature {point.temp:g}")
        sums = own.sums.sum(axis=0)
        block[point.gamma or 0] = float(sums[COLUMN["decode_ms"]] / sums[COLUMN["steps"]])
    sums = verifier.sums.sum(axis=0)
    return Costs(float(sums[COLUMN["decode_ms"]] / sums[COLUMN["tokens"]]), block)


def predicted_latency(estimate: Estimate, costs: Costs) -> float:
    """Latency of a token relative to the verifier's; prompts are left out, because both run them."""
    return estimate.best("calls_token")[0] * costs.block[estimate.point.gamma or 0] / costs.token


def shortlist(estimates: list[Estimate], costs: Costs, speedup: float | None) -> list[Point]:
    """Per rule and gamma up to SPREAD of the fast enough candidates, spread over the predicted latency."""
    most = 1.0 / speedup if speedup else 1.0
    by_curve: dict[tuple[Any, ...], list[tuple[float, Point]]] = {}
    for e in estimates:
        latency = predicted_latency(e, costs)
        if latency < 1.05 * most:  # the prediction has an error too
            by_curve.setdefault(e.point.curve, []).append((latency, e.point))
    out = []
    for own in by_curve.values():
        own.sort(key=lambda x: x[0])
        n = min(SPREAD, len(own))
        places = [round(i * (len(own) - 1) / max(1, n - 1)) for i in range(n)]
        out += [own[i][1] for i in places]
    return out


def loss_of(m: Measured, verifier: Measured, metric: str) -> tuple[float, np.ndarray]:
    """Quality lost against the verifier on the same prompts, and its replicates."""
    return verifier.figures[metric] - m.figures[metric], verifier.replicates[metric] - m.replicates[metric]


def kept(m: Measured, verifier: Measured, metric: str, budget: Budget) -> float:
    """Share of bootstrap replicates that keep the bound of the loss; 1 if there is none."""
    return 1.0 if budget.loss is None else float(np.mean(loss_of(m, verifier, metric)[1] <= budget.loss))


def halve(ranked: list[Point], measured: dict[Point, Measured], verifier: Measured, metric: str,
          budget: Budget) -> list[Point]:
    """The better half. The safest setting gets the last place, or a whole last round may break the budget."""
    left = ranked[:max(1, math.ceil(len(ranked) / 2))]
    safest = max(ranked, key=lambda p: kept(measured[p], verifier, metric, budget))
    return left if safest in left or len(left) == 1 else [*left[:-1], safest]


def worth(m: Measured, verifier: Measured, metric: str, budget: Budget, last: bool = False) -> float:
    """What halving sorts by, smaller is better. In the last round the relative latency under a bound of the
    loss, else the loss; settings that break their bound come after all others, by how far. Before it the
    latency over the share of bootstrap replicates that keep the bound of the loss: on a few prompts any
    setting may look as good as the verifier, and the fastest ones must not win by that. The bound of the
    latency is loosened by 0.02."""
    loss, _ = loss_of(m, verifier, metric)
    latency = m.figures["latency"]
    if budget.loss is not None and not last:
        return latency / max(kept(m, verifier, metric, budget), 1e-3)
    if budget.loss is not None:
        over = loss - budget.loss
        return latency if over <= 0 else 1e3 + over
    over = latency - 1.0 / (budget.speedup or 1.0)
    return loss if over <= (0.0 if last else 0.02) else 1e6 + over


def check_budget(m: Measured, verifier: Measured, metric: str, budget: Budget) -> None:
    """NoSetting if the best setting breaks a bound, because then every one that ran does, or if it keeps them
    but the verifier alone, which loses nothing, is as fast and no other speed was asked for."""
    loss, speedup = loss_of(m, verifier, metric)[0], 1.0 / m.figures["latency"]
    if (budget.loss is None or loss <= budget.loss) and (budget.speedup is None or speedup >= budget.speedup):
        if budget.speedup is None and speedup <= 1.0:
            raise NoSetting(f"nothing within the budget is faster than the verifier alone: the best, "
                            f"{m.point.key}, has a speed-up of {speedup:.2f}", m.point)
        return
    asked = [words.format(most) for words, most in (("at most {:g} lost", budget.loss),
                                                    ("a speed-up of at least {:g}", budget.speedup))
                                                    if most is not None]
    raise NoSetting(f"no setting keeps the budget ({' and '.join(asked)}): the best, {m.point.key}, loses "
                    f"{loss:.2f} {metric} at a speed-up of {speedup:.2f}", m.point)


def confidence(m: Measured, verifier: Measured, metric: str, budget: Budget) -> dict[str, Any]:
    loss, drawn = loss_of(m, verifier, metric)
    latency = m.replicates["latency"]
    within = np.ones(len(drawn), dtype=bool)
    if budget.loss is not None:
        within &= drawn <= budget.loss
    if budget.speedup is not None:
        within &= latency <= 1.0 / budget.speedup
    low, high = m.interval("latency")
    return {"quality_loss": loss, "quality_loss_interval": interval(drawn),
            "speedup": 1.0 / m.figures["latency"], "speedup_interval": (1.0 / high, 1.0 / low),
            "budget_kept": float(within.mean())}


def run_points(plan: Plan, points: list[Point], prompts: int, store: Path,
               replicates: int = ROUND_REPLICATES) -> tuple[Analysis, int]:
    """The points on the first prompts, all in one store; what earlier rounds ran is not run again."""
    own = replace(plan, limit=prompts, only=points)
    answers = int(run_plan(own, store)["answers"])
    return analyse(store, replicates, limit=prompts, n_metric=1), answers


def with_references(plan: Plan, store: Path, say: Any) -> tuple[Plan, int]:
    """A task without references is compared with answers of the verifier under other seeds than the runs'
    (one answer if nothing is drawn), kept next to the store; returns the plan with them, and how many were
    made now."""
    if plan.task != "prompts" or len(plan.data) != 1:
        return plan, 0
    out, temp = store.with_name(store.stem + ".references.jsonl"), plan.temperatures[0]
    first = 1 + max(plan.seeds)
    seeds = list(range(first, first + (REFERENCES if temp > 0 else 1)))
    made = int(run_plan(replace(plan, seeds=seeds, only=[base_of(plan).beside()]), out)["answers"])
    say(f"{out}: {made} answers of the verifier alone to compare with" +
        (f", {len(seeds)} a prompt" if made else ""))
    return replace(plan, data=[*plan.data, out]), made


def base_of(plan: Plan) -> Point:
    """What all points of a tuning share."""
    return Point(temp=plan.temperatures[0], **plan.modifiers)


def tune(plan: Plan, budget: Budget, store: Path, say: Any) -> dict[str, Any]:
    """The profile, ready to be written. say: prints a line for the user."""
    if budget.loss is None and budget.speedup is None:
        raise LabError("give --max-quality-loss or --min-speedup")
    if len(plan.temperatures) != 1:
        raise LabError("a profile is for one temperature; give one")
    plan = with_costs(plan, store, fresh=False)  # the first runs of the store have no gamma auto yet
    plan, referenced = with_references(plan, store, say)
    base, task = base_of(plan), open_task(plan.task, plan.data, plan.limit, plan.options)
    if not task.metrics:
        raise LabError(f"task {task.name} has no metric to bound a loss in")
    metric, n_prompt = task.metrics[0], len(task.examples)
    fixed = fixed_of(plan.gammas)
    exact = [replace(base, rule="exact", gamma=g) for g in fixed]
    analysis, runs = run_points(plan, exact, min(CALIBRATION_PROMPTS, n_prompt), store)
    costs = calibrate(analysis, exact)
    recording = store.with_name(store.stem + ".recording.jsonl")
    recorded = record(replace(plan, limit=min(FIRST_PROMPTS, n_prompt)), recording, 1e-3, exact[0])
    every = candidates(replace(plan, gammas=fixed))
    estimates = replay(plan.program, recording, every)
    left = with_auto(shortlist(estimates, costs, budget.speedup), plan.gammas)
    say(f"replay of {recorded} texts: {len(left)} of {len(every)} candidates are worth a run")
    if not left:
        best = min(estimates, key=lambda e: predicted_latency(e, costs))
        raise NoSetting("no candidate is predicted to be fast enough; the drafter does not pay on this "
                        f"machine: the best, {best.point.key}, at a speed-up of "
                        f"{1 / predicted_latency(best, costs):.2f}", best.point)
    prompts = min(FIRST_PROMPTS, n_prompt)
    while True:
        last = prompts == n_prompt and len(left) <= FINALISTS
        analysis, more = run_points(plan, left, prompts, store, REPLICATES if last else ROUND_REPLICATES)
        runs += more
        verifier = analysis.verifier(base.temp)
        measured = {m.point: m for m in analysis.points}
        ranked = sorted(left, key=lambda p: worth(measured[p], verifier, metric, budget, last))
        say(f"{prompts} prompts, {len(left)} candidates: {ranked[0].key} leads, "
            f"{1 / measured[ranked[0]].figures['latency']:.2f}x at {measured[ranked[0]].figures[metric]:.2f}")
        if last:
            break
        left = halve(ranked, measured, verifier, metric, budget) if len(ranked) > FINALISTS else ranked
        prompts = min(2 * prompts, n_prompt)
    best = measured[ranked[0]]
    check_budget(best, verifier, metric, budget)
    evidence = confidence(best, verifier, metric, budget)
    grid = (len(every) + 1) * n_prompt
    return profile_of(best.point, {
        **evidence, "metric": metric, "quality": best.figures[metric],
        "verifier_quality": verifier.figures[metric], "temperature": base.temp, "task": task.name,
        "prompts": n_prompt, "answers_run": runs + recorded + referenced, "answers_of_grid": grid,
        "machine": machine(), "pair": [str(plan.model), str(plan.draft)],
        "budget": {"max_quality_loss": budget.loss, "min_speedup": budget.speedup}})


def profile_of(point: Point, about: dict[str, Any]) -> dict[str, Any]:
    """What `weir generate --profile` reads; about is for people."""
    said: dict[str, Any] = {"weir_profile": 1, "deferral_rule": point.rule,
                            "num_speculative_tokens": point.gamma}
    for key, value in (("deferral_alpha", point.alpha), ("deferral_beta", point.beta), ("gate", point.gate),
                       ("bonus", point.bonus), ("exact_first", point.exact_first)):
        if value is not None:
            said[key] = value
    return {**said, "about": about}


def check_profile(path: Path) -> None:
    """Refuses a path that no profile can be written to, before a search takes its time."""
    there = path.exists()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8"):
            pass
        if not there:
            path.unlink()
    except OSError as e:
        raise LabError(f"{path}: {e.strerror or e}") from e


def write_profile(profile: dict[str, Any], path: Path) -> None:
    try:
        path.write_text(json.dumps(profile, indent=1) + "\n", encoding="utf-8")
    except OSError as e:
        raise LabError(f"{path}: {e.strerror or e}") from e


def words(profile: dict[str, Any]) -> str:
    """The evidence in a few lines."""
    a = profile["about"]
    low, high = a["speedup_interval"]
    lost = a["quality_loss_interval"]
    return (f"{profile['deferral_rule']}, alpha {profile.get('deferral_alpha', 'none')}, gamma "
            f"{profile['num_speculative_tokens']}\nspeed-up {a['speedup']:.2f} ({low:.2f} … {high:.2f}), "
            f"{a['metric']} {a['quality']:.2f} against the verifier's {a['verifier_quality']:.2f}: lost "
            f"{a['quality_loss']:.2f} ({lost[0]:.2f} … {lost[1]:.2f})\nthe budget is kept in "
            f"{a['budget_kept']:.0%} of bootstrap replicates over {a['prompts']} prompts; {a['answers_run']} "
            f"answers run, the whole grid has {a['answers_of_grid']}")
