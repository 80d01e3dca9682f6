#include <stdint.h>

#include "host/weir.h"
#include "kernels/accept/cpu.h"
#include "kernels/base/mem.h"

/* One position of a rule, for study: the accept path's own code on rows of logits from the caller. */

weir_status weir_rule_eval(const weir_law *law, const float *q_logits, const float *p_logits, int32_t n_vocab,
                           weir_rule_result *out, weir_err *err) {
    if (!out) return weir_fail(err, WEIR_EINVAL, "rule: no place for the result");
    weir_rule_row row = {.law = law,
                         .q_logits = q_logits,
                         .p_logits = p_logits,
                         .n_vocab = n_vocab,
                         .pi = out->pi,
                         .keep = out->keep,
                         .accept = out->accept,
                         .residual = out->residual};
    WEIR_TRY(weir__rule_evaluate_row(&row, err));
    out->reject = row.reject;
    out->eta = row.eta;
    out->beta = row.beta;
    out->deferred = row.deferred;
    out->has_keep = row.has_keep;
    out->has_pi = row.has_pi;
    out->has_residual = row.has_residual;
    return WEIR_OK;
}

/* ---- draws --------------------------------------------------------------------------------------------- */

enum { BATCH = 64 };

/* Philox keys of draw i: two words of a splitmix64 step over (seed, i). */
static void draw_key(uint64_t seed, uint64_t i, uint32_t key[2]) {
    uint64_t x = seed + (i + 1u) * 0x9E3779B97F4A7C15u;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    x ^= x >> 31;
    key[0] = (uint32_t)x;
    key[1] = (uint32_t)(x >> 32);
}

/* A batch of one-token blocks at output index 0: draws go row by row with ld = n_vocab, so that each row
 * of the drafter is the same row again only through law_of and stats. */
typedef struct draws {
    weir_isa isa;
    const float *q_logits, *p_logits;
    int32_t n_vocab;
    weir_row_stats q_stats, p_stats;
    weir_law law[BATCH];
    int32_t token[BATCH];
    weir_accept_row row[BATCH];
    weir_accept_session accept[BATCH];
    weir_emit_session emit[BATCH];
} draws;

static weir_status draft_tokens(draws *d, int n) {
    const int32_t law_of = 0, position = 0;
    for (int i = 0; i < n; i++) {
        float logp;
        weir_draw_args a = {.logits = d->q_logits,
                            .ld = d->n_vocab,
                            .n_row = 1,
                            .n_vocab = d->n_vocab,
                            .law = &d->law[i],
                            .law_of = &law_of,
                            .stats = &d->q_stats,
                            .position = &position,
                            .purpose = WEIR_PURPOSE_DRAFT,
                            .token = &d->token[i],
                            .logp = &logp};
        WEIR_TRY(weir__draw_on(d->isa, &a));
    }
    return WEIR_OK;
}

static weir_status accept_tokens(draws *d, int n) {
    for (int i = 0; i < n; i++)
        d->accept[i] = (weir_accept_session){.law = &d->law[i],
                                             .q_logits = d->q_logits,
                                             .p_logits = d->p_logits,
                                             .q_stats = &d->q_stats,
                                             .p_stats = &d->p_stats,
                                             .draft = &d->token[i],
                                             .n_draft = 1,
                                             .row = &d->row[i]};
    weir_accept_args a = {
        .session = d->accept, .n_session = n, .ld_q = d->n_vocab, .ld_p = d->n_vocab, .n_vocab = d->n_vocab};
    WEIR_TRY(weir__accept_on(d->isa, &a));
    for (int i = 0; i < n; i++) WEIR_TRY(d->accept[i].status);
    return WEIR_OK;
}

/* Replaces the rejected tokens. */
static weir_status resample_tokens(draws *d, int n) {
    int32_t n_emit = 0, of[BATCH];
    for (int i = 0; i < n; i++) {
        if (d->accept[i].n_accept == 1) continue;
        d->emit[n_emit] = (weir_emit_session){.law = &d->law[i],
                                              .kind = WEIR_EMIT_RESIDUAL,
                                              .q_logits = d->q_logits,
                                              .p_logits = d->p_logits,
                                              .q_stats = &d->q_stats,
                                              .p_stats = &d->p_stats,
                                              .draft = d->token[i],
                                              .block_p = d->accept[i].block_p};
        of[n_emit++] = i;
    }
    weir_emit_args a = {.session = d->emit, .n_session = n_emit, .n_vocab = d->n_vocab};
    WEIR_TRY(weir__emit_on(d->isa, &a));
    for (int32_t i = 0; i < n_emit; i++) {
        WEIR_TRY(d->emit[i].status);
        d->token[of[i]] = d->emit[i].token;
    }
    return WEIR_OK;
}

static weir_status run_batch(draws *d, const weir_law *law, uint64_t seed, int64_t first, int n) {
    for (int i = 0; i < n; i++) {
        d->law[i] = *law;
        draw_key(seed, (uint64_t)(first + i), d->law[i].key);
    }
    WEIR_TRY(draft_tokens(d, n));
    WEIR_TRY(accept_tokens(d, n));
    return resample_tokens(d, n);
}

static weir_status run_all(draws *d, const weir_law *law, uint64_t seed, int64_t first, int64_t n_draw,
                           int64_t *counts, int64_t *n_accepted, weir_err *err) {
    WEIR_TRY(weir__row_stats_of(d->isa, law, d->q_logits, d->n_vocab, "q", &d->q_stats, err));
    WEIR_TRY(weir__row_stats_of(d->isa, law, d->p_logits, d->n_vocab, "p", &d->p_stats, err));
    int64_t accepted = 0;
    for (int64_t done = 0; done < n_draw; done += BATCH) {
        const int n = n_draw - done < BATCH ? (int)(n_draw - done) : BATCH;
        const weir_status s = run_batch(d, law, seed, first + done, n);
        if (s != WEIR_OK) return weir_fail(err, s, "rule: draw %lld failed", (long long)(first + done));
        for (int i = 0; i < n; i++) {
            counts[d->token[i]]++;
            accepted += d->accept[i].n_accept;
        }
    }
    if (n_accepted) *n_accepted += accepted;
    return WEIR_OK;
}

weir_status weir_rule_draw(const weir_law *law, const float *q_logits, const float *p_logits, int32_t n_vocab,
                           uint64_t seed, int64_t first, int64_t n_draw, int64_t *counts, int64_t *n_accepted,
                           weir_err *err) {
    if (!law || !counts || n_vocab < 1 || n_draw < 0 || first < 0 || first > INT64_MAX - n_draw)
        return weir_fail(err, WEIR_EINVAL,
                         "rule: draws need a law, a vocabulary, a count of draws and a place for them");
    WEIR_TRY(weir_law_check(law, err));
    draws *d = weir_calloc(1, sizeof *d);
    if (!d) return weir_fail(err, WEIR_ENOMEM, "rule: no memory for a batch of draws");
    d->isa = weir__isa_best();
    d->q_logits = q_logits;
    d->p_logits = p_logits;
    d->n_vocab = n_vocab;
    const weir_status s = run_all(d, law, seed, first, n_draw, counts, n_accepted, err);
    weir_free(d);
    return s;
}
