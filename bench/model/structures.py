"""Other forms of a T5 decoder layer of few rows, by the same model: what each would make of a block."""
from kernels import (KERNELS_OF_LAYER, LARGE, SMALL, XL, accept_step, attention_alu, attention_parts, ends,
                     layer_kernels, product_instructions, sample, work)

SELF, CROSS = 64, 1024  # keys
GPC = 16  # multiprocessors of a cluster of 16 blocks, one each

HEADER = ["GPU", "form of a layer", "µs of a layer: small, 1 row", "large, 6 rows",
          "block, µs: small → large", "small → XL"]


def meeting(g):
    """us of a cluster's barrier: 0.3 on a quiet machine (the review's estimate), 0.6 on another."""
    return 1.5 * g.trip


def peer(g):
    """us to another block's shared memory: 180 cycles (arXiv 2402.13499), half of a trip to L2."""
    return 0.5 * g.trip


def kernels(g, m, rows, early=True):
    return layer_kernels(g, m, rows, SELF, CROSS, early=early)


def as_it_is(g, m, rows):
    return sum(kernels(g, m, rows))


def waiting(g, m, rows):
    return sum(kernels(g, m, rows, early=False))


def team(g, m, rows, barrier):
    """One launch for all layers of a call: a barrier in place of each gap. Everything is fetched early."""
    return as_it_is(g, m, rows) + KERNELS_OF_LAYER * (barrier - g.gap)


def clusters(g, m, rows):
    """Three kernels a layer, each a chain of products and attention in clusters, which meet five times. The
    partial sums of o and wo are counted as free."""
    return as_it_is(g, m, rows) + 3 * g.gap + 5 * meeting(g) - KERNELS_OF_LAYER * g.gap


# ---- q as a part of cross attention ----

ROOM = 227 * 1024     # bytes of shared memory of a block
RING_TILE = 10        # instructions for a tile that goes through shared memory: request, wait, load, multiply


def q_in_cross(g, m, rows):
    """A block of cross attention (a head, 128 keys) first multiplies its head's q, 64 outputs. The head's
    weights come with its keys and values, before the wait, as far as the kernel ahead (o) gives time; every
    split of the keys reads them again, from L2. Where a head's weights do not fit into shared memory, a layer
    stays as it is."""
    if 2 * 64 * m.dim + 2 * 2 * 64 * 128 > ROOM:
        return as_it_is(g, m, rows)
    parts = -(-CROSS // 128)
    us = kernels(g, m, rows)
    o, (fetched, own) = us[2], attention_parts(g, m.heads, CROSS, rows)
    weights = 2 * m.inner * m.dim
    fetched += weights / g.bandwidth + (parts - 1) * weights / g.l2
    # Of 64 outputs a warp has so many tiles; q's own product had a quarter of them.
    tiles = 4 * m.dim // 16 // 8
    more = RING_TILE * tiles - 6 * tiles // 4
    own += g.trip + work(g, product_instructions(m.dim, rows) + more)  # a trip: the rows
    fused = own + fetched - min(fetched, max(0.0, o - 2 * g.gap))
    return sum(us) - us[3] - us[4] + fused


# ---- the drafter's layers as one cluster ----

# Of a product of T5 small with one row (instructions.py): its blocks today, what a warp issues, how much of
# that is the loop. A block that does the work of several requests and finishes each by 75 more.
COUNTED = {"qkv": (72, 350, 30), "self o": (32, 337, 31), "q": (24, 333, 30), "cross o": (32, 337, 31),
           "wi": (64, 390, 54), "wo": (32, 343, 55)}
EACH = 75


def one_gpc(g, m, rows, port):
    """All layers of a drafter's step in one launch of one cluster: a GPC's 16 multiprocessors read all that
    132 did, `port` bytes a cycle each. They meet eight times a layer, and once for cross attention's splits.
    Weights, keys and values stream in meanwhile (3 MB of shared memory, a layer is 7.2), so a layer takes as
    long as the longer of both. The head and the verifier stay as they are."""
    if m is not SMALL:
        return as_it_is(g, m, rows)
    moved = 2 * (6 * m.inner * m.dim + 3 * m.ff * m.dim) + 4 * m.inner * (SELF + CROSS)
    issued = 0
    for blocks, of_warp, loop in COUNTED.values():
        issued += of_warp + (-(-blocks // GPC) - 1) * (EACH + loop)
    attend = sum(alu(g, -(-m.heads * -(-keys // 128) // GPC)) for keys in (SELF, CROSS))
    chain = 9 * (meeting(g) + peer(g)) + work(g, issued) + attend
    return max(chain, moved / (GPC * port * g.clock)) + (g.gap + g.far) / m.layers


def alu(g, turns):
    return max(0.5, attention_alu(g, turns, 2))


# Bytes a cycle and multiprocessor: a share of what all 132 get from L2 at once; or all that its port takes,
# if nothing on the way is narrower.
def share_of_l2(g):
    return g.l2 / 132 / g.clock


PORT = 64

# Name, us of a layer.
FORMS = (("8 kernels, each waits before it reads", waiting),
         ("8 kernels, attention fetches early", as_it_is),
         ("7 kernels, q in cross attention", q_in_cross),
         ("one kernel a call, barriers of two trips", lambda g, m, rows: team(g, m, rows, g.meet)),
         ("one kernel a call, barriers of 1 µs", lambda g, m, rows: team(g, m, rows, 1.0)),
         ("3 kernels of clusters", clusters),
         ("drafter as one cluster, a GPC at its share of L2",
          lambda g, m, rows: one_gpc(g, m, rows, share_of_l2(g))),
         (f"drafter as one cluster, {PORT} bytes a cycle and SM",
          lambda g, m, rows: one_gpc(g, m, rows, PORT)))


def block(g, form, verifier, gamma=5):
    def call(m, rows):
        return ends(g, m, rows) + m.layers * form(g, m, rows)
    draft = call(SMALL, 1) + sample(g, SMALL.vocab)
    return gamma * draft + call(verifier, gamma + 1) + accept_step(g, verifier.vocab, gamma)


def rows(gpus, span):
    for g in gpus:
        for name, form in FORMS:
            yield [g.name, name, span(g, lambda x, f=form: f(x, SMALL, 1)),
                   span(g, lambda x, f=form: f(x, LARGE, 6)),
                   *(span(g, lambda x, f=form, v=v: block(x, f, v), 0) for v in (LARGE, XL))]
