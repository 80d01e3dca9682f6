"""Products of a mixture's experts (groups of rows, kernels/linear/README.md) for prompts and batches, by
tiles of few rows and of many. All predicted.

Each row goes to `used` of the experts, all alike, so an expert's rows are binomial. The times are
expectations over them, without what one expert with far more rows than the others adds. A tile of few rows
has 16 (bf16) or 8 (Q4_K). The height of a tile of many follows from the mean, as in
kernels/linear/linear.cuh.
"""
from dataclasses import dataclass
from math import comb

import quant
from kernels import short, units_of, work
from sessions import TILE, WIDE


@dataclass
class Mixture:
    name: str
    dim: int
    ff: int
    layers: int
    experts: int
    used: int


MIXTURES = (Mixture("Mixtral 8x7B", 4096, 14336, 32, 8, 2), Mixture("gpt-oss 20B", 2880, 2880, 24, 32, 4),
            Mixture("Qwen3 30B-A3B", 2048, 768, 48, 128, 8))
POSITIONS = (32, 64, 128, 256)
OCTET = 8


def products(m):
    return (m.ff, m.dim, True), (m.dim, m.ff, False)


def counts(m, rows):
    """[(rows of an expert, probability)]."""
    p = m.used / m.experts
    return [(c, comb(rows, c) * p**c * (1 - p)**(rows - c)) for c in range(1, rows + 1)]


def height(mean, heights):
    """Rows of a tile: twice the mean is what most groups have at most."""
    return next((h for h in heights if 2 * mean <= h), 128)


def expected(m, rows, f):
    return m.experts * sum(p * f(c) for c, p in counts(m, rows))


def tiles(c, of):
    return -(-c // of)


def few_bf16(g, m, n, k, rows, gated):
    weights, units = 2 * n * k * (2 if gated else 1), units_of(n, gated)
    hbm = weights * expected(m, rows, lambda c: 1)
    l2 = expected(m, rows, lambda c: tiles(c, TILE) * weights + 4 * c * k * units)
    return g.gap + 2 * g.trip + max(hbm / g.bandwidth, l2 / g.l2)


def many_bf16(g, m, n, k, rows, gated):
    weights, outputs = 2 * n * k * (2 if gated else 1), n * (2 if gated else 1)
    tall = height(rows * m.used / m.experts, (32, 64))
    wide = 128 if tall == 128 else 64
    hbm = weights * expected(m, rows, lambda c: 1)
    l2 = expected(m, rows, lambda c: tiles(c, tall) * weights + 2 * c * k * outputs / wide)
    flops = weights * expected(m, rows, lambda c: tiles(c, tall // 2) * (tall // 2))  # warps have no less
    inputs = short(g) + rows * m.used * k * 6 / g.l2
    return inputs + g.gap + 2 * g.trip + max(hbm / g.bandwidth, l2 / g.l2, flops / WIDE["mma.sync"])


def few_quant(g, m, n, k, rows, gated):
    weights = n * k * (2 if gated else 1)
    share = quant.panels_of(n, gated, min(m.experts, rows * m.used))
    stored = weights * quant.BITS / 8
    round_ = quant.ROUND / share

    def slots(c):
        return weights / quant.UNIT * tiles(c, OCTET) * (round_ + quant.DECODE + quant.TERM)
    hbm = stored * expected(m, rows, lambda c: 1)
    l2 = expected(m, rows, lambda c: tiles(c, OCTET) * stored + 4 * c * weights / 16 / share)
    return (g.gap + 2 * g.trip + work(g, quant.INSTRUCTIONS) +
            max(hbm / g.bandwidth, l2 / g.l2, expected(m, rows, slots) / quant.issue(g)))


def many_quant(g, m, n, k, rows, gated):
    weights = n * k * (2 if gated else 1)
    stored = weights * quant.BITS / 8
    mean = rows * m.used / m.experts
    tall = 32 if 2 * mean <= 64 else 128

    def slots(c):
        return weights / quant.UNIT * (tiles(c, tall) * quant.DECODE + tiles(c, OCTET) * quant.TERM)
    hbm = stored * expected(m, rows, lambda c: 1)
    l2 = expected(m, rows, lambda c: tiles(c, tall) * stored + weights / 128 * 1.4 * c)
    inputs = short(g) + rows * m.used * k * 5.4 / g.l2
    return (inputs + g.gap + 2 * g.trip + work(g, quant.INSTRUCTIONS) +
            max(hbm / g.bandwidth, l2 / g.l2, expected(m, rows, slots) / quant.issue(g)))


HEADER = ["GPU", "model", "positions", "rows of an expert", "bf16, ms: few rows a tile", "many", "Q4_K: few",
          "many"]


def rows(gpus):
    for g in gpus:
        for m in MIXTURES:
            for n in POSITIONS:
                ms = [1e-3 * m.layers * sum(f(g, m, *shape[:2], n, shape[2]) for shape in products(m))
                      for f in (few_bf16, many_bf16, few_quant, many_quant)]
                yield [g.name, m.name, n, f"{n * m.used / m.experts:g}", *(f"{x:.1f}" for x in ms)]
