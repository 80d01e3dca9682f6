/* What an engine takes of each memory, found out before anything is loaded. */
#include <stdio.h>
#include <string.h>

#include "host/deck/plan.h"
#include "host/deck/block_loop.h"
#include "host/deck/deck.h"
#include "host/deck/prefix.h"
#include "host/deck/draft/text_draft.h"
#include "host/pair/place.h"

void weir__plan_format(char *out, size_t cap, size_t bytes) {
    const double mib = (double)bytes / (1024.0 * 1024.0);
    if (mib >= 1024.0)
        snprintf(out, cap, "%.2f GiB", mib / 1024.0);
    else
        snprintf(out, cap, "%.1f MiB", mib);
}

/* ---- the plan ------------------------------------------------------------------------------------------ */

/* A sum of the plan; SIZE_MAX stands for "more than can be said" and stays. */
static size_t plus(size_t a, size_t b) { return a > SIZE_MAX - b ? SIZE_MAX : a + b; }

static void add(weir_bytes *sum, weir_bytes x) {
    sum->backend = plus(sum->backend, x.backend);
    sum->host = plus(sum->host, x.host);
}

/* Sliding layers that have others beside them: a pool of their own. Where all slide, theirs is the only
 * one. */
static int32_t layers_apart(const weir_model_facts *f) {
    return f->n_layer_slide < f->n_layer_self ? f->n_layer_slide : 0;
}

/* What a sliding layer may still be asked for: the window before the first row of a call or chunk, all of its
 * rows, and the rows that a rollback takes back. */
static int64_t keep_of(const weir_engine *e, const weir_model_facts *f) {
    const int64_t chunk = e->pair.be->chunk, rows = chunk > e->pair.n_row_max ? chunk : e->pair.n_row_max;
    const int64_t most = e->pair.max_draft;
    return f->window + rows + (e->pair.draft == WEIR_DRAFT_TEXT ? weir__text_steps(most) : most) + 2;
}

/* Of n sessions, with `share` of the pages that they take at their longest: outputs of an encoder–decoder,
 * prompt and outputs of a decoder; either way a block may begin at the last and write its drafts after it. A
 * source, whose layers are those of the outputs, has a slot of its own. */
static weir_kv_shape self_of(const weir_engine *e, const weir_model_facts *f, int n, double share) {
    const bool sources = f->n_layer_cross > 0;
    const int64_t max_len = (int64_t)e->pair.ctx_size + e->pair.max_draft + 2;
    const int64_t longest =
        weir__kv_pages_for(max_len) + (sources ? weir__kv_pages_for(e->pair.ctx_size) : 0);
    weir_kv_shape h = {.n_slot = sources ? 2 * n : n,
                       .n_page = (int64_t)((double)(longest * n) * share + 1e-6), /* of rounding */
                       .max_len = max_len,
                       .n_layer = f->n_layer_self - layers_apart(f),
                       .n_head_kv = f->n_head_kv,
                       .head_dim = f->head_dim,
                       .dtype = f->kv_dtype};
    if (f->n_layer_slide == f->n_layer_self) h.keep = keep_of(e, f);
    return h;
}

static weir_kv_shape slide_of(const weir_engine *e, const weir_model_facts *f, int n, double share) {
    weir_kv_shape h = self_of(e, f, n, share);
    h.n_layer = layers_apart(f);
    h.keep = keep_of(e, f);
    return h;
}

weir_kv_shape weir__plan_self(const weir_engine *e, const weir_model_facts *f) {
    return self_of(e, f, e->pair.n_parallel, e->pair.kv_share);
}

weir_kv_shape weir__plan_slide(const weir_engine *e, const weir_model_facts *f) {
    return slide_of(e, f, e->pair.n_parallel, e->pair.kv_share);
}

static weir_bytes kv_bytes(const weir_engine *e, const weir_model_facts *f, int n, double share) {
    const weir_kv_shape self = self_of(e, f, n, share), slide = slide_of(e, f, n, share);
    weir_bytes sum = weir__kv_pool_bytes(&self, e->pair.be->device);
    if (slide.n_layer > 0) add(&sum, weir__kv_pool_bytes(&slide, e->pair.be->device));
    return sum;
}

/* Adds a pool to what all pages take, and to what no option makes smaller: a ring is whole, and the smallest
 * of other pools has two pages. */
static void add_pages(const weir_kv_shape *h, double *all, double *least) {
    if (h->n_layer == 0) return;
    const double page = (double)weir__kv_page_bytes(h), bytes = page * (double)weir__kv_shape_pages(h);
    *all += bytes;
    *least += weir__kv_is_ring(h) ? bytes : 2.0 * page;
}

