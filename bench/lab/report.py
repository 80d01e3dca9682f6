"""The report of a store: tables as Markdown and CSV, pictures, and one self-contained HTML page."""
from __future__ import annotations

import csv
import datetime
import math
import os
import platform
from dataclasses import fields
from pathlib import Path
from typing import Any, Sequence

import numpy as np

from lab.analysis import COLUMN, FIGURES, Analysis, Measured, analyse, interval
from lab.curves import area, hull, latency_at, pareto, quality_within
from lab.grid import Point
from lab.paper import CLAIMS, DEVICE, same
from lab.plots import curves_of, draw_all
from lab.sandbox import kind
from weir_runs import machine

Table = tuple[str, str, list[str], list[list[str]]]  # title, note, header, rows


def cell(value: float | None, form: str = ".2f") -> str:
    return "–" if value is None or not math.isfinite(value) else format(value, form)


def ranged(value: float, ends: tuple[float, float], form: str = ".2f") -> str:
    """"1.23 (1.10 … 1.40)"."""
    if not math.isfinite(value):
        return "–"
    return f"{value:{form}} ({cell(ends[0], form)} … {cell(ends[1], form)})"


def knobs(p: Point) -> list[str]:
    return [p.title, cell(p.alpha, "g"), str(p.gamma or "–"), f"{p.temp:g}"]


def points_table(analysis: Analysis) -> Table:
    header = ["setting", "α", "γ", "T", *[m.title for m in analysis.metrics], "latency/answer ×",
              "latency/token ×", "rejected", "deferred", "tokens/block", "verifier calls/token",
              "tokens/answer", "at limit", "ms/answer"]
    rows = []
    for m in analysis.points:
        quality = [ranged(m.figures[x.name], m.interval(x.name)) for x in analysis.metrics]
        rest = [cell(m.figures[k], f) for k, f in (("rejection", ".3f"), ("deferral", ".3f"),
                                                   ("acceptance", ".2f"), ("calls_token", ".3f"),
                                                   ("length", ".2f"), ("at_limit", ".4f"),
                                                   ("ms_answer", ".2f"))]
        rows.append([*knobs(m.point), *quality, ranged(m.figures["latency"], m.interval("latency")),
                     ranged(m.figures["latency_token"], m.interval("latency_token")), *rest])
    note = ("Latencies are relative to the verifier alone on the same prompts, run beside it: below 1 is "
            "faster. In brackets: 95% bootstrap intervals over prompts.")
    short = [m for m in analysis.points if m.prompts < analysis.n_prompt]
    if short:
        note += f" Incomplete: {len(short)} settings have fewer than {analysis.n_prompt} prompts."
    return "Every setting", note, header, rows


def replicate_curve(curve: list[Measured], metric: str, r: int) -> tuple[list[float], list[float]]:
    return [m.replicates["latency"][r] for m in curve], [m.replicates[metric][r] for m in curve]


def matched_table(analysis: Analysis) -> Table:
    """The paper's two figures for each rule, temperature and gamma."""
    metric = analysis.metric
    rows = []
    for curve in curves_of(analysis).values():
        curve, verifier = analysis.matched(curve)
        if verifier is None or not verifier.prompts:
            continue
        xs, ys = [m.figures["latency"] for m in curve], [m.figures[metric] for m in curve]
        speed = 1.0 / latency_at(xs, ys, verifier.figures[metric])
        best = quality_within(xs, ys, 1.0)
        n = len(verifier.replicates[metric])
        speeds, bests = np.full(n, np.nan), np.full(n, np.nan)
        for r in range(n):
            x, y = replicate_curve(curve, metric, r)
            speeds[r] = 1.0 / latency_at(x, y, verifier.replicates[metric][r])
            bests[r] = quality_within(x, y, 1.0)
        p = curve[0].point
        rows.append([p.title, f"{p.temp:g}", str(p.gamma or "–"), str(len(curve)),
                     ranged(speed, interval(speeds)), cell(float(np.isfinite(speeds).mean()), ".0%"),
                     ranged(best, interval(bests)), cell(verifier.figures[metric])])
    header = ["rule", "T", "γ", "settings", "latency reduction at the verifier's quality", "reached in",
              f"best {analysis.metrics[0].title} within its latency", "verifier's"]
    note = ("Along each rule's α, straight lines between neighbours, over the prompts that all its settings "
            "have. \"Reached in\": share of bootstrap replicates in which the rule has the verifier's "
            "quality at all; the interval is over those. The best of several settings is an optimistic "
            "figure where they differ by less than their intervals.")
    title = "Latency reduction at matched quality, best quality within the verifier's latency"
    return title, note, header, rows


