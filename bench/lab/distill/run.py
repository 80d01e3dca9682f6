"""`lab distill`: the verifier writes, the drafter learns, weir judges."""
from __future__ import annotations

import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from lab import replay
from lab.distill import laws, models, samples, training
from lab.errors import LabError
from lab.grid import Plan, Point
from lab.identity import model as fingerprints
from lab.report import markdown
from lab.tasks import Task, open_task

TAIL = 5e-3  # most mass of a row that a recording merges
# figures of lab.replay, and their titles
JUDGED = {"acceptance": "tokens per block", "rejection": "rejected"}


@dataclass(frozen=True)
class Request:
    """plan: the pair, the prompts, the temperature, the rules to judge by. held_out: prompts to judge on, of
    the same task; none: the last `judged` of the plan's, which are then not trained on."""

    plan: Plan
    out: Path
    work: Path
    held_out: Path | None
    judged: int
    shape: dict[str, int]
    keep: int
    recipe: training.Recipe
    device: torch.device
    fresh: bool


def check(request: Request) -> None:
    plan = request.plan
    if plan.draft is None:
        raise LabError("distilling needs a drafter to start from: -md")
    if len(plan.temperatures) != 1 or plan.temperatures[0] <= 0:
        raise LabError("distilling needs one temperature above 0; a drafter for greedy decoding, "
                       "too, learns at 1")
    if plan.modifiers:
        raise LabError(f"distilling compares whole laws: no {', '.join(plan.modifiers)}")
    if request.out.resolve() in (plan.model.resolve(), plan.draft.resolve()):
        raise LabError(f"--out {request.out}: is one of the models that are read; give another folder")


def split(request: Request) -> tuple[Task, Task]:
    """Prompts to train on, and to judge on; a prompt of the latter is never among the former."""
    plan = request.plan
    whole = open_task(plan.task, plan.data, plan.limit, plan.options)
    if request.held_out:
        judged = open_task(plan.task, [request.held_out], 0, plan.options)
        judged = judged.first(min(request.judged, len(judged.examples)))
    else:
        if request.judged >= len(whole.examples):
            raise LabError(f"{whole.files[0]}: {len(whole.examples)} prompts, of which {request.judged} are "
                           "set aside to judge on; none is left (--judged)")
        judged = replace(whole, examples=whole.examples[-request.judged:])
    tests = {e.prompt for e in judged.examples}
    kept = tuple(e for e in whole.examples if e.prompt not in tests)
    say(f"{len(kept)} prompts to train on, {len(judged.examples)} to judge on; "
        f"{len(whole.examples) - len(kept)} of the data's are judged on and therefore not trained on")
    if not kept:
        raise LabError(f"{whole.files[0]}: no prompt is left to train on")
    return replace(whole, examples=kept), judged


def judge(request: Request, task: Task, drafter: Path) -> list[replay.Estimate]:
    """What weir finds with a drafter on the held-out prompts: texts of the verifier's own law, then every
    rule of the plan from both models' rows over them."""
    plan = replace(request.plan, draft=drafter)
    exact = Point(rule="exact", gamma=plan.gammas[0], temp=plan.temperatures[0])
    recording = request.work / "judged.jsonl"
    replay.record_task(replace(plan, seeds=plan.seeds[:1]), task, recording, TAIL, exact)
    try:
        return replay.replay(plan.program, recording, judged_points(plan))
    finally:
        recording.unlink()  # tens of kilobytes a token


def judged_points(plan: Plan) -> list[Point]:
    return [p for p in plan.points() if p.method == "speculative"]


def report(before: list[replay.Estimate], after: list[replay.Estimate]) -> list[dict[str, Any]]:
    """A line a rule: each figure with its standard error, before and after. Texts are the verifier's own, so
    under other rules than exact figures are those of its prefixes."""
    lines = []
    for old, new in zip(before, after):
        line: dict[str, Any] = {"rule": new.point.title, "alpha": new.point.alpha, "gamma": new.point.gamma}
        for figure in JUDGED:
            line[figure] = {"before": old.values["recorded"][figure], "after": new.values["recorded"][figure]}
        lines.append(line)
    return lines


