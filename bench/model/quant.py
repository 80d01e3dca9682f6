"""Products of quantised weights, Q4_K, for few rows and many: bytes, instructions, launches. All predicted.

Instructions are those of kernels/linear/quant/linear_quant.cu and linear_quant_wide.cu, counted in their
source for a unit: 16 outputs times 32 inputs, which a warp has as operands of its tensor core. "On CUDA
cores" is the kernel before: f32 rows, decoded weights times up to 8 rows a pass.
"""
import sessions
from kernels import permute, short, work

BITS = 4.5       # of a weight
INSTRUCTIONS = 1000  # of a warp besides its units: assumed, not counted
UNIT = 16 * 32   # weights of a unit
DECODE = 35      # instructions: codes and scales of a unit, to shared memory and back
TERM = 20        # of a unit and 8 rows: operands, mma, three or four f32 operations for each of four outputs
ROUND = 75       # 32 inputs of 8 rows to bytes; of 1, 2 or 4 rows as much less
IMMA = 2600      # multiply-adds per clock and multiprocessor that mma.sync reaches with bytes: 61% of wgmma's


def issue(g):
    """Instructions of warps per us: four schedulers a multiprocessor."""
    return 132 * 4 * g.clock * g.ipc


def cuda_cores(g, n, k, rows, gated):
    weights = n * k * (2 if gated else 1)
    us = g.gap + 2 * g.trip + work(g, INSTRUCTIONS)
    for at in range(0, rows, 8):
        r = min(8, rows - at)
        alu = weights * (3 + 1.3 * r) / (g.lanes * g.ipc)
        inputs = 4 * r * k * weights / k / 16
        us += max(weights * BITS / 8 / (g.bandwidth if at == 0 else g.l2), alu, inputs / g.l2)
    return us


def panels_of(n, gated, matrices=1):
    """Panels that a block of few rows has: as many as leave three blocks for four multiprocessors."""
    all_panels = matrices * n * (2 if gated else 1) / 16
    return next((p for p in (4, 2, 1) if all_panels / p >= 0.75 * 132), 1)


def few(g, n, k, rows, gated):
    """Up to 8 rows: inputs are rounded by every block, once for its panels."""
    weights, share = n * k * (2 if gated else 1), panels_of(n, gated)
    rounds = ROUND / 8 * next(r for r in (1, 2, 4, 8) if r >= rows)
    slots = weights / UNIT * (rounds / share + DECODE + TERM)
    inputs = 4 * rows * weights / 16 / share
    return (g.gap + 2 * g.trip + work(g, INSTRUCTIONS) +
            max(weights * BITS / 8 / g.bandwidth, slots / issue(g), inputs / g.l2))


def many(g, n, k, rows, gated):
    """Rows as bytes in a kernel of their own; 128 outputs x 32, 64 or 128 rows a block; where those are few,
    a record of each eighth of the inputs and a kernel that adds them."""
    weights, outputs = n * k * (2 if gated else 1), n * (2 if gated else 1)
    tile = 32 if rows <= 32 else 64 if rows <= 64 else 128
    tiles, octets = -(-rows // tile), -(-rows // 8)
    slots = weights / UNIT * (tiles * DECODE + octets * TERM)
    us = short(g) + rows * k * 5.4 / g.l2 + g.gap + 2 * g.trip + work(g, INSTRUCTIONS)
    blocks, room = -(-outputs // 128) * tiles, 132 * (1 if tile == 128 else 2)
    records = 3 * blocks < 2 * room
    if records:
        us += short(g) + 2 * 8 * 4 * rows * outputs / g.l2
        blocks *= 8
    idle = -(-blocks // room) * room / blocks if blocks < 4 * room else 1.0
    traffic = weights * BITS / 8 * tiles + weights / 128 * 1.4 * rows
    return us + max(weights * BITS / 8 / g.bandwidth, idle * slots / issue(g),
                    8 * octets * weights / (132 * g.clock * IMMA), traffic / g.l2)


def tensor_cores(g, n, k, rows, gated):
    return few(g, n, k, rows, gated) if rows <= 8 else many(g, n, k, rows, gated)


HEADER = ["GPU", "sessions", "ms of a block on CUDA cores", "on tensor cores", "tokens/s on CUDA cores",
          "on tensor cores", "best γ", "bf16 with mma.sync"]


def rows(gpus):
    for g in gpus:
        for n in sessions.SESSIONS:
            yield [g.name, n, f"{1e-3 * sessions.block(g, n, 5, cuda_cores):.1f}",
                   f"{1e-3 * sessions.block(g, n, 5, tensor_cores):.1f}",
                   f"{sessions.rate(g, n, 5, cuda_cores):,.0f}",
                   f"{sessions.rate(g, n, 5, tensor_cores):,.0f}", sessions.best(g, n, tensor_cores),
                   f"{sessions.rate(g, n, 5, sessions.WIDE['mma.sync']):,.0f}"]


def prompts(gpus):
    """us of the products of a chunk of 256 positions."""
    for g in gpus:
        for m in sessions.PAIR:
            cells = [m.layers * sum(product(g, *shape[:2], 256, shape[2]) for shape in sessions.products(m))
                     for product in (cuda_cores, tensor_cores)]
            yield [g.name, m.name, *(f"{1e-3 * us:.1f}" for us in cells)]


ORDERS = ((False, False), (False, True), (True, True))
ORDER_HEADER = ["GPU", "sessions", "µs of a permute, verifier's o", "ms of a block: natural order",
                "verifier in act-order", "both"]


def orders(gpus, span):
    """Blocks whose weights are GPTQ with act-order: four kernels a layer more."""
    for g in gpus:
        for n in (1, 8, 32):
            yield [g.name, n, span(g, lambda x: permute(x, 6 * n, sessions.PAIR[1].dim), 2),
                   *(span(g, lambda x, o=o: 1e-3 * sessions.block(x, n, 5, tensor_cores, o), 2)
                     for o in ORDERS)]
