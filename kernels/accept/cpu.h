#ifndef WEIR_KERNELS_ACCEPT_CPU_H
#define WEIR_KERNELS_ACCEPT_CPU_H

#include "kernels/backend.h"

/* The accept path of the CPU backend; contracts in stats.h, top.h and accept.h. Of the backend only `isa`,
 * `pool` and `scratch` are used: pool NULL: only the calling thread; scratch below
 * weir__accept_cpu_scratch_floats: exponentials are taken again for each pass. Every isa and every number of
 * threads gives the same bits. Nothing is allocated. */
weir_status weir__row_stats_cpu(weir_backend *be, weir_row_stats_args *a);
weir_status weir__draw_cpu(weir_backend *be, weir_draw_args *a);
weir_status weir__top_cpu(weir_backend *be, weir_top_args *a);
weir_status weir__accept_cpu(weir_backend *be, weir_accept_args *a);
weir_status weir__emit_cpu(weir_backend *be, weir_emit_args *a);
weir_status weir__gate_cpu(weir_backend *be, weir_gate_args *a);

/* The same without a backend, on the calling thread. */
weir_status weir__row_stats_on(weir_isa isa, weir_row_stats_args *a);
weir_status weir__draw_on(weir_isa isa, weir_draw_args *a);
weir_status weir__accept_on(weir_isa isa, weir_accept_args *a);
weir_status weir__emit_on(weir_isa isa, weir_emit_args *a);

/* Statistics of one row given by a caller. EINVAL with a line that names the logits ("q", "p") that are
 * missing, NaN, +inf or without a finite value. */
weir_status weir__row_stats_of(weir_isa isa, const weir_law *law, const float *logits, int32_t n_vocab,
                               const char *whose, weir_row_stats *out, weir_err *err);

/* A rule at one position, for a single token: what a replay of recorded text needs, without arrays over the
 * vocabulary. Statistics are those of the rows under the law's temperature and truncation. */
typedef struct weir_rule_token {
    const weir_law *law;
    const float *q_logits, *p_logits;
    const weir_row_stats *q_stats, *p_stats;
    const float *processed[2], *raw[2]; /* (n_vocab) of q and of p, by weir__rule_probs */
    int32_t n_vocab, token, position;   /* position: output index, for exact_first */
    /* out */
    float reject;   /* R: the drafted token, whichever it is, is refused */
    float deferred; /* the drafted token, whichever it is, counts as deferred */
    float q, p;     /* processed probabilities of the token */
    float taken;    /* min(q, num)(token): it is drafted and accepted */
    float pi;       /* it is emitted; NaN where the rule has no pi */
    bool has_pi;
} weir_rule_token;

/* Probabilities of a row under the law's temperature and truncation, and at temperature 1 without any.
 * (n_vocab) each. */
void weir__rule_probs(const weir_law *law, const float *logits, const weir_row_stats *stats, int32_t n_vocab,
                      float *processed, float *raw);

/* EINVAL: unusable rows. The law was checked, the token is in the vocabulary. */
weir_status weir__rule_token_of(weir_rule_token *t);

#endif /* WEIR_KERNELS_ACCEPT_CPU_H */