/* The share of pages that kv_bytes leaves each pool: all the same, since a session has as many positions in
 * both models. Rings come first. */
static weir_status share_pages(weir_engine *e, size_t limit, weir_err *err) {
    double all = 0.0, least = 0.0, ring = 0.0;
    e->pair.kv_share = 1.0;
    if (limit == 0) return WEIR_OK;
    for (int i = 0; i <= (int)e->pair.has_draft; i++) {
        const weir_kv_shape shape[2] = {weir__plan_self(e, &e->pair.side[i].facts),
                                        weir__plan_slide(e, &e->pair.side[i].facts)};
        for (int k = 0; k < 2; k++) {
            add_pages(&shape[k], &all, &least);
            if (shape[k].n_layer > 0 && weir__kv_is_ring(&shape[k]))
                ring += (double)weir__kv_page_bytes(&shape[k]) * (double)weir__kv_shape_pages(&shape[k]);
        }
    }
    if ((double)limit < least)
        return weir_fail(err, WEIR_EINVAL, "%zu bytes of keys and values: at least %.0f are needed", limit,
                         least);
    if ((double)limit < all) e->pair.kv_share = ((double)limit - ring) / (all - ring);
    return WEIR_OK;
}

/* The scratch of ops, one for all: a device has one part, the CPU one per worker. */
static size_t op_bytes(const weir_engine *e, size_t floats) {
    const size_t n_part = e->pair.be->device ? 1 : (size_t)weir__pool_size(e->pair.be->pool);
    if (floats < e->pair.be->scratch_floats) floats = e->pair.be->scratch_floats;
    return n_part * ((floats + 15) / 16 * 16) * sizeof(float);
}

weir_status weir__plan_measure(weir_engine *e, int i, weir_place place, weir_model_facts *out,
                               weir_err *err) {
    weir_pair_side *m = &e->pair.side[i];
    const weir_tensor_source src = weir__checkpoint_source(&m->ck);
    weir_err why = {""}; /* the models know no files: their words get the directory's name */
    const weir_status s = m->family->measure(&m->ck, &src, place, out, &why);
    return s == WEIR_OK ? s : weir_fail(err, s, "%.200s: %s", m->ck.dir, why.text);
}

static weir_status measure(weir_engine *e, weir_err *err) {
    for (int i = 0; i <= (int)e->pair.has_draft; i++) {
        weir_pair_side *m = &e->pair.side[i];
        WEIR_TRY(weir__plan_measure(e, i, weir__ranks_place(e, i, 0), &m->facts, err));
        m->ld = m->facts.n_vocab_rows;
        e->pair.facts.weights[i] = m->facts.weight_bytes;
    }
    if (weir_draft_facts(e->pair.draft)->one_hot) /* rows of q are over the verifier's tokens */
        e->pair.side[WEIR_DRAFTER].ld = e->pair.side[WEIR_VERIFIER].ld;
    return WEIR_OK;
}

/* Rings are not shared, so a model with layers that slide has no prefix cache. */
static void add_prefixes(weir_engine *e, weir_bytes *scratch) {
    for (int i = 0; i <= (int)e->pair.has_draft; i++) {
        const weir_kv_shape self = weir__plan_self(e, &e->pair.side[i].facts);
        if (e->pair.side[i].facts.n_layer_slide > 0) continue;
        e->pair.facts.prefix_cache[i] = true;
        add(scratch, weir__prefix_bytes(&self, e->pair.be->device));
    }
}

static void add_up(weir_engine *e, weir_bytes *kv, weir_bytes *scratch) {
    const int32_t drafted = e->pair.tok_draft ? e->pair.n_vocab_draft : 0,
                  n = e->pair.n_vocab > drafted ? e->pair.n_vocab : drafted;
    size_t floats = (size_t)(e->pair.be->device ? weir__accept_cuda_scratch_floats(n)
                                                : weir__accept_cpu_scratch_floats(n));
    for (int i = 0; i <= (int)e->pair.has_draft; i++) {
        weir_pair_side *m = &e->pair.side[i];
        const weir_kv_shape self = weir__plan_self(e, &m->facts);
        e->pair.facts.kv_per_session[i] = kv_bytes(e, &m->facts, 1, 1.0).backend;
        e->pair.facts.kv_pages[i] = weir__kv_shape_pages(&self);
        add(kv, kv_bytes(e, &m->facts, e->pair.n_parallel, e->pair.kv_share));
        add(scratch, m->family->scratch_bytes(&m->ck, e->pair.be, &m->facts, weir__ranks_place(e, i, 0),
                                              e->pair.n_row_max, e->pair.ctx_size));
        const size_t own = m->family->op_floats(&m->ck, e->pair.be, e->pair.n_row_max, self.max_len);
        if (own > floats) floats = own;
    }
    add(scratch, weir__buffers_bytes(e));
    add(scratch, weir__block_loop_bytes(e));
    add(scratch, (weir_bytes){.backend = op_bytes(e, floats)});
    e->pair.op_floats = floats;
}

