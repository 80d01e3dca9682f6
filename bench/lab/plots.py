"""The pictures of a report, each as PNG and SVG. Colour follows the rule in every picture of a report."""
from __future__ import annotations

import math
from collections import defaultdict
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402  (after the choice of backend)

from lab.analysis import Analysis, Measured  # noqa: E402
from lab.curves import hull, pareto  # noqa: E402

# Twelve colours that stay distinct, with line styles to help in colour blindness; further rules start over,
# dashed.
COLOURS = ("#0b6e99", "#d1495b", "#3a7d44", "#8e5ea2", "#c77d0a", "#00897b", "#7f5539", "#5c6bc0", "#b0186e",
           "#9aa500", "#222222", "#4d5a66")
MARKERS = "osD^vP*XhHdp"

plt.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True,
                     "grid.color": "#e3e7ec", "svg.hashsalt": "weir-lab", "figure.dpi": 120})


def curves_of(analysis: Analysis) -> dict[tuple[Any, ...], list[Measured]]:
    """Points of speculative decoding by curve, in order of alpha."""
    out: dict[tuple[Any, ...], list[Measured]] = defaultdict(list)
    for m in analysis.points:
        if m.point.method != "verifier":
            out[m.point.curve].append(m)
    for points in out.values():
        points.sort(key=lambda m: (m.point.alpha is not None, m.point.alpha or 0.0))
    return out


def curve_title(m: Measured, with_setting: bool) -> str:
    setting = f", T = {m.point.temp:g}" + (f", γ = {m.point.gamma}" if m.point.gamma else "")
    return m.point.title + (setting if with_setting else "")


def styles(analysis: Analysis) -> dict[str, dict[str, Any]]:
    titles = list(dict.fromkeys(m.point.title for m in analysis.points if m.point.method != "verifier"))
    return {t: {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[i % len(MARKERS)],
                "linestyle": "-" if i < len(COLOURS) else "--"} for i, t in enumerate(titles)}


def save(figure: Any, stem: Path) -> None:
    for suffix in (".svg", ".png"):
        figure.savefig(stem.with_suffix(suffix), bbox_inches="tight",
                       metadata={"Date": None} if suffix == ".svg" else {})
    plt.close(figure)


def several_settings(analysis: Analysis) -> bool:
    return len({(m.point.temp, m.point.gamma) for m in analysis.points
                if m.point.method == "speculative"}) > 1


def quality_against(analysis: Analysis, x: str, label: str, stem: Path) -> None:
    """One line per curve; bars are the 95% intervals of both axes."""
    figure, axes = plt.subplots(figsize=(7.2, 4.4))
    style, many, metric = styles(analysis), several_settings(analysis), analysis.metric
    for points in curves_of(analysis).values():
        shown = [m for m in points if math.isfinite(m.figures[x])]
        if not shown:
            continue
        xs, ys = [m.figures[x] for m in shown], [m.figures[metric] for m in shown]
        bars = [[[max(0.0, v - m.interval(name)[0]) for v, m in zip(vs, shown)],
                 [max(0.0, m.interval(name)[1] - v) for v, m in zip(vs, shown)]]
                 for name, vs in ((x, xs), (metric, ys))]
        _, _, whiskers = axes.errorbar(xs, ys, xerr=bars[0], yerr=bars[1], label=curve_title(shown[0], many),
                                       markersize=4, linewidth=1.3, elinewidth=0.5,
                                       **style[shown[0].point.title])
        for w in whiskers:
            w.set_alpha(0.3)  # a dozen curves of a dozen points: lines first
    for temp in sorted({m.point.temp for m in analysis.points}):
        verifier = analysis.verifier(temp)
        if verifier:
            axes.axhline(verifier.figures[metric], color="#30363d", linewidth=0.9, linestyle=":")
    if x.startswith("latency"):
        axes.axvline(1.0, color="#30363d", linewidth=0.9, linestyle=":")
        draw_front(axes, analysis)
    axes.set_xlabel(label)
    axes.set_ylabel(analysis.metrics[0].title)
    axes.legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    save(figure, stem)


def draw_front(axes: Any, analysis: Analysis) -> None:
    points = [m for m in analysis.points if math.isfinite(m.figures["latency"])]
    xs, ys = [m.figures["latency"] for m in points], [m.figures[analysis.metric] for m in points]
    front, corners = pareto(xs, ys), hull(xs, ys)
    axes.step([xs[i] for i in front], [ys[i] for i in front], where="post", color="#888888", linewidth=1.0,
              label="Pareto front", zorder=0)
    axes.plot([xs[i] for i in corners], [ys[i] for i in corners], color="#bbbbbb", linewidth=1.0,
              linestyle="--", label="hull", zorder=0)


def acceptance_by_position(analysis: Analysis, stem: Path) -> bool:
    """Share of blocks whose first k drafted tokens were all accepted. False if no block was drafted."""
    figure, axes = plt.subplots(figsize=(7.2, 4.0))
    style, many, drawn = styles(analysis), several_settings(analysis), False
    for points in curves_of(analysis).values():
        for i, m in enumerate(points):
            gamma, blocks = m.point.gamma or 0, m.hist.sum()
            if not blocks or not gamma:
                continue
            share = [m.hist[k:].sum() / blocks for k in range(1, gamma + 1)]
            depth = 0.35 + 0.65 * (i + 1) / len(points)
            axes.plot(range(1, gamma + 1), share, markersize=3, linewidth=1.0, alpha=depth,
                      label=curve_title(m, many) if i == len(points) - 1 else None, **style[m.point.title])
            drawn = True
    axes.set_xlabel("drafted token of a block (larger α drawn stronger)")
    axes.set_ylabel("blocks that accept it")
    axes.set_ylim(0, 1)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    if drawn:
        save(figure, stem)
    else:
        plt.close(figure)
    return drawn


def draw_all(analysis: Analysis, folder: Path) -> list[tuple[str, Path]]:
    """[(title, stem)] of the pictures that were drawn."""
    out: list[tuple[str, Path]] = []
    if analysis.metric:
        for name, x, label in (("quality_latency", "latency", "latency per answer, verifier alone = 1"),
                               ("quality_rejection", "rejection", "rejection rate")):
            quality_against(analysis, x, label, folder / name)
            out.append((f"Quality against {label}", folder / name))
    if acceptance_by_position(analysis, folder / "acceptance"):
        out.append(("Acceptance by position in the block", folder / "acceptance"))
    return out
