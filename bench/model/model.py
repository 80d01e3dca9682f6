"""Expected times of blocks and of the accept step on GPUs, for pairs of T5 and of decoder-only models: a
model, not a measurement.

A kernel costs a gap, its dependent trips to memory, its arithmetic and its bytes:

    t = gap + trips * trip + alu / alu_rate + bytes / bandwidth

Trips are counted in the kernels' source (an address that comes from memory is one more trip); bytes are those
of the contracts. The model leaves out contention in L2, clocks that fall under load and tails of uneven
blocks. Each constant names its source; bench/gpu.sh measures the real values, and its results replace this
table.

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
    gap: float = 0.42  # us between dependent kernels of a graph: median of a good one, programmatic launch
    team_gap: float = 1.0  # us before a cooperative kernel, which starts when all before it has ended
    lanes: float = 132 * 128 * 1.75e3  # f32 instructions per us


# Every latency has a range: a quiet machine, and one where loads queue and launches are as slow as in an
# ordinary graph.
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


@dataclass
class Decoder:
    name: str
    dim: int
    ff: int
    layers: int
    heads: int
    heads_kv: int
    head_dim: int
    vocab: int
    post_norms: bool = False  # Gemma: a norm after each sub-layer, in its own kernel
    window: int = 0           # of the sliding layers
    pattern: int = 1          # every pattern-th layer does not

    def keys(self, layer, context):
        slides = self.window and (layer + 1) % self.pattern
        return min(context, self.window) if slides else context


SMALL, LARGE, XL = T5("small", 512, 1024, 6, 8), T5("large", 1024, 2816, 16, 24), T5("XL", 2048, 5120, 32, 24)
XXL = T5("XXL", 4096, 10240, 64, 24)

GEMMA2 = dict(vocab=256000, post_norms=True, window=4096, pattern=2)
GEMMA3 = dict(vocab=262144, post_norms=True, pattern=6)
GEMMA2_2B = Decoder("Gemma 2 2B", 2304, 9216, 26, 8, 4, 256, **GEMMA2)
GEMMA2_9B = Decoder("9B", 3584, 14336, 42, 16, 8, 256, **GEMMA2)
GEMMA2_27B = Decoder("27B", 4608, 36864, 46, 32, 16, 128, **GEMMA2)
GEMMA3_270M = Decoder("Gemma 3 270M", 640, 2048, 18, 4, 1, 256, window=512, **GEMMA3)
GEMMA3_1B = Decoder("Gemma 3 1B", 1152, 6912, 26, 4, 1, 256, window=512, **GEMMA3)
GEMMA3_4B = Decoder("4B", 2560, 10240, 34, 8, 4, 256, window=1024, **GEMMA3)
GEMMA3_27B = Decoder("27B", 5376, 21504, 62, 32, 16, 128, window=1024, **GEMMA3)
LLAMA3_1B = Decoder("Llama 3 1B", 2048, 8192, 16, 32, 8, 64, 128256)
LLAMA3_8B = Decoder("8B", 4096, 14336, 32, 32, 8, 128, 128256)
LLAMA3_70B = Decoder("70B", 8192, 28672, 80, 64, 8, 128, 128256)
QWEN_05B = Decoder("Qwen2.5 0.5B", 896, 4864, 24, 14, 2, 64, 151936)
QWEN_7B = Decoder("7B", 3584, 18944, 28, 28, 4, 128, 152064)
QWEN_32B = Decoder("32B", 5120, 27648, 64, 40, 8, 128, 152064)

# Targets of some blocks at gamma 5 and a context of 1k: ms on H100 and on H200.
ASKED = {("Gemma 2 2B", "27B"): {"H100": 29.5, "H200": 21.0}}


# ---- kernels: (name, us) -----------------------------------------------------------------------------------

def units_of(n, gated):
    return -(-(-(-n // 16) * (2 if gated else 1)) // 4)


def slices(n, k, gated, inputs):
    """Blocks that share the inputs of a product: kernels/linear/linear_tiling.h. inputs: ranks share the
    matrix along them, in eight segments."""
    if k < 2048:
        return 1
    if inputs:
        return 8 * max(1, min(-(-132 // units_of(n, gated)), k // 8 // 1024))
    units = units_of(-(-n // 8), gated)
    split = min(-(-132 // units), k // 512)
    return max(split, -(-k // 4096)) if units < 4 * 264 else split


def linear(g, n, k, rows, gated=False, inputs=False, ranks=1):
    """Weights are requested before the preceding kernel has ended; rows in, sums over warps, result out.
    Split: the slices' records go out and come back, with a counter in between. ranks: one of so many, which
    split the matrix along its inputs or its outputs; the plan is that of the whole."""
    split = slices(n, k, gated, inputs)
    if inputs:
        k, split = -(-k // ranks), -(-split // ranks)
    else:
        n = -(-n // ranks)
    weights = 2 * n * k * (2 if gated else 1)
    records = 2 * 4 * split * units_of(n, gated) * rows * 65 if split > 1 else 0
    trips = 2 + (2 if split > 1 else 0)
    # Data fetched during the gap costs no second wait: at most a ring of 64 KB in each of 264 blocks.
    early = min(weights, 264 * 65536, g.gap * g.bandwidth)
    return (g.gap + trips * g.trip + 0.3 + (weights - early) / g.bandwidth +
            (4 * rows * (n + k) + records) / g.l2)


def attention(g, heads, keys, rows, heads_kv=None, head_dim=64):
    """Row facts, page table, keys, values (half hidden by the scores), result. A block takes 128 keys of a
    head of keys for up to 8 queries: K and V of a large head come in more than one batch of the 32 KB that
    are under way, and a query costs an instruction for an element of either, which a tile shares two more
    with."""
    heads_kv = heads_kv or heads
    queries = rows * heads // heads_kv
    tile = 2 if queries <= 2 else 8
    tiles, parts = -(-queries // tile), -(-keys // 128)
    kv = 2 * 2 * head_dim * heads_kv * keys
    batches = 2 * 2 * 128 * head_dim / 65536
    turns = -(-parts * heads_kv * tiles // 132)
    work = turns * 2 * (tile + 2) * 128 * head_dim / (g.lanes / 132)
    split = keys > 128
    return (g.gap + (3 + (2 if split else 0)) * g.trip + (0.5 + 2 * batches) * g.far + max(0.5, work) +
            kv / g.bandwidth +
            4 * rows * head_dim * heads * 2 / g.l2)


def short(g):
    """row_keys, embed, kv_append, loop_rows: an address, a look-up, a store."""
    return g.gap + 3 * g.trip


def turn(g):
    """rope: a row, its angle's frequency and its place; sines and norms of a head."""
    return short(g) + 0.3


