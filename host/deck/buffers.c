/* The arrays of a call, in one table for the plan, the allocation and the end. */
#include "host/deck/deck.h"
#include "kernels/base/mem.h"

/* X(field, entries, type) */
#define MIRRORED(X, e)                               \
    X(token, (e)->pair.n_row_max, int32_t)           \
    X(pos, (e)->pair.n_row_max, int32_t)             \
    X(slot, (e)->pair.n_row_max, int32_t)            \
    X(out, (e)->pair.n_row_max, int32_t)             \
    X(q_stats, (e)->pair.n_row_max, weir_row_stats)  \
    X(p_stats, (e)->pair.n_row_max, weir_row_stats)  \
    X(draft_logp, (e)->pair.n_row_max, float)        \
    X(drawn, (e)->pair.n_row_max, int32_t)           \
    X(position, (e)->pair.n_row_max, int32_t)        \
    X(law_of, (e)->pair.n_row_max, int32_t)          \
    X(block_row, (e)->pair.n_row_max, int32_t)       \
    X(law, (e)->pair.n_parallel, weir_law)           \
    X(emit, (e)->pair.n_parallel, weir_emit_session) \
    X(gate, (e)->pair.n_parallel, weir_gate_session) \
    X(pick, (e)->pair.n_row_max, int32_t)            \
    X(picked, (e)->pair.n_row_max, float)            \
    X(top_row, (e)->pair.n_row_max, int32_t)         \
    X(top, (e)->pair.n_row_max *WEIR_TOP_MAX, weir_top_entry)

#define BACKEND_ONLY(X, e)                                                                             \
    X(q_logits, (e)->pair.n_row_max *(e)->pair.side[WEIR_DRAFTER].ld, float)                           \
    X(q_weights, keeps_weights(e) ? (e)->pair.n_row_max *(e)->pair.side[WEIR_DRAFTER].ld : 0, float)   \
    X(text_logits, (e)->pair.tok_draft ? (int64_t)(e)->pair.n_parallel *drafter_rows(e) : 0, float)    \
    X(p_logits, (e)->pair.n_row_max *(e)->pair.side[WEIR_VERIFIER].ld, float)                          \
    X(minmax, (e)->pair.be->minmaxes ? (e)->pair.n_row_max *weir__minmax_count((e)->pair.n_vocab) : 0, \
      weir_minmax)

#define HOST_ONLY(X, e)                            \
    X(tick, (e)->pair.n_parallel, weir_tick_place) \
    X(list, (e)->pair.n_parallel, weir_session *)  \
    X(seat, (e)->pair.n_parallel, weir_seat)       \
    X(who, (e)->pair.n_parallel, weir_session *)

static int64_t drafter_rows(const weir_engine *e) { return e->pair.side[WEIR_DRAFTER].facts.n_vocab_rows; }

/* Exponentials of the drafter's rows, from their statistics to the accept step. */
static bool keeps_weights(const weir_engine *e) {
    return weir_draft_facts(e->pair.draft)->has_q && !e->pair.be->device && e->pair.n_vocab < WEIR_KEPT_IDS;
}

weir_bytes weir__buffers_bytes(const weir_engine *e) {
    size_t mirrored = 0, backend = 0, host = 0;
#define ADD(sum, n, type) sum += (size_t)(n) * sizeof(type);
#define ADD_MIRRORED(field, n, type) ADD(mirrored, n, type)
#define ADD_BACKEND(field, n, type) ADD(backend, n, type)
#define ADD_HOST(field, n, type) ADD(host, n, type)
    MIRRORED(ADD_MIRRORED, e)
    BACKEND_ONLY(ADD_BACKEND, e)
    HOST_ONLY(ADD_HOST, e)
    if (!e->pair.be->device) return (weir_bytes){.backend = mirrored + backend + host};
    return (weir_bytes){.backend = mirrored + backend, .host = mirrored + host};
}

/* Zeroed backend memory, NULL for no bytes; *ok is cleared on failure. */
static void *take(weir_engine *e, int64_t n, size_t size, bool *ok) {
    if (n == 0) return NULL;
    void *p = weir__backend_alloc(e->pair.be, (size_t)n * size);
    if (p && weir__backend_zero(e->pair.be, p, (size_t)n * size) == WEIR_OK) return p;
    *ok = false;
    return p;
}

static void *take_host(int64_t n, size_t size, bool *ok) {
    void *p = weir_calloc((size_t)n, size);
    if (!p) *ok = false;
    return p;
}

weir_status weir__buffers_open(weir_engine *e) {
    const bool device = e->pair.be->device;
    bool host = true, backend = true;
#define OPEN_BACKEND(field, n, type) \
    e->deck.buf.field = e->deck.dev.field = take(e, (n), sizeof(type), &backend);
#define OPEN_HOST(field, n, type) e->deck.buf.field = take_host((n), sizeof(type), &host);
#define OPEN_MIRRORED(field, n, type)                         \
    e->deck.dev.field = take(e, (n), sizeof(type), &backend); \
    e->deck.buf.field = device ? take_host((n), sizeof(type), &host) : e->deck.dev.field;
    MIRRORED(OPEN_MIRRORED, e)
    BACKEND_ONLY(OPEN_BACKEND, e)
    HOST_ONLY(OPEN_HOST, e)
    if (!backend && device) return e->pair.be->err.text[0] ? WEIR_ECUDA : WEIR_EDEVMEM;
    return host && backend ? WEIR_OK : WEIR_ENOMEM;
}

void weir__buffers_close(weir_engine *e) {
#define CLOSE_BACKEND(field, n, type) \
    if (e->deck.dev.field) weir__backend_free(e->pair.be, e->deck.dev.field);
#define CLOSE_HOST(field, n, type) weir_free(e->deck.buf.field);
#define CLOSE_MIRRORED(field, n, type)                                        \
    if (e->deck.buf.field != e->deck.dev.field) weir_free(e->deck.buf.field); \
    if (e->deck.dev.field) weir__backend_free(e->pair.be, e->deck.dev.field);
    MIRRORED(CLOSE_MIRRORED, e)
    BACKEND_ONLY(CLOSE_BACKEND, e)
    HOST_ONLY(CLOSE_HOST, e)
}

weir_status weir__step_put(weir_engine *e, void *dev, const void *host, size_t bytes) {
    return dev == host ? WEIR_OK : weir__backend_upload(e->pair.be, dev, host, bytes);
}

weir_status weir__step_get(weir_engine *e, void *host, const void *dev, size_t bytes) {
    return dev == host ? WEIR_OK : weir__backend_download(e->pair.be, host, dev, bytes);
}