/* ---- ranks --------------------------------------------------------------------------------------------- */

/* Of a model on a rank, into its plan. */
static weir_status add_share(weir_engine *e, int i, int rank, weir_bytes *kv, weir_bytes *scratch,
                             weir_err *err) {
    weir_rank_plan *p = &e->pair.facts.rank_plan[rank];
    const weir_place place = weir__ranks_place(e, i, rank);
    weir_place alone = place;
    weir_model_facts f;
    alone.whole_body = true, alone.rank = 0;
    WEIR_TRY(weir__plan_measure(e, i, place, &f, err));
    const weir_family *family = e->pair.side[i].family;
    const weir_checkpoint *ck = &e->pair.side[i].ck;
    const weir_bytes all =
        family->scratch_bytes(ck, e->pair.be, &f, place, e->pair.n_row_max, e->pair.ctx_size);
    p->exchange +=
        all.backend -
        family->scratch_bytes(ck, e->pair.be, &f, alone, e->pair.n_row_max, e->pair.ctx_size).backend;
    p->head[i] = f.share.head, p->n_head[i] = f.share.n_head, p->n_head_kv[i] = f.share.n_head_kv;
    p->expert[i] = f.share.expert, p->n_expert[i] = f.share.n_expert;
    p->n_ff[i] = f.share.n_ff, p->id[i] = (int64_t)f.share.id, p->n_id[i] = f.share.n_id;
    p->weights[i] = f.weight_bytes;
    add(kv, kv_bytes(e, &f, e->pair.n_parallel, e->pair.kv_share));
    add(scratch, all);
    return WEIR_OK;
}

/* What an exchange gives at once: of a large call some rows after the others. */
static void note_slice(weir_engine *e, const weir_model_facts *f, int64_t most_ids) {
    enum { SLICE = 1 << 20 }; /* 4 MiB; 64 MiB of each of 8 ranks */
    const size_t chunk = (size_t)e->pair.be->chunk, calls = (size_t)e->pair.n_row_max,
                 rows = calls > chunk ? calls : chunk, row = f->exchange_floats, ids = (size_t)most_ids;
    size_t floats = rows * row > calls * ids ? rows * row : calls * ids;
    if (floats > SLICE) floats = SLICE;
    if (floats < f->embed_floats) floats = f->embed_floats;
    if (floats < ids) floats = ids;
    if (floats < 4 * calls) floats = 4 * calls; /* a call's rows */
    if (floats > e->pair.exchange_floats) e->pair.exchange_floats = floats;
}

/* The exchanges of a call with logits, and what a rank gives of them for a row: partial sums, what experts
 * returned, its row of the embedding, its logits. */
static void note_exchanges(weir_engine *e, int i) {
    const weir_model_facts *f = &e->pair.side[i].facts;
    int64_t most = 0;
    for (int r = 0; r < e->pair.n_rank; r++)
        if (e->pair.facts.rank_plan[r].n_id[i] > most) most = e->pair.facts.rank_plan[r].n_id[i];
    note_slice(e, f, most);
    e->pair.facts.exchanges[i] = f->n_exchange + 2;
    e->pair.facts.exchange_row[i] = sizeof(float) * (f->given_floats + (size_t)most);
}

/* Of the ranks whose memory is rank 0's: on this machine all, or of a job as many of the largest as there are
 * here; with devices those on its own (the others look at theirs when they open). */
static size_t total_here(const weir_engine *e) {
    const weir_pair *p = &e->pair;
    size_t sum = 0, most = 0;
    for (int r = 0; r < p->n_rank; r++) {
        const size_t total = p->facts.rank_plan[r].total;
        if (!p->be->device || p->device_of[r] == p->device_of[0]) sum = plus(sum, total);
        if (total > most) most = total;
    }
    if (p->n_near == p->n_rank) return sum;
    sum = 0;
    for (int i = 0; i < p->n_near; i++) sum = plus(sum, most);
    return sum;
}

/* Prompts with float weights go through cuBLASLt, whose order of sums depends on the share. An encoder's are
 * whole on every rank. */
bool weir__plan_can_share(const weir_engine *e, int i) {
    const weir_model_facts *f = &e->pair.side[i].facts;
    const bool plain = weir_dtype_is_float(f->dtype) && f->dtype != WEIR_DTYPE_BF16;
    return !e->pair.be->device || f->encoder_decoder || !plain;
}