def table(lines: list[dict[str, Any]]) -> str:
    head = ["rule", "α", "γ",
            *(f"{title}, {when}" for title in JUDGED.values() for when in ("before", "after"))]
    return markdown(head, [[line["rule"], "–" if line["alpha"] is None else f"{line['alpha']:g}",
                            str(line["gamma"]),
                            *("{:.3f} ± {:.3f}".format(*line[figure][when])
                              for figure in JUDGED for when in ("before", "after"))] for line in lines])


def opened(request: Request) -> tuple[PreTrainedModel, PreTrainedModel]:
    """Verifier and the drafter at its start, of one vocabulary and family."""
    plan = request.plan
    verifier = models.open_model(plan.model, request.device)
    drafter = models.open_model(plan.draft or plan.model, request.device)
    if verifier.config.is_encoder_decoder != drafter.config.is_encoder_decoder:
        raise LabError(f"{plan.draft}: one model is an encoder-decoder, the other is not")
    if models.head(verifier).shape[0] != models.head(drafter).shape[0]:
        raise LabError(f"{plan.draft}: {models.head(drafter).shape[0]} rows of vocabulary, the verifier has "
                       f"{models.head(verifier).shape[0]}")
    if request.shape:
        drafter = models.reshaped(drafter, request.shape, request.recipe.seed)
    return verifier, drafter


def distil(request: Request) -> str:
    """All stages, each of which goes on where it was cut. Returns the table of figures before and after."""
    check(request)
    task, judged = split(request)
    plan, work = request.plan, request.work
    work.mkdir(parents=True, exist_ok=True)
    samples.write(plan, task, work / "samples.jsonl", request.fresh)
    verifier, drafter = opened(request)
    texts = samples.read(plan, task, work / "samples.jsonl", models.end_of_text(verifier),
                         models.prompt_reader(plan.model))
    kept = laws.Laws(work, texts, min(request.keep, models.head(verifier).shape[0]))
    made = {"verifier": fingerprints(plan.model), "temp": plan.temperatures[0], "keep": kept.keep}
    laws.check(work / "laws.json", made, request.fresh, [kept.ids_path, kept.p_path])
    laws.write(verifier, kept, plan.temperatures[0], request.recipe.half)
    kept.map()
    say(f"{len(texts)} texts of {int(kept.start[-1])} tokens; the {kept.keep} kept tokens have "
        f"{100 * kept.mass():.1f}% of the mass")
    start = work / "start"
    models.save(drafter, plan.draft, start, {})  # type: ignore[arg-type]  # checked
    identity = {"drafter": fingerprints(start), **made}
    train = training.Training(drafter, kept, request.recipe, work / "checkpoint.pt", identity)
    if request.fresh:
        train.path.unlink(missing_ok=True)
    train.resume()
    train.run()
    lines = judge_both(request, judged, drafter, start, train)
    return table(lines)


def judge_both(request: Request, judged: Task, drafter: PreTrainedModel, start: Path,
               train: training.Training) -> list[dict[str, Any]]:
    """Saves the drafter, judges it and its start, and writes down how it came about."""
    done = request.work / "done"
    models.save(drafter, start, done, {})
    say(f"judging by weir on {len(judged.examples)} prompts")
    lines = report(judge(request, judged, start), judge(request, judged, done))
    words = {"from": str(request.plan.draft), "verifier": str(request.plan.model),
             "texts": len(train.laws.samples), "tokens": int(train.laws.start[-1]),
             "recipe": asdict(request.recipe), "keep": train.laws.keep, "judged": lines,
             "history": train.history}
    models.save(drafter, start, request.out, words)
    return lines


def say(line: str) -> None:
    print(f"distill: {line}", file=sys.stderr, flush=True)
