"""Other forms of a T5 decoder layer of few rows, by the same model: what each would make of a block."""
from kernels import (KERNELS_OF_LAYER, LARGE, SMALL, XL, accept_step, ends, layer_kernels, sample)

CLUSTER = 0.3  # us of a cluster's barrier: the review's estimate

HEADER = ["GPU", "form of a layer", "µs of a layer: small, 1 row", "large, 6 rows",
          "block, µs: small → large", "small → XL"]


def one_by_one(g, kernels, early):
    return sum(kernels(early))


def team(g, kernels, barrier):
    """One launch for all layers of a call: a barrier in place of each gap. Everything is fetched early."""
    return sum(kernels(True)) + KERNELS_OF_LAYER * (barrier - g.gap)


def clusters(g, kernels):
    """Three kernels a layer, each a chain of products and attention in clusters, which meet five times. The
    partial sums of o and wo are counted as free."""
    return sum(kernels(True)) + 3 * g.gap + 5 * CLUSTER - KERNELS_OF_LAYER * g.gap


# Name, us of a layer.
FORMS = (("8 kernels, each waits before it reads", lambda g, k: one_by_one(g, k, False)),
         ("8 kernels, attention fetches early", lambda g, k: one_by_one(g, k, True)),
         ("one kernel a call, barriers of two trips", lambda g, k: team(g, k, g.meet)),
         ("one kernel a call, barriers of 1 µs", lambda g, k: team(g, k, 1.0)),
         ("3 kernels of clusters", clusters))


def layer_of(g, form, m, rows):
    return form(g, lambda early: layer_kernels(g, m, rows, 64, 1024, early=early))


def block(g, form, verifier, gamma=5):
    def call(m, rows):
        return ends(g, m, rows) + m.layers * layer_of(g, form, m, rows)
    draft = call(SMALL, 1) + sample(g, SMALL.vocab)
    return gamma * draft + call(verifier, gamma + 1) + accept_step(g, verifier.vocab, gamma)


def rows(gpus, span):
    for g in gpus:
        for name, form in FORMS:
            yield [g.name, name, span(g, lambda x, f=form: layer_of(x, f, SMALL, 1)),
                   span(g, lambda x, f=form: layer_of(x, f, LARGE, 6)),
                   *(span(g, lambda x, f=form, v=v: block(x, f, v), 0) for v in (LARGE, XL))]
