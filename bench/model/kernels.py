"""Shapes of models, kernels and blocks of weir in us: a model, not a measurement.

A kernel costs a gap, its dependent trips to memory, its arithmetic and its bytes:

    t = gap + trips * trip + instructions / issue rate + bytes / bandwidth + tail

Trips are counted in the kernels' source (an address that comes from memory is one more trip), instructions in
their machine code, bytes are those of the contracts. The tail is that of the last blocks, which run when most
processors are idle. The model leaves out contention in L2, misses of the instruction cache and clocks that
fall under load. constants.py has the constants and their sources; those that a device has shown replace them.
"""
from dataclasses import dataclass, field, replace


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


SLOTS = 264           # blocks of a product that are resident at once: two a multiprocessor
RING = 65536           # bytes that one of them has under way


def product_instructions(k, rows):
    """Of a warp, on the scheduler with most to do, counted by instructions.py for T5 small (1 row), large and
    XL (6): all of a short product, whose tiles are there at once; of a long one, whose loop its bytes hide,
    what is besides the loop, of one unit, and the merge."""
    return 450 + 42 * rows if k >= 2048 else 308 + 40 * rows


def work(g, instructions, warps=2):
    """us of instructions that each of so many warps of a scheduler executes."""
    return instructions * warps / (g.clock * g.ipc)


def tail(g, items, item_bytes):
    """us beyond an even share, where blocks are no multiple of the slots: those of the last round fetch
    alone, as fast as their rings allow, after a trip of their own."""
    last = items % SLOTS
    if items < SLOTS or last == 0:
        return 0.0
    alone = min(RING / g.far, 58 * g.clock)  # 58 bytes a cycle: what the loop's instructions allow
    return max(0.0, g.far + item_bytes / alone - last * item_bytes / g.bandwidth)