static weir_status check_prompts(const weir_engine *e, weir_err *err) {
    const weir_pair *p = &e->pair;
    for (int i = 0; i <= (int)p->has_draft; i++) {
        if (weir__plan_can_share(e, i) || weir__ranks_place(e, i, 0).whole_body) continue;
        return weir_fail(
            err, WEIR_ENOTSUP,
            "%s: a decoder with %s weights over several devices: bf16 or quantised ones are needed "
            "(or --device cpu)",
            p->side[i].ck.dir, weir_dtype_name(p->side[i].facts.dtype));
    }
    return WEIR_OK;
}

/* Rank 0 has the buffers of steps, which are counted already; the others models and pages only. */
static weir_status plan_ranks(weir_engine *e, weir_err *err) {
    weir_engine_facts *f = &e->pair.facts;
    WEIR_TRY(check_prompts(e, err));
    for (int r = 0; r < e->pair.n_rank; r++) {
        weir_rank_plan *p = &f->rank_plan[r];
        *p = (weir_rank_plan){0};
        weir_bytes kv = {0, 0}, scratch = {.backend = op_bytes(e, e->pair.op_floats)};
        for (int i = 0; i <= (int)e->pair.has_draft; i++) WEIR_TRY(add_share(e, i, r, &kv, &scratch, err));
        p->kv = r == 0 ? f->kv_total : kv.backend;
        p->scratch = r == 0 ? f->scratch : scratch.backend;
    }
    for (int i = 0; i <= (int)e->pair.has_draft; i++) note_exchanges(e, i);
    const size_t slices = e->pair.be->exchange->bytes(e->pair.n_rank, e->pair.exchange_floats);
    for (int r = 0; r < e->pair.n_rank; r++) {
        weir_rank_plan *p = &f->rank_plan[r];
        p->exchange += slices;
        p->scratch = plus(p->scratch, slices);
        p->total = plus(plus(p->weights[0], p->weights[1]), plus(p->kv, p->scratch));
    }
    f->scratch = plus(f->scratch, slices);
    f->plan_total = total_here(e);
    return WEIR_OK;
}

static weir_status refuse(const weir_engine *e, const weir_engine_options *o, weir_err *err) {
    const weir_engine_facts *f = &e->pair.facts;
    char need[32], weights[32], kv[32], scratch[32], have[32];
    weir__plan_format(need, sizeof need, f->plan_total);
    weir__plan_format(weights, sizeof weights, f->weights[0] + f->weights[1]);
    weir__plan_format(kv, sizeof kv, f->kv_total);
    weir__plan_format(scratch, sizeof scratch, f->scratch);
    weir__plan_format(have, sizeof have, f->available);
    return weir_fail(
        err, WEIR_ENOMEM,
        "%s: the plan needs %s%s%s (weights %s, KV of %d sessions x %d positions %s, scratch %s); %s are "
        "available (lower -c or -np, or see weir info)",
        o->model, need, e->pair.be->device ? " of " : "", e->pair.be->device ? e->pair.be->name : "", weights,
        e->pair.n_parallel, e->pair.ctx_size, kv, scratch, have);
}

weir_status weir__plan_make(weir_engine *e, const weir_engine_options *o, weir_err *err) {
    weir_engine_facts *f = &e->pair.facts;
    weir_bytes kv = {0, 0}, scratch = {0, 0};
    WEIR_TRY(measure(e, err));
    WEIR_TRY(share_pages(e, o->kv_bytes, err));
    add_up(e, &kv, &scratch);
    if (o->prefix_cache) add_prefixes(e, &scratch);
    f->kv_total = kv.backend;
    f->scratch = scratch.backend;
    f->plan_total = plus(plus(f->weights[0], f->weights[1]), plus(kv.backend, scratch.backend));
    if (e->pair.n_rank > 1) WEIR_TRY(plan_ranks(e, err));
    f->available = o->memory_limit      ? o->memory_limit
                   : e->pair.be->device ? e->pair.be->memory_free
                                        : weir__memory_available("");
    f->host_total = plus(kv.host, scratch.host);
    f->host_available = e->pair.be->device ? weir__memory_available("") : 0;
    if (o->dry_run) return WEIR_OK;
    if (f->available > 0 && f->plan_total > f->available) return refuse(e, o, err);
    if (f->host_available == 0 || f->host_total <= f->host_available) return WEIR_OK;
    char need[32], have[32];
    weir__plan_format(need, sizeof need, f->host_total);
    weir__plan_format(have, sizeof have, f->host_available);
    return weir_fail(err, WEIR_ENOMEM,
                     "%s: the plan needs %s of host memory beside the device; %s are available "
                     "(lower -c or -np)",
                     o->model, need, have);
}
