"""Many sessions at once: blocks of a decoder-only pair by today's kernel for rows and by one for many, beside
what vLLM would do. All of it predicted.

vLLM, from times of one session (the specification's notes on performance: bf16, CUDA graphs, cuBLAS,
FlashAttention 3, H100, batch 1): Qwen3-32B takes 23.65 ms a token, 81% of the data sheet's 3.35 TB/s; 1.7B
2.27 ms, 44%; speculation adds 1.6 to 1.9 ms a block to its steps. Here its steps read weights at 81%
(verifier) and 44% (drafter), keys and values at 81%, and multiply at an estimate of what cuBLAS reaches. Its
scheduler is left out.
"""
from kernels import (LLAMA3_1B, LLAMA3_8B, accept_step, attention, decoder_kernels, emitted, linear, norm,
                     permute, sample, short, turn, units_of)

PAIR, CONTEXT, ACCEPTED = (LLAMA3_1B, LLAMA3_8B), 1024, 0.8
SESSIONS = (1, 8, 32, 64, 128)
APPENDED = 32                          # rows whose keys and values rope appends itself, kernels/rows/rope.cu
TILE = 16                              # rows of a pass over the weights, kernels/linear/linear_tiling.h
WIDE = {"mma.sync": 375e6, "wgmma": 600e6}  # flop/us: estimates for a kernel of 32 to 128 rows a pass
WIDE_ROWS = 128
SHEET = {"H100": 3.35e6, "H200": 4.8e6}  # bytes/us of data sheets
CUBLAS = 600e6                         # flop/us, bf16, large products
VERIFIER_SHARE, DRAFTER_SHARE, LOOP = 0.81, 0.44, 1750.0


def products(m):
    """(outputs, inputs, gated) of a layer."""
    inner, inner_kv = m.heads * m.head_dim, m.heads_kv * m.head_dim
    return ((inner + 2 * inner_kv, m.dim, False), (m.dim, inner, False), (m.ff, m.dim, True),
            (m.dim, m.ff, False))


def narrow(g, n, k, rows, gated):
    """us of a product of more than 16 rows by today's kernel: for each tile of rows, the weights from L2,
    where the first tile brings them, and for every unit of 64 outputs the tile's rows."""
    tiles = -(-rows // TILE)
    weights = 2 * n * k * (2 if gated else 1)
    staged = 4 * TILE * k * units_of(n, gated)
    return g.gap + 2 * g.trip + max(weights / g.bandwidth, tiles * (weights + staged) / g.l2)


def wide(g, n, k, rows, gated, rate):
    """us by a kernel that keeps up to 128 rows a pass."""
    weights = 2 * n * k * (2 if gated else 1)
    passes = -(-rows // WIDE_ROWS)
    return (g.gap + 2 * g.trip +
            max(weights / g.bandwidth, rows * weights / rate, passes * weights / g.l2))


def forward(g, m, n, rows, kernel, ordered=False):
    """us of a pass of n sessions with so many rows each. kernel: None, today's, or a rate of WIDE (a wide
    kernel is used where it is faster), or a function as `narrow` for products of any number of rows.
    ordered: the layers' weights have their inputs in an order of their own (act-order), so that a kernel puts
    the rows into it before each product."""
    def product(outputs, inputs, gated):
        if callable(kernel):
            return kernel(g, outputs, inputs, n * rows, gated)
        if n * rows <= TILE:
            return linear(g, outputs, inputs, n * rows, gated)
        today = narrow(g, outputs, inputs, n * rows, gated)
        return today if kernel is None else min(today, wide(g, outputs, inputs, n * rows, gated, kernel))
    if n * rows <= TILE and not callable(kernel):
        few = sum(us for name, us in decoder_kernels(g, m, n * rows, CONTEXT) if name != "attention")
    else:
        few = sum(product(*shape) for shape in products(m)) + turn(g)
        few += short(g) if n * rows > APPENDED else 0
        few += 2 * norm(g, n * rows, m.dim) if m.post_norms else 0
    if ordered:
        few += sum(permute(g, n * rows, inputs) for _, inputs, _ in products(m))
    # n sessions have n times the blocks of one, and their keys come from memory.
    alone = attention(g, m.heads, CONTEXT, rows, m.heads_kv, m.head_dim)
    keys = 4 * m.head_dim * m.heads_kv * CONTEXT
    attends = alone + (n - 1) * keys / g.bandwidth
    return m.layers * (few + attends) + 3 * short(g) + product(m.vocab, m.dim, False)


def block(g, n, gamma, kernel, ordered=(False, False)):
    """us of a block of n sessions. Logits of many rows do not stay in L2, so steps over them go by memory.
    ordered: the drafter's weights, the verifier's."""
    drafter, verifier = PAIR
    draws = sample(g, drafter.vocab) + 2 * 4 * drafter.vocab * (n - 1) / g.bandwidth
    more = 3 * 4 * verifier.vocab * (gamma + 1) * (n - 1) / g.bandwidth
    accepts = accept_step(g, verifier.vocab, gamma) + more
    return (gamma * (forward(g, drafter, n, 1, kernel, ordered[0]) + draws) +
            forward(g, verifier, n, gamma + 1, kernel, ordered[1]) + accepts)


def rate(g, n, gamma, kernel):
    return 1e6 * n * emitted(gamma, ACCEPTED) / block(g, n, gamma, kernel)


def weights_of(m):
    return 2 * (m.layers * sum(n * k * (2 if gated else 1) for n, k, gated in products(m)) + m.vocab * m.dim)


def vllm_pass(g, m, n, rows, share):
    sheet = SHEET[g.name.split(",")[0]]
    keys = n * m.layers * 4 * m.heads_kv * m.head_dim * CONTEXT
    products_us = max(weights_of(m) / (share * sheet), n * rows * weights_of(m) / CUBLAS)
    return products_us + keys / (VERIFIER_SHARE * sheet)


def vllm(g, n):
    return 1e6 * n / vllm_pass(g, PAIR[1], n, 1, VERIFIER_SHARE)


def vllm_speculative(g, n, gamma):
    us = (gamma * vllm_pass(g, PAIR[0], n, 1, DRAFTER_SHARE) +
          vllm_pass(g, PAIR[1], n, gamma + 1, VERIFIER_SHARE) + LOOP)
    return 1e6 * n * emitted(gamma, ACCEPTED) / us


HEADER = ["GPU", "sessions", "vLLM", "vLLM, speculative, γ = 5", "weir, ms of a block today", "weir today",
          "… with mma.sync", "… with wgmma", "best γ: today", "with wgmma"]


def best(g, n, kernel):
    gamma = max((1, 3, 5), key=lambda x: rate(g, n, x, kernel))
    return f"{rate(g, n, gamma, kernel):,.0f} (γ = {gamma})"


def rows(gpus):
    for g in gpus:
        for n in SESSIONS:
            yield [g.name, n, f"{vllm(g, n):,.0f}", f"{vllm_speculative(g, n, 5):,.0f}",
                   f"{1e-3 * block(g, n, 5, None):.1f}", f"{rate(g, n, 5, None):,.0f}",
                   *(f"{rate(g, n, 5, kernel):,.0f}" for kernel in WIDE.values()), best(g, n, None),
                   best(g, n, WIDE["wgmma"])]
