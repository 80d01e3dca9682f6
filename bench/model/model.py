"""Expected times of T5 blocks and of the accept step on GPUs: a model, not a measurement.

A kernel costs a gap, its dependent trips to memory, its arithmetic and its bytes:

    t = gap + trips * trip + alu / alu_rate + bytes / bandwidth

Trips are counted from the kernels' text (an address that comes from memory is one trip more), bytes are those of the contracts.
What the model leaves out: contention in L2, clocks that fall under load, tails of uneven blocks. Each constant says where it comes
from; bench/gpu.sh measures what they stand for, and its results replace this table.

    python3 bench/model/model.py            prints the tables of expected.md
"""
from dataclasses import dataclass, field, replace


@dataclass
class Gpu:
    name: str
    bandwidth: float       # bytes/us that a copy reaches: 3.0 and 4.35 TB/s (shared notes on H100, H200)
    l2: float = 5.5e6      # bytes/us of hits: published microbenchmarks of H100, about twice HBM
    trip: float = 0.2      # us from load to use: an L2 hit takes some 270 cycles
    far: float = 0.5       # us, from HBM
    gap: float = 0.42      # us between dependent kernels of a graph: median of a good one, programmatic launch
    team_gap: float = 1.0  # us before a cooperative kernel, which starts when all before it has ended
    lanes: float = 132 * 128 * 1.75e3  # f32 instructions per us


# Every latency has a range: a quiet machine, and one where loads queue and launches are as slow as in an ordinary graph.
GPUS = [Gpu("H100", 3.0e6), Gpu("H200", 4.35e6)]


def slow(g):
    return replace(g, trip=0.4, far=0.8, gap=0.8, team_gap=1.5)


@dataclass
class T5:
    name: str
    dim: int
    ff: int
    heads: int
    layers: int
    vocab: int = 32128
    inner: int = field(init=False)

    def __post_init__(self):
        self.inner = 64 * self.heads


SMALL, LARGE, XL = T5("small", 512, 1024, 6, 8), T5("large", 1024, 2816, 16, 24), T5("XL", 2048, 5120, 32, 24)


# ---- kernels: (name, us) ------------------------------------------------------------------------------------------

def linear(g, n, k, rows, gated=False):
    """Weights are under way before the kernel ahead has ended; rows in, sums over warps, result out. Split: the slices' records go out
    and come back, with a counter in between."""
    weights = 2 * n * k * (2 if gated else 1)
    trips = 2 + (2 if k >= 2048 else 0)
    # What was fetched during the gap is not waited for again: at most a ring of 64 KB in each of 264 blocks.
    early = min(weights, 264 * 65536, g.gap * g.bandwidth)
    return g.gap + trips * g.trip + 0.3 + (weights - early) / g.bandwidth + 4 * rows * (n + k) / g.l2


def attention(g, heads, keys, rows):
    """Row facts, page table, keys, values (half hidden behind the scores), result."""
    kv = 2 * 2 * 64 * heads * keys
    split = keys > 128
    return g.gap + (3 + (2 if split else 0)) * g.trip + 1.5 * g.far + 0.5 + kv / g.bandwidth + 4 * rows * 64 * heads * 2 / g.l2


def short(g):
    """row_keys, embed, kv_append, loop_rows: an address, a look-up, a store."""
    return g.gap + 3 * g.trip


def team(g, rows, vocab, reads, passes, instructions, extra_trips=2):
    """Passes over rows that lie in L2; each ends with a barrier of the team (an atomic there and back, two trips) and a merge. `reads`: rows
    of logits read in all; `instructions`: of all passes, for an id of a row."""
    return (g.team_gap + (passes * 4 + extra_trips) * g.trip + 4 * vocab * reads / g.l2 + rows * vocab * instructions / g.lanes)


# Instructions for one id, read off the source: wf_exp 14, its sum and product 6, loads and bounds 6; a pair of rows twice that and 15
# for the rule; a race: Philox 90 for four, -log1p 30, a division 10.
ROW, PAIR, RACE = 26, 70, 90


def sample(g, vocab, rows=1):
    """Sums, then the race, each a pass; extents from the head spare a third."""
    return team(g, rows, vocab, 2 * rows, 2, ROW + RACE)


def accept_step(g, vocab, gamma=5, pair_passes=1):
    """row_stats; passes over pairs of rows; the decision and a race over one pair."""
    stats = team(g, gamma + 1, vocab, gamma + 1, 1, ROW)
    rows = team(g, gamma, vocab, 2 * gamma * pair_passes, pair_passes, PAIR * pair_passes)
    close = team(g, 1, vocab, 2, 1, PAIR + RACE, 6)
    return stats + rows + close