def norm(g, rows, dim):
    """rmsnorm on its own: rows in, a sum over warps, rows added."""
    return short(g) + 0.2 + 12 * rows * dim / g.l2


def team(g, rows, vocab, reads, passes, instructions, extra_trips=2):
    """Passes over rows in L2; each ends with a barrier of the team (an atomic there and back, two trips) and
    a merge. `reads`: rows of logits read in all; `instructions`: of all passes, for an id of a row."""
    return (g.team_gap + (passes * 4 + extra_trips) * g.trip + 4 * vocab * reads / g.l2 +
            rows * vocab * instructions / g.lanes)


# Latencies of an exchange over NVLink, us by ranks: one-shot exchanges of other projects (the specification's
# section 7). Bytes leave at 450 GB/s: half of the 900 that an H100's data sheet gives for both directions.
EXCHANGE, LINK = {1: 0.0, 2: 3.6, 4: 4.0, 8: 4.6}, 450e3


def exchange(bytes_of_rank, ranks):
    """us until every rank has what each pushes to all others, or rank 0 what they push to it; one rank has
    nobody to push to."""
    return EXCHANGE[ranks] + bytes_of_rank * (ranks - 1) / LINK


def rows_of(m, rows):
    """Bytes of rows as wide as a model."""
    return 4 * rows * m.dim


# Instructions for one id, read off the source: wf_exp 14, its sum and product 6, loads and bounds 6; a pair
# of rows twice that and 15 for the rule; a race: Philox 90 for four, -log1p 30, a division 10.
ROW, PAIR, RACE, BOUNDS = 26, 70, 90, 6


def sample(g, vocab, rows=1, extents=True):
    """Sums, then the race, each a pass; extents from the head spare a third."""
    passes = 2 + (not extents)
    return team(g, rows, vocab, passes * rows, passes, ROW + RACE + BOUNDS * (not extents))


def accept_step(g, vocab, gamma=5, pair_passes=1, extents=True):
    """row_stats; passes over pairs of rows; the decision and a race over one pair."""
    passes = 1 + (not extents)
    stats = team(g, gamma + 1, vocab, passes * (gamma + 1), passes, ROW + BOUNDS * (not extents))
    rows = team(g, gamma, vocab, 2 * gamma * pair_passes, pair_passes, PAIR * pair_passes)
    close = team(g, 1, vocab, 2, 1, PAIR + RACE, 6)
    return stats + rows + close


