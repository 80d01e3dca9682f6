"""Curves of quality against relative latency: what a rule reaches along its alphas.

Between two neighbouring alphas the curve is the straight line, which mixing the two settings at random per
prompt reaches exactly in the mean. All functions take arrays of one curve in order of alpha.
"""
from __future__ import annotations

import math
from typing import Sequence

import numpy as np


def crossing(x0: float, y0: float, x1: float, y1: float, y: float) -> float | None:
    """Where the segment passes height y, strictly inside; None where it does not."""
    if (y0 - y) * (y1 - y) >= 0:
        return None
    return x0 + (y - y0) / (y1 - y0) * (x1 - x0)


def latency_at(latency: Sequence[float], quality: Sequence[float], target: float) -> float:
    """Least latency at which the curve has at least the target's quality; NaN where it never has."""
    reached = [x for x, y in zip(latency, quality) if y >= target]
    for i in range(len(latency) - 1):
        x = crossing(latency[i], quality[i], latency[i + 1], quality[i + 1], target)
        if x is not None:
            reached.append(x)
    return min(reached, default=math.nan)


def quality_within(latency: Sequence[float], quality: Sequence[float], most: float) -> float:
    """Best quality of the curve at no more than the latency; NaN where it is always slower."""
    reached = [y for x, y in zip(latency, quality) if x <= most]
    for i in range(len(latency) - 1):
        y = crossing(quality[i], latency[i], quality[i + 1], latency[i + 1], most)
        if y is not None:
            reached.append(y)
    return max(reached, default=math.nan)


def pareto(latency: Sequence[float], quality: Sequence[float]) -> list[int]:
    """Indices of the points that no other is both faster and better than, by latency."""
    order = sorted((i for i in range(len(latency)) if math.isfinite(latency[i]) and
                    math.isfinite(quality[i])),
                   key=lambda i: (latency[i], -quality[i], i))
    front: list[int] = []
    for i in order:
        if not front or quality[i] > quality[front[-1]]:
            front.append(i)
    return front


def hull(latency: Sequence[float], quality: Sequence[float]) -> list[int]:
    """Indices of the upper hull over the front: what mixtures of settings reach."""
    out: list[int] = []
    for i in pareto(latency, quality):
        while len(out) >= 2:
            a, b = out[-2], out[-1]
            turn = ((latency[b] - latency[a]) * (quality[i] - quality[a]) -
                    (quality[b] - quality[a]) * (latency[i] - latency[a]))
            if turn < 0:
                break
            out.pop()
        out.append(i)
    return out


def area(latency: Sequence[float], quality: Sequence[float], low: float, high: float) -> float:
    """Mean over latencies in [low, high] of the best quality that the hull reaches within that latency: 0
    below its fastest point, flat above its best. NaN for an empty range."""
    if not high > low:
        return math.nan
    corners = hull(latency, quality)
    if not corners:
        return math.nan
    xs, ys = [latency[i] for i in corners], [quality[i] for i in corners]
    total = 0.0
    for i in range(len(xs) - 1):
        a, b = max(xs[i], low), min(xs[i + 1], high)
        if b > a:
            total += 0.5 * (b - a) * float(np.interp(a, xs, ys) + np.interp(b, xs, ys))
    if high > xs[-1]:
        total += (high - max(xs[-1], low)) * ys[-1]
    return total / (high - low)
