/* Rank 0's part while the engine runs: it tells the members of every call of a model. */
#include "host/ranks/lead.h"

#include <string.h>

#include "kernels/base/mem.h"

/* ---- messages ------------------------------------------------------------------------------------------ */

static void begin(lead_side *l, ranks_verb verb) {
    l->r->msg.n = 0;
    weir__words_put(&l->r->msg, verb);
    weir__words_put(&l->r->msg, l->side);
}

/* The number of what follows is known only afterwards. */
static size_t hold_place(lead_side *l) {
    weir__words_put(&l->r->msg, 0);
    return l->r->msg.n - 1;
}

static void fill_place(lead_side *l, size_t at, int32_t n) {
    if (!l->r->msg.failed) l->r->msg.word[at] = n;
}

static weir_status send(struct weir_ranks *r) {
    if (r->msg.failed || r->script.failed) {
        weir__comm_abort(r->comm, WEIR_ENOMEM, weir_status_str(WEIR_ENOMEM));
        return WEIR_ECOMM;
    }
    const void *msg = r->msg.word;
    size_t bytes = r->msg.n * sizeof *r->msg.word;
    return weir__comm_command(r->comm, &msg, &bytes);
}

/* A slot's row up to the last page that the members have otherwise. */
static int32_t put_row(lead_side *l, int which, const weir_kv_pool *pool, int32_t slot) {
    ranks_table *t = &l->table[which];
    const int32_t *page = weir__kv_pool_row(pool, slot);
    int32_t *known = t->page + slot * t->stride;
    if (memcmp(known, page, (size_t)t->stride * sizeof *page) == 0) return 0;
    int32_t count = (int32_t)t->stride;
    while (known[count - 1] == page[count - 1]) count--;
    memcpy(known, page, (size_t)count * sizeof *page);
    weir__words_put(&l->r->msg, which);
    weir__words_put(&l->r->msg, slot);
    weir__words_put(&l->r->msg, count);
    weir__words_put_all(&l->r->msg, page, (size_t)count);
    return 1;
}

static int32_t put_source(lead_side *l, const int32_t *len, int32_t slot) {
    if (l->cross_len[slot] == len[slot]) return 0;
    l->cross_len[slot] = len[slot];
    weir__words_put(&l->r->msg, slot);
    weir__words_put(&l->r->msg, len[slot]);
    return 1;
}

/* What changed in a model's tables, and in its sources. False: nothing did. */
static bool put_tables(lead_side *l) {
    const weir_deck_side *d = &l->r->e->deck.side[l->side];
    const weir_kv_pool *pool[RANKS_TABLES] = {d->self, d->slide};
    int32_t n_row = 0, n_source = 0;
    size_t at = hold_place(l);
    for (int t = 0; t < RANKS_TABLES; t++)
        for (int32_t slot = 0; slot < l->table[t].n_slot; slot++) n_row += put_row(l, t, pool[t], slot);
    fill_place(l, at, n_row);
    at = hold_place(l);
    for (int32_t slot = 0; l->cross_len && slot < l->r->e->pair.n_parallel; slot++)
        n_source += put_source(l, d->cross_len, slot);
    fill_place(l, at, n_source);
    return n_row + n_source > 0;
}

/* ---- calls of a model ---------------------------------------------------------------------------------- */

/* Rows that are made on a device go from there to the members' devices. */
static weir_status spread_rows(struct weir_ranks *r, const weir_batch *b) {
    weir_backend *be = r->e->pair.be;
    const weir_spread a = {.from = {b->token, b->pos, b->slot, b->out},
                           .n = {b->n_row, b->n_row, b->n_row, b->n_out}};
    return be->exchange->spread(be, &a);
}

static weir_status lead_forward(void *ud, const weir_kv *kv, const weir_batch *b) {
    lead_side *l = ud;
    ranks_words *w = &l->r->msg;
    const ranks_call call = {l->side, b->n_row, b->n_out, b->group};
    (void)kv;
    if (l->r->recording) {
        weir__words_put_all(&l->r->script, (const int32_t *)&call, RANKS_CALL_WORDS);
        return spread_rows(l->r, b);
    }
    begin(l, RANKS_FORWARD);
    (void)put_tables(l);
    weir__words_put_all(w, &call.n_row, RANKS_CALL_WORDS - 1);
    if (!l->r->e->pair.be->device) {
        weir__words_put_all(w, b->token, (size_t)b->n_row);
        weir__words_put_all(w, b->pos, (size_t)b->n_row);
        weir__words_put_all(w, b->slot, (size_t)b->n_row);
        weir__words_put_all(w, b->out, (size_t)b->n_out);
        return send(l->r);
    }
    WEIR_TRY(send(l->r));
    return spread_rows(l->r, b);
}

/* Whether the members have this prompt in this place; from now on they do. */
static bool has_prompt(lead_side *l, int32_t place, const int32_t *token, int64_t n) {
    const size_t bytes = (size_t)n * sizeof *token;
    if (l->n_prompt[place] == n && memcmp(l->prompt[place], token, bytes) == 0) return true;
    memcpy(l->prompt[place], token, bytes);
    l->n_prompt[place] = n;
    return false;
}

static weir_status lead_prefill(void *ud, const weir_kv *kv, int32_t slot, const int32_t *token, int64_t n,
                                int32_t place, int64_t step) {
    lead_side *l = ud;
    ranks_words *w = &l->r->msg;
    (void)kv;
    begin(l, RANKS_PREFILL);
    (void)put_tables(l);
    const bool known = has_prompt(l, place, token, n);
    const int32_t head[] = {slot, place, (int32_t)step, (int32_t)n, known ? 0 : (int32_t)n};
    weir__words_put_all(w, head, 5);
    if (!known) weir__words_put_all(w, token, (size_t)n);
    return send(l->r);
}

