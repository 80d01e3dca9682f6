#include "host/ranks/draft.h"

#include <math.h>
#include <stdio.h>

#include "host/deck/plan.h"
#include "host/measure/timing.h"
#include "host/pair/place.h"
#include "host/ranks/message.h"

/* ---- the choice ---------------------------------------------------------------------------------------- */

/* A share must win by more than the figures can be wrong: a median does not show that each exchange waits for
 * the slowest rank, and whole layers never wait. */
static const double WORTH = 0.95;

static bool usable(double x) { return isfinite(x) && x > 0.0; }

/* A step with shares, in steps with whole layers; gamma steps have the same ratio. What both wait for, the
 * row of the embedding and the logits, is left out. */
static double step_ratio(const ranks_figures *f) {
    if (!usable(f->exchange_seconds) || !usable(f->read_rate) || !usable(f->whole_bytes)) return (double)NAN;
    const double whole = f->whole_bytes / f->read_rate, share = f->share_bytes / f->read_rate;
    return (share + f->n_exchange * f->exchange_seconds) / whole;
}

bool weir__draft_is_shared(const ranks_figures *f, char *text, size_t cap) {
    const double us = 1e6 * f->exchange_seconds, gb = 1e-9 * f->read_rate, ratio = step_ratio(f);
    const bool share = f->can_share && usable(ratio) && ratio < WORTH;
    if (f->ordered)
        (void)snprintf(text, cap,
                       "its inputs are in act-order, which ranks cannot share out: whole on every rank");
    else if (!f->can_share)
        (void)snprintf(text, cap, "prompts with its float weights need all of them: whole on every rank");
    else if (!usable(ratio))
        (void)snprintf(text, cap, "exchange %.1f µs, %.1f GB/s are no measurement: whole on every rank", us,
                       gb);
    else if (share)
        (void)snprintf(text, cap, "exchange %.1f µs, %.1f GB/s: shared out, %.2f of a whole drafter's step",
                       us, gb, ratio);
    else
        (void)snprintf(text, cap,
                       "exchange %.1f µs, %.1f GB/s: whole on every rank (shared out: %.2f of its step)", us,
                       gb, ratio);
    return share;
}

/* ---- the figures --------------------------------------------------------------------------------------- */

static weir_status most_bytes(weir_engine *e, bool whole, double *bytes, int32_t *n_exchange, weir_err *err) {
    *bytes = 0.0;
    for (int r = 0; r < e->pair.n_rank; r++) {
        weir_place place = weir__ranks_place(e, WEIR_DRAFTER, r);
        weir_model_facts f;
        place.whole_body = whole;
        WEIR_TRY(weir__plan_measure(e, WEIR_DRAFTER, place, &f, err));
        if ((double)f.decode_bytes > *bytes) *bytes = (double)f.decode_bytes;
        *n_exchange = f.n_exchange;
    }
    return WEIR_OK;
}

weir_status weir__draft_sizes(weir_engine *e, ranks_figures *f, weir_err *err) {
    int32_t none;
    f->ordered = e->pair.side[WEIR_DRAFTER].facts.ordered > 0;
    f->can_share = !f->ordered && weir__plan_can_share(e, WEIR_DRAFTER);
    WEIR_TRY(most_bytes(e, true, &f->whole_bytes, &none, err));
    return f->ordered ? WEIR_OK : most_bytes(e, false, &f->share_bytes, &f->n_exchange, err);
}

/* Of a copy that reads and writes together what a step reads, so that it is served by the same cache or
 * memory, and takes no more than the drafter will. */
static size_t sample_bytes(const weir_engine *e) {
    enum { LEAST = 1 << 20, MOST = 128 << 20 };
    const size_t half = e->pair.side[WEIR_DRAFTER].facts.decode_bytes / 2;
    return half < LEAST ? LEAST : half > MOST ? MOST : half / 64 * 64;
}

static weir_status take_rank_0s(const weir_backend *be, ranks_figures *f, weir_err *err) {
    ranks_figures all[WEIR_RANKS];
    if (weir__comm_agree(be->comm, f, all, sizeof *f) != WEIR_OK) return weir__comm_failure(be->comm, err);
    *f = all[0];
    return WEIR_OK;
}

weir_status weir__draft_measure(const weir_engine *e, weir_backend *be, ranks_figures *f, weir_err *err) {
    enum { COPIES = 5, EXCHANGES = 32, BATCHES = 1 + 3 }; /* the first one is to warm up */
    static const weir_interrupt never;
    const size_t row = e->pair.side[WEIR_DRAFTER].facts.exchange_floats * sizeof(float);
    double seconds[BATCHES];
    WEIR_TRY(take_rank_0s(be, f, err));
    if (!f->can_share) return WEIR_OK;
    f->read_rate = weir__copy_rate(be, sample_bytes(e), COPIES, &never);
    if (weir__exchange_rounds(be, row, EXCHANGES, BATCHES, seconds) != WEIR_OK)
        return weir__comm_failure(be->comm, err);
    f->exchange_seconds = weir__quantile(seconds + 1, BATCHES - 1, 0.5) / EXCHANGES;
    return take_rank_0s(be, f, err);
}

weir_status weir__draft_settle(weir_engine *e, const weir_engine_options *o, const ranks_figures *f,
                               weir_err *err) {
    const bool share = weir__draft_is_shared(f, e->pair.draft_reason, sizeof e->pair.draft_reason);
    e->pair.draft_rank = e->pair.facts.draft_rank = share ? e->pair.n_rank : 1;
    return weir__plan_make(e, o, err);
}