def linear(g, n, k, rows, gated=False, inputs=False, ranks=1):
    """Weights are requested before the preceding kernel has ended, if its blocks leave room; rows in, sums
    over warps, result out. Split: the slices' records go out and come back, with a counter in between. ranks:
    one of so many, which split the matrix along its inputs or its outputs; the plan is that of the whole."""
    split, of_whole = slices(n, k, gated, inputs), k
    if inputs:
        k, split = -(-k // ranks), -(-split // ranks)
    else:
        n = -(-n // ranks)
    weights = 2 * n * k * (2 if gated else 1)
    panels = -(-n // 16) * (2 if gated else 1)
    items = units_of(n, gated) * split if k >= 2048 or panels >= 528 else panels // (2 if gated else 1)
    records = 2 * 4 * split * units_of(n, gated) * rows * 65 if split > 1 else 0
    trips = 2 + (2 if split > 1 else 0)
    # Data fetched during the gap costs no second wait. Two blocks of 128 registers fill a multiprocessor, so
    # the next kernel's get in early only where there is one.
    early = min(weights, items * RING, g.gap * g.bandwidth) if items <= SLOTS // 2 else 0
    executes = work(g, product_instructions(of_whole, rows))
    return (g.gap + trips * g.trip + executes + (weights - early) / g.bandwidth +
            tail(g, items, weights / items) + (4 * rows * (n + k) + records) / g.l2)


def rounds(head_dim):
    """Dependent fetches of a block's keys or values: 128 of them in bf16, 16 KB at a time."""
    return -(-2 * 128 * head_dim // 16384)


def attention_alu(g, turns, tile, head_dim=64):
    """us of a multiprocessor's arithmetic for so many blocks of 128 keys, one after another: a query costs an
    instruction for an element of keys and of values, which a tile shares two more with."""
    return turns * 2 * (tile + 2) * 128 * head_dim / (g.lanes / 132)


def attention_parts(g, heads, keys, rows, heads_kv=None, head_dim=64):
    """(us of what needs no query: row facts, page table, keys, values (the first fetch hidden by the scores);
    us of the rest: gap, arithmetic, result, merge of the splits). A block takes 128 keys of a head of keys
    for up to 8 queries."""
    heads_kv = heads_kv or heads
    queries = rows * heads // heads_kv
    tile = 2 if queries <= 2 else 8
    tiles, parts = -(-queries // tile), -(-keys // 128)
    fetches = rounds(head_dim) + max(0.5, rounds(head_dim) - 1)
    alu = attention_alu(g, -(-parts * heads_kv * tiles // 132), tile, head_dim)
    fetched = 2 * g.trip + fetches * g.far + 2 * 2 * head_dim * heads_kv * keys / g.bandwidth
    split = keys > 128
    return fetched, (g.gap + (1 + (2 if split else 0)) * g.trip + max(0.5, alu) +
                     4 * rows * head_dim * heads * 2 / g.l2)


def attention(g, heads, keys, rows, heads_kv=None, head_dim=64, ahead=0.0, fresh=False):
    """ahead: us of the kernel ahead, if that lets this one begin once its own wait is over; what needs no
    query is then fetched while it runs, after a launch, except, fresh, for the positions that it appends."""
    fetched, own = attention_parts(g, heads, keys, rows, heads_kv, head_dim)
    early = fetched - (g.trip if fresh else 0.0)
    return own + fetched - min(early, max(0.0, ahead - 2 * g.gap))


def short(g):
    """embed with row_keys, loop_rows, gather: an address, a look-up, a store."""
    return g.gap + 3 * g.trip


def permute(g, rows, k):
    """Rows in the order of a weight's inputs (act-order): the order is there before the wait."""
    return g.gap + 2 * g.trip + 8 * rows * k / g.l2


def turn(g):
    """rope: a row, its angle's frequency, its place and its page; sines and norms of a head."""
    return short(g) + 0.3


def norm(g, rows, dim):
    """rmsnorm on its own: rows in, a sum over warps, rows added."""
    return short(g) + 0.2 + 12 * rows * dim / g.l2


def sweep(g, rows, vocab, reads, passes, instructions):
    """Passes of teams over rows in L2; each ends with a barrier and a merge, two trips. `reads`: rows of
    logits read in all; `instructions`: of all passes, for an id of a row."""
    return (passes * (g.meet + 2 * g.trip) + 4 * vocab * reads / g.l2 +
            rows * vocab * instructions / g.lanes)


def team(g, rows, vocab, reads, passes, instructions):
    """A kernel of such passes, which looks its rows up by two trips."""
    return g.team_gap + 2 * g.trip + sweep(g, rows, vocab, reads, passes, instructions)


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


# Instructions for one id, read off the source: wf_exp 14, its sum and product 6, load and loop 3, one to keep
# the weight; a pair of plain rows: q's exponential, load and product, p's weight and product, and 7 for the
# exact form, 15 for membership and its sums; a race: Philox 90 for four, -log1p 30, a division 10.
ROW, PAIR, MEMBER, BOTH, RACE, BOUNDS = 24, 28, 36, 70, 90, 6


def sample(g, vocab, rows=1, extents=True):
    """Sums, then the race, each a pass; extents from the head spare a third."""
    passes = 2 + (not extents)
    return team(g, rows, vocab, passes * rows, passes, ROW + RACE + BOUNDS * (not extents))


# Instructions of the pass over a pair of rows that a rule cannot do without, and of one more that measures R
# where it is asked for; 0: there is none.
RULES = {"exact": (0, PAIR), "opt": (PAIR, 0), "token-v2": (MEMBER, MEMBER)}


def accept_step(g, vocab, gamma=5, rule="exact", extents=True, reject=False):
    """One kernel: statistics of the rows; the passes of a rule over the drafter's rows, beside the weights
    that are kept of those; a barrier of all rows; the decision, and a race over one pair. Six trips besides:
    the seat with the drafter's statistics, the logits of its drafts, notes, the logits of the drawn token,
    outcome, arrival. reject: R is asked for."""
    passes = 1 + (not extents)
    stats = sweep(g, gamma + 1, vocab, passes * (gamma + 1), passes, ROW + BOUNDS * (not extents))
    own, measure = RULES[rule]
    work_of = [n for n in (own, measure * reject) if n > 0]
    rows = sweep(g, gamma, vocab, gamma * len(work_of), len(work_of), sum(work_of))
    close = sweep(g, 1, vocab, 2, 1, BOTH + RACE)
    return g.team_gap + stats + rows + g.meet + g.trip + close + 6 * g.trip


def layer_kernels(g, m, rows, n_self, n_cross, ranks=1, early=True):
    """us of a layer's kernels, in order, on one of `ranks`. early: attention fetches before the product ahead
    of it has ended."""
    heads = -(-m.heads // ranks)
    # a trip: where the row's page is, which its keys and values go to from the product
    qkv = linear(g, 3 * m.inner, m.dim, rows, ranks=ranks) + g.trip
    q = linear(g, m.inner, m.dim, rows, ranks=ranks)
    o = linear(g, m.dim, m.inner, rows, inputs=True, ranks=ranks)
    return [qkv, attention(g, heads, n_self, rows, ahead=qkv if early else 0.0, fresh=True), o,
            q, attention(g, heads, n_cross, rows, ahead=q if early else 0.0), o,
            linear(g, m.ff, m.dim, rows, gated=True, ranks=ranks),
            linear(g, m.dim, m.ff, rows, inputs=True, ranks=ranks)]


def layer(g, m, rows, n_self, n_cross, ranks=1):
    return sum(layer_kernels(g, m, rows, n_self, n_cross, ranks)) + 3 * exchange(rows_of(m, rows), ranks)


KERNELS_OF_LAYER = 8


def ends(g, m, rows, ranks=1):
    """Rows of the loop, embed with row_keys; the head. Ranks hand around the rows of the embedding."""
    return 2 * short(g) + exchange(rows_of(m, rows), ranks) + linear(g, m.vocab, m.dim, rows, ranks=ranks)


def forward(g, m, rows, n_self, n_cross, ranks=1, body=None):
    """The layers between their ends. body: ranks that share the layers, where they are not those of the
    vocabulary."""
    return ends(g, m, rows, ranks) + m.layers * layer(g, m, rows, n_self, n_cross, body or ranks)


def bytes_of(m, n_self, n_cross):
    weights = m.layers * (6 * m.inner * m.dim + 3 * m.ff * m.dim) + m.vocab * m.dim
    return 2 * weights + m.layers * 4 * m.inner * (n_self + n_cross)


# ---- decoder-only models: models/decoder/decoder.c --------------------------------------------------------

def decoder_kernels(g, m, rows, keys, ranks=1):
    """(name, us) of a layer, in order, on one of `ranks`."""
    inner, inner_kv = m.heads * m.head_dim, m.heads_kv * m.head_dim
    heads, heads_kv = -(-m.heads // ranks), -(-m.heads_kv // ranks)
    reduce = [("reduce", exchange(rows_of(m, rows), ranks))] if ranks > 1 else []
    post = [("norm", norm(g, rows, m.dim))] if m.post_norms else []
    attend = attention(g, heads, keys, rows, heads_kv, m.head_dim, ahead=turn(g), fresh=True)
    return [("q, k, v", linear(g, inner + 2 * inner_kv, m.dim, rows, ranks=ranks)), ("rope, append", turn(g)),
            ("attention", attend),
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
    """Of a block: rows of the loop, embed, layers, head and sample of each draft; the first one's two rows
    are cut to one before its head by three; a verify pass without sample; the accept step.
    tests/bench/test_kernels_of_block.c counts them."""
    return gamma * (of_drafter * drafter_layers + 4) + 3 + of_verifier * verifier_layers + 3 + 1


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