weir_status weir__lead_exchange(struct weir_ranks *r, size_t bytes, int times) {
    begin(&r->side[0], RANKS_EXCHANGE);
    weir__words_put(&r->msg, 0);
    weir__words_put(&r->msg, 0);
    weir__words_put(&r->msg, (int32_t)bytes);
    weir__words_put(&r->msg, times);
    WEIR_TRY(send(r));
    return weir__exchange_rounds(r->e->pair.be, bytes, times, 1, NULL);
}

/* ---- blocks that devices run on their own -------------------------------------------------------------- */

typedef struct recording {
    struct weir_ranks *r;
    weir_status (*body)(void *ctx);
    void *ctx;
    int32_t *goes_on;
} recording;

static weir_status record_block(void *ctx) {
    const recording *a = ctx;
    weir_backend *be = a->r->e->pair.be;
    a->r->script.n = 0; /* a capture may call this several times */
    WEIR_TRY(a->body(a->ctx));
    const weir_spread word = {.from = {a->goes_on}, .n = {1}};
    return be->exchange->spread(be, &word);
}

/* A group's blocks are called op by op unless every device repeats them on its own. */
static weir_status not_looped(weir_engine *e, weir_graph **g) {
    e->pair.be->stream->graph_free(e->pair.be, *g);
    *g = NULL;
    return WEIR_ENOTSUP;
}

static weir_status lead_record(weir_engine *e, int key, weir_status (*body)(void *ctx), void *ctx,
                               int32_t *goes_on, weir_graph **out) {
    struct weir_ranks *r = e->pair.ranks;
    recording a = {r, body, ctx, goes_on};
    r->recording = true;
    const weir_status s = e->pair.be->stream->capture(e->pair.be, record_block, &a, true, out);
    r->recording = false;
    if (s != WEIR_OK) return s; /* nobody has heard of it */
    if (!(*out)->loops) return not_looped(e, out);
    begin(&r->side[0], RANKS_RECORD);
    weir__words_put(&r->msg, 0);
    weir__words_put(&r->msg, 0);
    weir__words_put(&r->msg, key);
    weir__words_put(&r->msg, (int32_t)(r->script.n / RANKS_CALL_WORDS));
    weir__words_put_all(&r->msg, r->script.word, r->script.n);
    WEIR_TRY(send(r));
    bool all;
    WEIR_TRY(weir__loops_everywhere(r->comm, true, &all));
    return all ? WEIR_OK : not_looped(e, out);
}

static weir_status lead_loop(weir_engine *e, int key) {
    struct weir_ranks *r = e->pair.ranks;
    for (int i = 0; i <= (int)e->pair.has_draft; i++) {
        begin(&r->side[i], RANKS_PAGES);
        if (put_tables(&r->side[i])) WEIR_TRY(send(r));
    }
    begin(&r->side[0], RANKS_LOOP);
    weir__words_put(&r->msg, 0);
    weir__words_put(&r->msg, 0);
    weir__words_put(&r->msg, key);
    return send(r);
}

static const weir_loop_lead loop_lead = {lead_record, lead_loop};

/* ---- open and close ------------------------------------------------------------------------------------ */

/* As the members' tables begin: zeros. */
static weir_status open_mirror(lead_side *l, const weir_engine *e) {
    const weir_deck_side *d = &e->deck.side[l->side];
    const weir_kv_pool *pool[RANKS_TABLES] = {d->self, d->slide};
    for (int t = 0; t < RANKS_TABLES; t++) {
        if (!pool[t]) continue;
        l->table[t].n_slot = e->pair.n_parallel * (d->cross_len && t == RANKS_SELF ? 2 : 1);
        l->table[t].stride = weir__kv_pool_row_pages(pool[t]);
        l->table[t].page =
            weir_calloc((size_t)(l->table[t].n_slot * l->table[t].stride), sizeof *l->table[t].page);
        if (!l->table[t].page) return WEIR_ENOMEM;
    }
    for (int i = 0; i < e->pair.side[l->side].facts.n_open; i++) {
        l->prompt[i] = weir_calloc((size_t)e->pair.ctx_size, sizeof **l->prompt);
        if (!l->prompt[i]) return WEIR_ENOMEM;
    }
    if (!d->cross_len) return WEIR_OK;
    l->cross_len = weir_calloc((size_t)e->pair.n_parallel, sizeof *l->cross_len);
    return l->cross_len ? WEIR_OK : WEIR_ENOMEM;
}

weir_status weir__lead_models(struct weir_ranks *r) {
    weir_engine *e = r->e;
    for (int i = 0; i <= (int)e->pair.has_draft; i++) {
        lead_side *l = &r->side[i];
        l->r = r, l->side = i;
        WEIR_TRY(open_mirror(l, e));
        weir__model_set_lead(e->pair.side[i].model, (weir_model_lead){lead_forward, lead_prefill, l});
    }
    e->pair.lead = &loop_lead;
    return WEIR_OK;
}

void weir__lead_close(struct weir_ranks *r) {
    r->msg.n = 0;
    weir__words_put(&r->msg, RANKS_CLOSE);
    if (!r->side[0].r || r->msg.failed || send(r) != WEIR_OK)
        weir__comm_abort(r->comm, WEIR_ECANCELED, "closed");
}

void weir__lead_free(struct weir_ranks *r) {
    for (int i = 0; i < 2; i++) {
        for (int t = 0; t < RANKS_TABLES; t++) weir_free(r->side[i].table[t].page);
        for (int p = 0; p < WEIR_PROMPTS_OPEN; p++) weir_free(r->side[i].prompt[p]);
        weir_free(r->side[i].cross_len);
    }
    weir_free(r->msg.word);
    weir_free(r->script.word);
}