def front_table(analysis: Analysis) -> Table:
    metric = analysis.metric
    rows = []
    for temp in sorted({m.point.temp for m in analysis.points}):
        points = [m for m in analysis.points if m.point.temp == temp and math.isfinite(m.figures["latency"])]
        xs, ys = [m.figures["latency"] for m in points], [m.figures[metric] for m in points]
        corners = set(hull(xs, ys))
        for i in pareto(xs, ys):
            rows.append([*knobs(points[i].point), cell(xs[i]), cell(ys[i]), "yes" if i in corners else "no"])
    return ("Pareto front", "Settings that no other is both faster and better than, by temperature.",
            ["setting", "α", "γ", "T", "latency ×", analysis.metrics[0].title, "on the hull"], rows)


def area_table(analysis: Analysis) -> Table:
    metric, rows = analysis.metric, []
    fastest = min((m.figures["latency"] for m in analysis.points if math.isfinite(m.figures["latency"])),
                  default=math.nan)
    for curve in curves_of(analysis).values():
        xs, ys = [m.figures["latency"] for m in curve], [m.figures[metric] for m in curve]
        n = len(curve[0].replicates[metric])
        drawn = np.array([area(*replicate_curve(curve, metric, r), fastest, 1.0) for r in range(n)])
        p = curve[0].point
        rows.append([p.title, f"{p.temp:g}", str(p.gamma or "–"),
                     ranged(area(xs, ys, fastest, 1.0), interval(drawn))])
    return ("Area under the hull",
            f"Mean best {analysis.metrics[0].title} over latencies from {cell(fastest)} to 1; 0 where a rule "
            "has no setting as fast.", ["rule", "T", "γ", "area"], rows)


def category_table(path: Path, analysis: Analysis, replicates: int) -> Table:
    """Speed by category (Spec-Bench): reduction of latency, per answer and per token."""
    rows = []
    for category in analysis.categories:
        for m in analyse(path, replicates, category).points:
            if m.point.method != "verifier":
                low, high = m.interval("latency")
                rows.append([category, *knobs(m.point), ranged(1 / m.figures["latency"], (1 / high, 1 / low)),
                             cell(1 / m.figures["latency_token"]), cell(m.figures["acceptance"])])
    return ("By category", "Speed-up over the verifier alone.",
            ["category", "setting", "α", "γ", "T", "× per answer", "× per token", "tokens/block"], rows)


def paper_table(analysis: Analysis, matched: Table | None) -> Table:
    """The paper's figures and the best ones here."""
    rows = []
    for claim in CLAIMS:
        if claim.task != analysis.task.name:
            continue
        ours = [r for r in (matched[3] if matched else [])
                if r[0].startswith("token-v3")] or (matched[3] if matched else [])
        for r in ours:
            rows.append([claim.pair, claim.data, f"{claim.reduction:.2f}×" if claim.reduction else "–",
                         f"{claim.best:.2f} {claim.metric}" if claim.best else "–",
                         f"{r[0]}, T = {r[1]}, γ = {r[2]}", r[4], r[6],
                         *same(claim, analysis.identity, machine())])
    return ("Beside the paper",
            f"SpecCascade[Token] on {DEVICE} (arXiv 2405.19261) and this store. Figures of different pairs, "
            "data and devices say whether the effect is there, not how large it would be on theirs.",
            ["paper's pair", "paper's data", "its reduction", "its best", "here", "reduction here",
             "best here", "same pair?", "same data?", "same device?"], rows)