def layer(g, m, rows, n_self, n_cross):
    return (linear(g, 3 * m.inner, m.dim, rows) + short(g) + attention(g, m.heads, n_self, rows) + linear(g, m.dim, m.inner, rows) +
            linear(g, m.inner, m.dim, rows) + attention(g, m.heads, n_cross, rows) + linear(g, m.dim, m.inner, rows) +
            linear(g, m.ff, m.dim, rows, gated=True) + linear(g, m.dim, m.ff, rows))


KERNELS_OF_LAYER = 9


def forward(g, m, rows, n_self, n_cross):
    """Rows of the loop, row_keys, embed, the layers, the head."""
    return 3 * short(g) + m.layers * layer(g, m, rows, n_self, n_cross) + linear(g, m.vocab, m.dim, rows)


def bytes_of(m, n_self, n_cross):
    weights = m.layers * (6 * m.inner * m.dim + 3 * m.ff * m.dim) + m.vocab * m.dim
    return 2 * weights + m.layers * 4 * m.inner * (n_self + n_cross)


# ---- tables -------------------------------------------------------------------------------------------------------

def block(g, drafter, verifier, gamma, n_self=64, n_cross=1024):
    """us: draft steps, verify, accept step, all; the floor by bytes alone; kernels."""
    draft = gamma * (forward(g, drafter, 1, n_self, n_cross) + sample(g, drafter.vocab))
    verify = forward(g, verifier, gamma + 1, n_self, n_cross)
    accept = accept_step(g, verifier.vocab, gamma)
    floor = (gamma * bytes_of(drafter, n_self, n_cross) + bytes_of(verifier, n_self, n_cross)) / g.bandwidth
    kernels = gamma * (KERNELS_OF_LAYER * drafter.layers + 5) + 3 + KERNELS_OF_LAYER * verifier.layers + 4 + 3
    return draft, verify, accept, draft + verify + accept, floor, kernels


def table(header, rows):
    print("| " + " | ".join(header) + " |")
    print("|" + "---|" * len(header))
    for row in rows:
        print("| " + " | ".join(str(c) for c in row) + " |")
    print()


def span(g, us, digits=1):
    """What a function of a GPU gives for both ends of its latencies."""
    return f"{us(g):,.{digits}f}–{us(slow(g)):,.{digits}f}"


def products():
    shapes = (("4 MB", 2048, 1024, False), ("17 MB", 4096, 2048, False), ("50 MB", 6144, 4096, False), ("262 MB", 32000, 4096, False),
              ("large wi", 2816, 1024, True), ("XL wo", 2048, 5120, False))
    for g in GPUS:
        for name, n, k, gated in shapes:
            floor = 2 * n * k * (2 if gated else 1) / g.bandwidth
            shares = sorted(100 * floor / linear(x, n, k, 6, gated) for x in (g, slow(g)))
            yield [g.name, name, span(g, lambda x: linear(x, n, k, 1, gated)), span(g, lambda x: linear(x, n, k, 6, gated)),
                   f"{linear(g, n, k, 6, gated) / linear(g, n, k, 1, gated):.3f}", f"{shares[0]:.0f}–{shares[1]:.0f}"]


def steps():
    for g in GPUS:
        for vocab in (32128, 256128):
            for name, passes in (("exact, opt", 1), ("token-v2", 2)):
                yield [g.name, f"6 × {vocab:,}", name, span(g, lambda x: accept_step(x, vocab, 5, passes))]


def blocks():
    for g in GPUS:
        for verifier in (LARGE, XL):
            for gamma in (1, 3, 5, 7):
                def part(i):
                    return span(g, lambda x: block(x, SMALL, verifier, gamma)[i], 0)
                floor, kernels = block(g, SMALL, verifier, gamma)[4:]
                yield [g.name, f"small → {verifier.name}", gamma, part(0), part(1), part(2), f"**{part(3)}**", f"{floor:.0f}", kernels]


def main():
    print("Made by `python3 bench/model/model.py`: what a model expects, nothing of it measured. A range is one of latencies (README.md).\n")
    print("## Products of decode rows, in a chain of dependent kernels\n")
    table(["GPU", "matrix", "µs, M = 1", "µs, M = 6", "ratio", "% of copy, M = 6"], products())
    print("## Accept step (row_stats, accept rows, close), γ = 5, no truncation\n")
    table(["GPU", "logits", "rule", "µs"], steps())
    print("## T5 v1.1 blocks, one session, encoder 1,024, 64 tokens behind\n")
    table(["GPU", "pair", "γ", "µs: drafts", "verify", "accept", "block", "floor by bytes", "kernels"], blocks())


if __name__ == "__main__":
    main()
