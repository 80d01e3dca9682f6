"""Expected times of blocks and of the accept step on GPUs, for pairs of T5 and of decoder-only models: a
model, not a measurement. kernels.py says what is counted, constants.py what a device is assumed to cost.

    python3 bench/model/model.py                                  prints the tables of expected.md
    python3 bench/model/model.py --latency latency.csv --gpu H100 with the constants of that run
"""
import argparse
import sys
from dataclasses import replace

import groups
import quant
import sessions
import structures
from constants import GPUS, measured, slow
from kernels import (ASKED, GEMMA2_27B, GEMMA2_2B, GEMMA2_9B, GEMMA3_1B, GEMMA3_270M, GEMMA3_27B, GEMMA3_4B,
                     KERNELS_OF_LAYER, LARGE, LLAMA3_1B, LLAMA3_70B, LLAMA3_8B, QWEN_05B, QWEN_32B, QWEN_7B,
                     RULES, SMALL, T5, XL, XXL, Decoder, accept_step, bytes_of, decoder_block, decoder_bytes,
                     decoder_kernels, decoder_layer, emitted, ends, forward, kernels_of, layer, linear,
                     on_all_ranks, on_rank_0, partial_sums, ranks_block, sample, weights_of)

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
    """What a function of a GPU gives for both ends of its latencies; one number where they are known."""
    if g.measured:
        return f"{us(g):,.{digits}f}"
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
                   f"{shares[0]:.0f}" if g.measured else f"{shares[0]:.0f}–{shares[1]:.0f}"]


def steps():
    for g in GPUS:
        for vocab in (32128, 256128):
            for rule in RULES:
                yield [g.name, f"6 × {vocab:,}", rule,
                       *(span(g, lambda x: accept_step(x, vocab, 5, rule, reject=r)) for r in (False, True))]


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
ON_RANKS = replace(GPUS[0], gap=0.7)  # assumed even where latencies are given: they are of one device
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


def print_sessions():
    print("## Llama 3 1B → 8B with many sessions, after 1,024 positions: tokens/s\n")
    print("All predicted. weir: γ = 5, 0.8 of the drafts accepted, with today's tiles of 16 rows, which\n"
          "read the weights again from L2, and with a kernel for many rows on mma.sync or wgmma; then the\n"
          "best γ of 1, 3, 5. vLLM: steps of one session (sessions.py), scaled by bytes and arithmetic.\n")
    table(sessions.HEADER, sessions.rows(GPUS))
    print("### The same pair in Q4_K\n")
    print("On CUDA cores, which read the weights again for every 8 rows, and on tensor cores with rows\n"
          "rounded to bytes; γ = 5 unless named.\n")
    table(quant.HEADER, quant.rows(GPUS))
    print("With weights of as many bits from GPTQ with act-order, γ = 5: a kernel puts the rows into the\n"
          "order of a product's inputs before each of a layer's four.\n")
    table(quant.ORDER_HEADER, quant.orders(GPUS, span))
    print("All products of a prompt's chunk of 256 positions, without the head, ms:\n")
    table(["GPU", "model", "on CUDA cores", "on tensor cores"], quant.prompts(GPUS))
    print("### Mixtures of experts: products of all layers' experts, ms\n")
    print("Of a prompt's chunk or a batch, by tiles of 16 rows (bf16) or 8 (Q4_K), which read or decode an\n"
          "expert's weights again for each, and by tiles as tall as twice the mean.\n")
    table(groups.HEADER, groups.rows(GPUS))


def choose(argv):
    """Puts the constants of a run in place of the assumed ones."""
    p = argparse.ArgumentParser(description="Expected times of blocks on GPUs: a model, not a measurement.")
    p.add_argument("--latency", help="latency.csv of bench/gpu.sh or weir-kernel-bench --only latency")
    p.add_argument("--gpu", choices=[g.name for g in GPUS], default="H100",
                   help="whose assumed constants stand in for what the file lacks (default H100)")
    args = p.parse_args(argv)
    if not args.latency:
        return "Made by `python3 bench/model/model.py`: what a model expects, nothing of it measured.\n"
    assumed = next(g for g in GPUS if g.name == args.gpu)
    try:
        g, missing = measured(args.latency, assumed, f"{args.gpu}, measured latencies")
    except (OSError, ValueError) as e:
        sys.exit(f"model.py: {e}")
    GPUS[:] = [g]
    return (f"Made by `python3 bench/model/model.py --latency`: what a model expects of {args.gpu} with the "
            f"latencies of a run.\nAssumed as before: {', '.join(missing) or 'none of its constants'}.\n")


def main():
    print(choose(sys.argv[1:]) + "A range is one of latencies (README.md).\n")
    print("## Products of decode rows, in a chain of dependent kernels\n")
    table(["GPU", "matrix", "µs, M = 1", "µs, M = 6", "ratio", "% of copy, M = 6"], products())
    print("## Accept step, γ = 5, no truncation\n")
    table(["GPU", "logits", "rule", "µs", "µs, where R is asked for"], steps())
    print("## T5 v1.1 blocks, one session, encoder 1,024, after 64 tokens\n")
    table(["GPU", "pair", "γ", "µs: drafts", "verify", "accept", "block", "floor by bytes", "kernels"],
          blocks())
    print("### Forms of a T5 layer, γ = 5\n")
    print("Barriers of two trips are the least that a barrier of all blocks can take. A GPC's 16 processors\n"
          "get 24 bytes a cycle each (their share of L2), or at most 64 (their ports): no source has it.\n")
    table(structures.HEADER, structures.rows(GPUS, span))
    print("## Decoder-only blocks in bf16, γ = 5, one session, after 1,024 positions\n")
    table(["GPU", "pair", "ms: drafts", "verify", "accept, µs", "block, ms", "floor by bytes", "asked",
           "kernels"], decoder_blocks())
    print_sessions()
    print_ranks()
    print("## A layer of Gemma 2, after 1,024 positions: µs of its kernels\n")
    names = [name for name, _ in decoder_kernels(GPUS[0], GEMMA2_2B, 1, 1024)]
    table(["GPU", "model, rows", *names, "layer", "floor by bytes"], decoder_layers())


if __name__ == "__main__":
    main()