def tables_of(path: Path, analysis: Analysis, replicates: int) -> list[Table]:
    tables, matched = [], None
    if analysis.metric:
        matched = matched_table(analysis)
        tables += [matched, front_table(analysis), area_table(analysis)]
    tables.insert(1 if matched else 0, paper_table(analysis, matched))
    if analysis.categories:
        tables.append(category_table(path, analysis, replicates))
    tables.append(points_table(analysis))
    return [t for t in tables if t[3]]


def apart_of(analysis: Analysis) -> list[str]:
    """A warning if answers and the verifier's come from different runs; none if all are from one."""
    apart = sum(m.apart for m in analysis.points)
    total = sum(m.sums[:, COLUMN["answers"]].sum() for m in analysis.points if m.point.method != "verifier")
    if not apart:
        return []
    return [f"{apart} of {total:.0f} latencies are relative to a verifier that was timed in another run of "
            "the lab, when the machine may have been faster or slower; a sweep with --fresh pairs them all."]


def head_of(analysis: Analysis, command: str) -> list[str]:
    s, p = analysis.identity["setting"], analysis.identity["program"]
    engine, seconds = analysis.engine
    share = f"; the engine's share of the sweep's time {engine / seconds:.0%}" if seconds else ""
    batch = ("batch 1" if s["parallel"] == 1 else
             f"{s['parallel']} prompts at once: latencies are not those of batch 1")
    return [f"{datetime.date.today()}, {machine()}, threads {s['threads'] or 'default'}, {batch}{share}.",
            f"{p['version']} (sha256 {p['sha256'][:12]}), {' ← '.join(s['paths'])}, task {s['task']}, "
            f"{analysis.n_prompt} prompts, at most {s['max_tokens']} tokens.",
            *([f"Models' programs ran under limits, with {kind()}."]
              if "pass" in [m.name for m in analysis.metrics] else []),
            *apart_of(analysis), f"Command: {command}"]


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table with columns padded, so that it reads as text too."""
    cells = [list(header), *[[str(c).replace("|", "\\|") for c in row] for row in rows]]
    width = [max(len(row[i]) for row in cells) for i in range(len(header))]
    lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(row, width)) + " |" for row in cells]
    lines.insert(1, "|" + "|".join("-" * (w + 2) for w in width) + "|")
    return "\n".join(lines)


def write_csv(analysis: Analysis, path: Path) -> None:
    """One line per point: its settings, every figure, and the ends of every interval."""
    names = [*[m.name for m in analysis.metrics], *FIGURES]
    with open(path, "w", newline="", encoding="utf-8") as f:
        writer = csv.writer(f)
        settings = [x.name for x in fields(Point)]
        writer.writerow([*settings, "prompts", *[c for n in names for c in (n, f"{n}_low", f"{n}_high")]])
        for m in analysis.points:
            values = [v for n in names for v in (m.figures[n], *m.interval(n))]
            writer.writerow([*["" if getattr(m.point, s) is None else getattr(m.point, s) for s in settings],
                             m.prompts, *["" if not math.isfinite(v) else f"{v:.6g}" for v in values]])


def write_report(path: Path, folder: Path, command: str, replicates: int) -> dict[str, Any]:
    """Everything into a folder; returns {"points", "page"}."""
    from lab.page import write_page

    analysis = analyse(path, replicates)
    folder.mkdir(parents=True, exist_ok=True)
    tables, head = tables_of(path, analysis, replicates), head_of(analysis, command)
    write_csv(analysis, folder / "points.csv")
    pictures = draw_all(analysis, folder)
    parts = ["\n".join(head)]
    parts += [f"## {title}\n{note}\n\n{markdown(header, rows)}" for title, note, header, rows in tables]
    (folder / "report.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    write_page(folder / "report.html", head, pictures, tables)
    return {"points": len(analysis.points), "page": folder / "report.html"}
