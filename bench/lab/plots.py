"""The pictures of a report, each as PNG and SVG. Colour follows the rule in every picture of a report."""
from __future__ import annotations

import math
from collections import defaultdict
from pathlib import Path
from typing import Any, Iterator

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


def styles(analysis: Analysis) -> dict[str, dict[str, Any]]:
    titles = list(dict.fromkeys(m.point.title for m in analysis.points if m.point.method != "verifier"))
    return {t: {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[i % len(MARKERS)],
                "linestyle": "-" if i < len(COLOURS) else "--"} for i, t in enumerate(titles)}


def save(figure: Any, stem: Path) -> None:
    for suffix in (".svg", ".png"):
        figure.savefig(stem.with_suffix(suffix), bbox_inches="tight",
                       metadata={"Date": None} if suffix == ".svg" else {})
    plt.close(figure)


class Panels:
    """One panel for each temperature (a row) and gamma (a column) of a report; one legend of the rules."""

    def __init__(self, analysis: Analysis, size: tuple[float, float], by_row: bool) -> None:
        """size: of a single panel, in inches; by_row: rows differ in the scale of their y axis."""
        drafted = [m.point for m in analysis.points if m.point.method == "speculative"]
        self.temps = sorted({m.point.temp for m in analysis.points})
        self.gammas = sorted({p.gamma for p in drafted}, key=lambda g: (not isinstance(g, int), g)) or [None]
        rows, columns = len(self.temps), len(self.gammas)
        one = size if rows * columns == 1 else (2.6, 2.4)
        self.figure, self.axes = plt.subplots(
            rows, columns, squeeze=False, sharex=True, sharey="row" if by_row else True,
            figsize=(max(size[0], one[0] * columns), max(size[1], one[1] * rows)))
        self.labels: dict[str, Any] = {}  # of the legend: its handles

    def each(self, analysis: Analysis) -> Iterator[tuple[Any, float, list[list[Measured]]]]:
        """(axes, temperature, curves) of every panel. A method that drafts no blocks is in all of its
        temperature's."""
        for temp, row in zip(self.temps, self.axes):
            for gamma, axes in zip(self.gammas, row):
                if self.axes.size > 1:
                    axes.set_title(f"T = {temp:g}" + (f", γ = {gamma}" if gamma else ""), fontsize=8)
                yield axes, temp, [points for points in curves_of(analysis).values()
                                   if points[0].point.temp == temp and points[0].point.gamma in (gamma, None)]
                for handle, label in zip(*axes.get_legend_handles_labels()):
                    self.labels.setdefault(label, handle)

    def save(self, x: str, y: str, stem: Path) -> None:
        self.figure.supxlabel(x, fontsize=9)
        self.figure.supylabel(y, fontsize=9)
        self.figure.tight_layout()
        self.figure.legend(self.labels.values(), self.labels.keys(), fontsize=7, frameon=False,
                           loc="center left", bbox_to_anchor=(1.0, 0.5))
        save(self.figure, stem)


def quality_against(analysis: Analysis, x: str, label: str, stem: Path) -> None:
    """One line per curve; bars are the 95% intervals of both axes."""
    style, metric = styles(analysis), analysis.metric
    panels = Panels(analysis, (7.2, 4.4), by_row=True)
    for axes, temp, curves in panels.each(analysis):
        for points in curves:
            shown = [m for m in points if math.isfinite(m.figures[x])]
            if not shown:
                continue
            xs, ys = [m.figures[x] for m in shown], [m.figures[metric] for m in shown]
            bars = [[[max(0.0, v - m.interval(name)[0]) for v, m in zip(vs, shown)],
                     [max(0.0, m.interval(name)[1] - v) for v, m in zip(vs, shown)]]
                    for name, vs in ((x, xs), (metric, ys))]
            title = shown[0].point.title
            _, _, whiskers = axes.errorbar(xs, ys, xerr=bars[0], yerr=bars[1], label=title, markersize=4,
                                           linewidth=1.3, elinewidth=0.5, **style[title])
            for w in whiskers:
                w.set_alpha(0.3)  # a dozen curves of a dozen points: lines first
        verifier = analysis.verifier(temp)
        if verifier:
            axes.axhline(verifier.figures[metric], color="#30363d", linewidth=0.9, linestyle=":")
        if x.startswith("latency"):
            axes.axvline(1.0, color="#30363d", linewidth=0.9, linestyle=":")
            draw_front(axes, [m for points in curves for m in points] + ([verifier] if verifier else []),
                       metric)
    panels.save(label, analysis.metrics[0].title, stem)


def draw_front(axes: Any, measured: list[Measured], metric: str) -> None:
    points = [m for m in measured if math.isfinite(m.figures["latency"])]
    xs, ys = [m.figures["latency"] for m in points], [m.figures[metric] for m in points]
    front, corners = pareto(xs, ys), hull(xs, ys)
    axes.step([xs[i] for i in front], [ys[i] for i in front], where="post", color="#888888", linewidth=1.0,
              label="Pareto front", zorder=0)
    axes.plot([xs[i] for i in corners], [ys[i] for i in corners], color="#bbbbbb", linewidth=1.0,
              linestyle="--", label="hull", zorder=0)


def acceptance_by_position(analysis: Analysis, stem: Path) -> bool:
    """Share of blocks whose first k drafted tokens were all accepted. False if no block was drafted."""
    if not any(m.point.gamma and m.hist.sum() for m in analysis.points):
        return False
    style, panels = styles(analysis), Panels(analysis, (7.2, 4.0), by_row=False)
    for axes, _, curves in panels.each(analysis):
        for points in curves:
            for i, m in enumerate(points):
                blocks, gamma = m.hist.sum(), m.point.gamma or 0
                if gamma == "auto":  # as far as any block went
                    gamma = int(max(m.hist.nonzero()[0], default=0))
                if not blocks or not gamma:
                    continue
                share = [m.hist[k:].sum() / blocks for k in range(1, gamma + 1)]
                depth = 0.35 + 0.65 * (i + 1) / len(points)
                axes.plot(range(1, gamma + 1), share, markersize=3, linewidth=1.0, alpha=depth,
                          label=m.point.title if i == len(points) - 1 else None, **style[m.point.title])
        axes.set_ylim(0, 1)
        axes.xaxis.get_major_locator().set_params(integer=True)
    panels.save("drafted token of a block (larger α drawn stronger)", "blocks that accept it", stem)
    return True


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