def layer(g, m, rows, n_self, n_cross, ranks=1):
    heads = -(-m.heads // ranks)
    return (linear(g, 3 * m.inner, m.dim, rows, ranks=ranks) + short(g) +
            attention(g, heads, n_self, rows) +
            linear(g, m.dim, m.inner, rows, inputs=True, ranks=ranks) +
            linear(g, m.inner, m.dim, rows, ranks=ranks) + attention(g, heads, n_cross, rows) +
            linear(g, m.dim, m.inner, rows, inputs=True, ranks=ranks) +
            linear(g, m.ff, m.dim, rows, gated=True, ranks=ranks) +
            linear(g, m.dim, m.ff, rows, inputs=True, ranks=ranks) + 3 * exchange(rows_of(m, rows), ranks))


KERNELS_OF_LAYER = 9


def ends(g, m, rows, ranks=1):
    """Rows of the loop, row_keys, embed; the head. Ranks hand around the rows of the embedding."""
    return 3 * short(g) + exchange(rows_of(m, rows), ranks) + linear(g, m.vocab, m.dim, rows, ranks=ranks)


def forward(g, m, rows, n_self, n_cross, ranks=1, body=None):
    """The layers between their ends. body: ranks that share the layers, where they are not those of the
    vocabulary."""
    return ends(g, m, rows, ranks) + m.layers * layer(g, m, rows, n_self, n_cross, body or ranks)


def bytes_of(m, n_self, n_cross):
    weights = m.layers * (6 * m.inner * m.dim + 3 * m.ff * m.dim) + m.vocab * m.dim
    return 2 * weights + m.layers * 4 * m.inner * (n_self + n_cross)


# ---- decoder-only models: models/decoder.c -----------------------------------------------------------------

def decoder_kernels(g, m, rows, keys, ranks=1):
    """(name, us) of a layer, in order, on one of `ranks`."""
    inner, inner_kv = m.heads * m.head_dim, m.heads_kv * m.head_dim
    heads, heads_kv = -(-m.heads // ranks), -(-m.heads_kv // ranks)
    reduce = [("reduce", exchange(rows_of(m, rows), ranks))] if ranks > 1 else []
    post = [("norm", norm(g, rows, m.dim))] if m.post_norms else []
    return [("q, k, v", linear(g, inner + 2 * inner_kv, m.dim, rows, ranks=ranks)), ("rope", turn(g)),
            ("append", short(g)), ("attention", attention(g, heads, keys, rows, heads_kv, m.head_dim)),
            ("o", linear(g, m.dim, inner, rows, inputs=True, ranks=ranks)), *reduce, *post,
            ("gate, up", linear(g, m.ff, m.dim, rows, gated=True, ranks=ranks)),
            ("down", linear(g, m.dim, m.ff, rows, inputs=True, ranks=ranks)), *reduce,
            *post]


def decoder_layer(g, m, rows, keys, ranks=1):
    return sum(us for _, us in decoder_kernels(g, m, rows, keys, ranks))


def decoder_forward(g, m, rows, context, ranks=1, body=None):
    return ends(g, m, rows, ranks) + sum(decoder_layer(g, m, rows, m.keys(i, context), body or ranks)
                                         for i in range(m.layers))


def decoder_bytes(m, context):
    inner, inner_kv = m.heads * m.head_dim, m.heads_kv * m.head_dim
    weights = m.layers * ((2 * inner + 2 * inner_kv) * m.dim + 3 * m.ff * m.dim) + m.vocab * m.dim
    return 2 * weights + sum(4 * inner_kv * m.keys(i, context) for i in range(m.layers))


def kernels_of(gamma, drafter_layers, verifier_layers, of_drafter, of_verifier):
    """Of a block: rows of the loop, row_keys, embed, layers, head and sample of each draft; the first one's
    two rows are cut to one before its head by three; a verify pass without sample; row_stats, accept rows,
    close. tests/bench/test_kernels_of_block.c counts them."""
    return gamma * (of_drafter * drafter_layers + 5) + 3 + of_verifier * verifier_layers + 4 + 3


def decoder_block(g, drafter, verifier, gamma, context=1024):
    draft = gamma * (decoder_forward(g, drafter, 1, context) + sample(g, drafter.vocab)) + 3 * short(g)
    verify = decoder_forward(g, verifier, gamma + 1, context)
    accept = accept_step(g, verifier.vocab, gamma)
    floor = (gamma * decoder_bytes(drafter, context) + decoder_bytes(verifier, context)) / g.bandwidth
    of_layer = [len(decoder_kernels(g, m, 1, context)) for m in (drafter, verifier)]
    kernels = kernels_of(gamma, drafter.layers, verifier.layers, *of_layer)
    return draft, verify, accept, draft + verify + accept, floor, kernels


# ---- several GPUs ------------------------------------------------------------------------------------------

def pass_of(g, m, rows, ranks=1, body=None):
    """A call of a model where the tables of blocks have it: 64 tokens and 1,024 of the source, or 1,024."""
    if isinstance(m, T5):
        return forward(g, m, rows, 64, 1024, ranks, body)
    return decoder_forward(g, m, rows, 1024, ranks, body)


def weights_of(m):
    """Bytes of weights that a pass reads: no encoder, and no embedding that is not the head too."""
    return bytes_of(m, 0, 0) if isinstance(m, T5) else decoder_bytes(m, 0)


def on_rank_0(g, drafter, verifier, gamma, ranks):
    """What the code does with logits, us: rank 0 gets them all; it draws and accepts as on one GPU, without
    extents, since no head sees whole rows; and it tells the others the rows of each call, and the end."""
    gets = gamma * exchange(4 * drafter.vocab // ranks, ranks)
    gets += exchange(4 * (gamma + 1) * verifier.vocab // ranks, ranks)
    alone = ranks == 1
    steps = gamma * sample(g, drafter.vocab, extents=alone)
    steps += accept_step(g, verifier.vocab, gamma, extents=alone)
    tells = gamma * exchange(16, ranks) + exchange(16 * (gamma + 1), ranks) + exchange(4, ranks)
    return gets, steps, tells


def on_all_ranks(g, drafter, verifier, gamma, ranks, passes=True):
    """What the specification would do, us: each rank draws and accepts over its ids, and statistics of their
    chunks go around: 24 KB of a verifier's six rows of 256,000 ids, once after its head and for seven passes;
    4 KB of a drafter's row, once and for three. passes: with those that steps need in between."""
    pushes = (4 if passes else 1) * gamma * exchange(16 * drafter.vocab // 1024, ranks)
    pushes += (8 if passes else 1) * exchange(16 * (gamma + 1) * verifier.vocab // 1024, ranks)
    steps = gamma * sample(g, drafter.vocab // ranks) + accept_step(g, verifier.vocab // ranks, gamma)
    return pushes, steps


def ranks_block(g, drafter, verifier, gamma, ranks, shared):
    """us of a block on `ranks`; shared: the drafter's layers are shared out, else whole on each."""
    draft = gamma * pass_of(g, drafter, 1, ranks, ranks if shared else 1)
    return (draft + 3 * short(g) + pass_of(g, verifier, gamma + 1, ranks) +
            sum(on_rank_0(g, drafter, verifier, gamma, ranks)))


def emitted(gamma, accepted):
    """Tokens of a block, each draft being accepted with this probability: the prefix, and one more."""
    return sum(accepted**i for i in range(gamma + 1))


def partial_sums(m, rows, ranks, steps):
    """us of a prompt's exchange of partial sums. One step: each rank pushes all to every other. Two: to each
    its columns, then the sums of its own columns to all. The code goes by rows that a slice of 4 MiB holds
    (host/deck/plan.c)."""
    at_once = 2**20 // m.dim
    parts = [min(at_once, rows - row) for row in range(0, rows, at_once)]
    return sum(steps * exchange(rows_of(m, part) / (ranks if steps == 2 else 1), ranks) for part in parts)


# ---- tables ------------------------------------------------------------------------------------------------

def block(g, drafter, verifier, gamma, n_self=64, n_cross=1024):
    """us: draft steps, verify, accept step, all; the floor by bytes alone; kernels."""
    draft = gamma * (forward(g, drafter, 1, n_self, n_cross) + sample(g, drafter.vocab))
    verify = forward(g, verifier, gamma + 1, n_self, n_cross)
    accept = accept_step(g, verifier.vocab, gamma)
    floor = (gamma * bytes_of(drafter, n_self, n_cross) + bytes_of(verifier, n_self, n_cross)) / g.bandwidth
    kernels = kernels_of(gamma, drafter.layers, verifier.layers, KERNELS_OF_LAYER, KERNELS_OF_LAYER)
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
    shapes = (("4 MB", 2048, 1024, False), ("17 MB", 4096, 2048, False), ("50 MB", 6144, 4096, False),
              ("262 MB", 32000, 4096, False), ("large wi", 2816, 1024, True), ("XL wo", 2048, 5120, False))
    for g in GPUS:
        for name, n, k, gated in shapes:
            floor = 2 * n * k * (2 if gated else 1) / g.bandwidth
            def us(x, rows):
                return linear(x, n, k, rows, gated, inputs=name.endswith("wo"))
            shares = sorted(100 * floor / us(x, 6) for x in (g, slow(g)))
            yield [g.name, name, span(g, lambda x: us(x, 1)), span(g, lambda x: us(x, 6)),
                   f"{us(g, 6) / us(g, 1):.3f}",
                   f"{shares[0]:.0f}–{shares[1]:.0f}"]


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
                yield [g.name, f"small → {verifier.name}", gamma, part(0), part(1), part(2), f"**{part(3)}**",
                       f"{floor:.0f}", kernels]


PAIRS = ((GEMMA2_2B, GEMMA2_9B), (GEMMA2_2B, GEMMA2_27B), (LLAMA3_1B, LLAMA3_8B), (QWEN_05B, QWEN_7B),
         (QWEN_05B, QWEN_32B), (GEMMA3_270M, GEMMA3_4B), (GEMMA3_1B, GEMMA3_27B))


def decoder_blocks():
    for g in GPUS:
        for drafter, verifier in PAIRS:
            def part(i, ms):
                return 1e-3 * decoder_block(ms, drafter, verifier, 5)[i]
            floor, kernels = decoder_block(g, drafter, verifier, 5)[4:]
            asked = ASKED.get((drafter.name, verifier.name), {}).get(g.name)
            yield [g.name, f"{drafter.name} → {verifier.name}", span(g, lambda x: part(0, x), 2),
                   span(g, lambda x: part(1, x), 2), span(g, lambda x: 1e3 * part(2, x), 0),
                   f"**{span(g, lambda x: part(3, x), 1)}**", f"{1e-3 * floor:.1f}",
                   f"≤ {asked}" if asked else "", kernels]


# An assumed gap, between that of a quiet machine and that of slow().
ON_RANKS = replace(GPUS[0], gap=0.7)
CAPACITY = 80e9  # bytes of an H100
RANKS, GAMMA, ACCEPTED, CHUNK = (1, 2, 4, 8), 5, 0.8, 256
RANKS_PAIRS = ((GEMMA2_2B, GEMMA2_27B), (QWEN_05B, QWEN_32B), (LLAMA3_1B, LLAMA3_70B), (SMALL, XXL),
               (SMALL, XL))


def pair_name(drafter, verifier):
    return f"{'T5 ' * isinstance(drafter, T5)}{drafter.name} → {verifier.name}"


def ranks_blocks():
    for drafter, verifier in RANKS_PAIRS:
        for shared in (False, True):
            ms = [1e-3 * ranks_block(ON_RANKS, drafter, verifier, GAMMA, r, shared) for r in RANKS]
            fits = [weights_of(drafter) / (r if shared else 1) + weights_of(verifier) / r < CAPACITY
                    for r in RANKS]
            yield [pair_name(drafter, verifier), "shared out" if shared else "whole on each",
                   *(f"{t:.2f}" if fit else f"({t:.2f})" for t, fit in zip(ms, fits)),
                   ", ".join(f"{ms[0] / t:.2f}" for t in ms[1:]),
                   ", ".join(f"{1e3 * emitted(GAMMA, ACCEPTED) / t:,.0f}" for t in ms)]


def ranks_logits():
    for pair in RANKS_PAIRS:
        for ranks in RANKS[1:]:
            us = min(ranks_block(ON_RANKS, *pair, GAMMA, ranks, shared) for shared in (False, True))
            gets, steps, tells = on_rank_0(ON_RANKS, *pair, GAMMA, ranks)
            often, shares = on_all_ranks(ON_RANKS, *pair, GAMMA, ranks)
            once, _ = on_all_ranks(ON_RANKS, *pair, GAMMA, ranks, passes=False)
            more = [gets + steps + tells - shares - pushes for pushes in (once, often)]
            yield [pair_name(*pair), ranks, f"{gets:.0f} ({100 * gets / us:.1f}%)", f"{steps:.0f}",
                   f"{tells:.0f}", f"{shares:.0f}", f"{once:.0f}", f"{often:.0f}",
                   *(f"{m:+.0f} ({100 * m / us:+.1f}%)" for m in more)]


def ranks_prompts():
    for name, m in (("Gemma 2 27B", GEMMA2_27B), ("Qwen2.5 32B", QWEN_32B)):
        for ranks in RANKS[1:]:
            one, two = (partial_sums(m, CHUNK, ranks, steps) for steps in (1, 2))
            sums = 2 * (m.layers - 1)  # a prompt's last layer ends with its keys and values
            yield [name, ranks, f"{one:.0f}", f"{two:.0f}", sums,
                   f"{1e-3 * sums * one:.1f}", f"{1e-3 * sums * two:.1f}"]


def decoder_layers():
    for g in GPUS:
        for m, rows in ((GEMMA2_2B, 1), (GEMMA2_27B, 6)):
            fast, late = decoder_kernels(g, m, rows, 1024), decoder_kernels(slow(g), m, rows, 1024)
            floor = decoder_bytes(replace(m, layers=1, vocab=0), 1024) / g.bandwidth
            yield [g.name, f"{m.name.removeprefix('Gemma 2 ')}, {rows}",
                   *(f"{a:.1f}–{b:.1f}" for (_, a), (_, b) in zip(fast, late)),
                   span(g, lambda x: decoder_layer(x, m, rows, 1024)), f"{floor:.1f}"]


def print_ranks():
    print("## Several H100 over NVLink, γ = 5, one session: ms of a block\n")
    print("Assumed: 3.0 TB/s, 0.7 µs between two kernels, exchanges of 3.6, 4.0 and 4.6 µs on 2, 4 and 8\n"
          "GPUs and their bytes (R - 1 times at 450 GB/s), even shares, and that 0.8 of the drafts are\n"
          "accepted. In brackets: weights of more than 80 GB a GPU. Nothing has run on several GPUs yet.\n")
    table(["pair", "drafter's layers", *(f"R = {r}" for r in RANKS), "gain at 2, 4, 8",
           "tokens/s at 1, 2, 4, 8"], ranks_blocks())
    print("### What it costs that rank 0 has the logits: µs of a block, and of the better one above\n")
    print("The code pushes all logits to rank 0, which draws and accepts as on one GPU and tells the others\n"
          "their rows. The specification has each rank do that for its ids, from statistics that go around:\n"
          "once a call at least, or for every pass of a draw and of the accept step.\n")
    table(["pair", "R", "logits to rank 0", "draws, accept", "rows to others", "specified: draws, accept",
           "statistics once", "for every pass", "code costs more than once", "than for every pass"],
          ranks_logits())
    print(f"### A prompt's chunk of {CHUNK} tokens: partial sums whole to every peer, or in two steps\n")
    print("Latencies and bytes on the link alone. A slice holds 4 MiB, so a chunk takes two exchanges.\n")
    table(["model", "R", "partial sums, µs: one step", "two steps", "sums of a chunk",
           "ms of a chunk: one step", "two steps"], ranks_prompts())


def main():
    print("Made by `python3 bench/model/model.py`: what a model expects, nothing of it measured.\n"
          "A range is one of latencies (README.md).\n")
    print("## Products of decode rows, in a chain of dependent kernels\n")
    table(["GPU", "matrix", "µs, M = 1", "µs, M = 6", "ratio", "% of copy, M = 6"], products())
    print("## Accept step (row_stats, accept rows, close), γ = 5, no truncation\n")
    table(["GPU", "logits", "rule", "µs"], steps())
    print("## T5 v1.1 blocks, one session, encoder 1,024, after 64 tokens\n")
    table(["GPU", "pair", "γ", "µs: drafts", "verify", "accept", "block", "floor by bytes", "kernels"],
          blocks())
    print("## Decoder-only blocks in bf16, γ = 5, one session, after 1,024 positions\n")
    table(["GPU", "pair", "ms: drafts", "verify", "accept, µs", "block, ms", "floor by bytes", "asked",
           "kernels"], decoder_blocks())
    print_ranks()
    print("## A layer of Gemma 2, after 1,024 positions: µs of its kernels\n")
    names = [name for name, _ in decoder_kernels(GPUS[0], GEMMA2_2B, 1, 1024)]
    table(["GPU", "model, rows", *names, "layer", "floor by bytes"], decoder_layers())


if __name__ == "__main__":
    main()
