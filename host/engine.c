#include "host/engine.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "host/pair.h"
#include "kernels/base/mem.h"

/* ---- options ------------------------------------------------------------------------------------------- */

weir_engine_options weir_engine_options_default(void) {
    weir_engine_options o;
    memset(&o, 0, sizeof o);
    return o;
}

static int usable_cores(void) {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
    const int n = CPU_COUNT(&set);
    return n < 1 ? 1 : n > 256 ? 256 : n;
}

static weir_status check_range(const char *name, int value, int lo, int hi, weir_err *err) {
    if (value >= lo && value <= hi) return WEIR_OK;
    return weir_fail(err, WEIR_EINVAL, "%s %d is outside [%d, %d]", name, value, lo, hi);
}

/* Fills in what was left at 0 and refuses what is out of range. */
static weir_status resolve(weir_engine *e, const weir_engine_options *o, int *n_thread, weir_isa *isa, weir_err *err) {
    if (!o->model) return weir_fail(err, WEIR_EINVAL, "no model: the verifier's directory is required (-m)");
    *n_thread = o->n_thread ? o->n_thread : usable_cores();
    e->n_parallel = o->n_parallel ? o->n_parallel : 1;
    e->ctx_size = o->ctx_size ? o->ctx_size : 512;
    e->max_draft = o->max_draft ? o->max_draft : WEIR_MAX_DRAFT;
    WEIR_TRY(check_range("threads", *n_thread, 1, 256, err));
    WEIR_TRY(check_range("parallel sessions", e->n_parallel, 1, 1024, err));
    WEIR_TRY(check_range("context", e->ctx_size, 1, 1 << 20, err));
    WEIR_TRY(check_range("largest gamma", e->max_draft, 1, WEIR_MAX_DRAFT, err));
    const char *device = o->device ? o->device : "auto";
    if (strncmp(device, "cuda", 4) == 0 && (device[4] == '\0' || device[4] == ':'))
        return weir_fail(err, WEIR_ENOTSUP, "device %s: this build has no CUDA backend; use cpu or auto", device);
    if (strcmp(device, "cpu") != 0 && strcmp(device, "auto") != 0)
        return weir_fail(err, WEIR_EINVAL, "device %s is not one of cpu, cuda[:N], auto", device);
    *isa = weir_isa_best();
    if (o->isa) {
        const int asked = weir_isa_parse(o->isa);
        if (asked < 0)
            return weir_fail(err, WEIR_EINVAL, "isa %s is not one of portable, avx2, avx512, avx512bf16", o->isa);
        if (asked > (int)*isa)
            return weir_fail(err, WEIR_ENOTSUP, "isa %s: this machine has %s at most", o->isa, weir_isa_name(*isa));
        *isa = (weir_isa)asked;
    }
    const int rows = e->max_draft + 2 > WEIR_TOKEN_CASCADE_RUN + 2 ? e->max_draft + 2 : WEIR_TOKEN_CASCADE_RUN + 2;
    e->n_row_max = (int64_t)e->n_parallel * rows;
    return WEIR_OK;
}

/* ---- the memory plan ----------------------------------------------------------------------------------- */

/* Arrays of a call, in one place for the plan and the allocation. X(field, entries, type) */
#define STEP_BUFFERS(X, e)                                                  \
    X(token, (e)->n_row_max, int32_t)                                       \
    X(pos, (e)->n_row_max, int32_t)                                         \
    X(slot, (e)->n_row_max, int32_t)                                        \
    X(out, (e)->n_row_max, int32_t)                                         \
    X(q_logits, (e)->n_row_max * (e)->side[WEIR_DRAFTER].ld, float)         \
    X(p_logits, (e)->n_row_max * (e)->side[WEIR_VERIFIER].ld, float)        \
    X(call_stats, (e)->n_row_max, weir_row_stats)                           \
    X(q_stats, (e)->n_row_max, weir_row_stats)                              \
    X(p_stats, (e)->n_row_max, weir_row_stats)                              \
    X(draft, (e)->n_row_max, int32_t)                                       \
    X(n_draft, (e)->n_parallel, int32_t)                                    \
    X(draft_logp, (e)->n_row_max, float)                                    \
    X(drawn, (e)->n_row_max, int32_t)                                       \
    X(position, (e)->n_row_max, int32_t)                                    \
    X(law_of, (e)->n_row_max, int32_t)                                      \
    X(block_row, (e)->n_row_max, int32_t)                                   \
    X(law, (e)->n_parallel, weir_law)                                       \
    X(row, (e)->n_row_max, weir_accept_row)                                 \
    X(accept, (e)->n_parallel, weir_accept_session)                         \
    X(emit, (e)->n_parallel, weir_emit_session)                             \
    X(tick, (e)->n_parallel, weir_tick_row)                                 \
    X(list, (e)->n_parallel, weir_session *)

static size_t buffer_bytes(const weir_engine *e) {
    size_t sum = 0;
#define STEP_BYTES(field, n, type) sum += (size_t)(n) * sizeof(type);
    STEP_BUFFERS(STEP_BYTES, e)
#undef STEP_BYTES
    return sum;
}

static int64_t kv_max_len(const weir_engine *e) { return (int64_t)e->ctx_size + e->max_draft + 2; }

/* A sum of the plan; SIZE_MAX stands for "more than can be said" and stays. */
static size_t plus(size_t a, size_t b) { return a > SIZE_MAX - b ? SIZE_MAX : a + b; }

static size_t kv_bytes(const weir_engine *e, const weir_model_facts *f, int n_slot) {
    const size_t self = weir_kv_pool_bytes(n_slot, kv_max_len(e), f->n_layer_self, f->n_head_kv, f->head_dim);
    if (f->n_layer_cross == 0) return self;
    return plus(self, weir_kv_pool_bytes(n_slot, e->ctx_size, f->n_layer_cross, f->n_head_kv, f->head_dim));
}

static weir_status plan(weir_engine *e, const weir_engine_options *o, int n_thread, weir_err *err) {
    weir_engine_facts *f = &e->facts;
    for (int i = 0; i <= (int)e->has_draft; i++) {
        weir_side *m = &e->side[i];
        const weir_tensor_source src = weir_checkpoint_source(&m->ck);
        WEIR_TRY(weir_t5_measure(&m->ck.t5, &src, &m->facts, err));
        m->ld = m->facts.n_vocab_rows;
        f->weights[i] = m->facts.weight_bytes;
        f->kv_per_session[i] = kv_bytes(e, &m->facts, 1);
        f->kv_total = plus(f->kv_total, kv_bytes(e, &m->facts, e->n_parallel));
        f->scratch = plus(f->scratch, weir_t5_scratch_bytes(&m->ck.t5, e->n_row_max, e->ctx_size, n_thread));
    }
    f->scratch = plus(f->scratch, buffer_bytes(e));
    f->plan_total = plus(plus(f->weights[0], f->weights[1]), plus(f->kv_total, f->scratch));
    f->available = o->memory_limit ? o->memory_limit : weir_plan_available();
    if (o->dry_run || f->available == 0 || f->plan_total <= f->available) return WEIR_OK;
    char need[32], weights[32], kv[32], scratch[32], have[32];
    weir_plan_format(need, sizeof need, f->plan_total);
    weir_plan_format(weights, sizeof weights, f->weights[0] + f->weights[1]);
    weir_plan_format(kv, sizeof kv, f->kv_total);
    weir_plan_format(scratch, sizeof scratch, f->scratch);
    weir_plan_format(have, sizeof have, f->available);
    return weir_fail(err, WEIR_ENOMEM,
                     "%s: the plan needs %s (weights %s, KV of %d sessions x %d positions %s, scratch %s); %s are "
                     "available (lower -c or -np, or see weir info)",
                     o->model, need, weights, e->n_parallel, e->ctx_size, kv, scratch, have);
}

/* ---- facts --------------------------------------------------------------------------------------------- */

static void note_facts(weir_engine *e, weir_isa isa, int n_thread) {
    weir_engine_facts *f = &e->facts;
    f->device = "cpu";
    f->isa = weir_isa_name(isa);
    f->n_thread = n_thread;
    f->n_parallel = e->n_parallel;
    f->ctx_size = e->ctx_size;
    f->max_draft = e->max_draft;
    f->has_draft = e->has_draft;
    f->has_tokenizer = e->tok != NULL;
    f->encoder_decoder = true;
    f->n_vocab = e->n_vocab;
    for (int i = 0; i <= (int)e->has_draft; i++) {
        const weir_checkpoint *ck = &e->side[i].ck;
        f->n_param[i] = e->side[i].facts.n_param;
        f->n_vocab_rows[i] = e->side[i].facts.n_vocab_rows;
        f->dtype[i] = weir_dtype_name(e->side[i].facts.dtype);
        f->n_layer_enc[i] = ck->t5.n_enc_layer;
        f->n_layer_dec[i] = ck->t5.n_dec_layer;
        f->dim[i] = ck->t5.dim;
        f->ff_dim[i] = ck->t5.ff_dim;
        f->n_head[i] = ck->t5.n_head;
        f->head_dim[i] = ck->t5.head_dim;
        f->family[i] = ck->family;
    }
    const weir_checkpoint *v = &e->side[WEIR_VERIFIER].ck;
    f->start_id = v->start_id;
    f->n_eos = v->n_eos;
    memcpy(f->eos, v->eos, sizeof f->eos);
}

void weir_engine_get_facts(const weir_engine *e, weir_engine_facts *out) { *out = e->facts; }

/* ---- open and close ------------------------------------------------------------------------------------ */

static weir_status open_caches(weir_engine *e, weir_side *m) {
    const weir_model_facts *f = &m->facts;
    WEIR_TRY(weir_kv_pool_create(&m->self, e->be, e->n_parallel, kv_max_len(e), f->n_layer_self, f->n_head_kv,
                                 f->head_dim));
    m->kv.self = *weir_kv_pool_view(m->self);
    if (f->n_layer_cross > 0) {
        WEIR_TRY(weir_kv_pool_create(&m->cross, e->be, e->n_parallel, e->ctx_size, f->n_layer_cross, f->n_head_kv,
                                     f->head_dim));
        m->kv.cross = *weir_kv_pool_view(m->cross);
    }
    m->cross_len = weir_calloc((size_t)e->n_parallel, sizeof *m->cross_len);
    m->kv.cross_len = m->cross_len;
    return m->cross_len ? WEIR_OK : WEIR_ENOMEM;
}

static weir_status load_side(weir_engine *e, int i, weir_err *err) {
    weir_side *m = &e->side[i];
    const weir_tensor_source src = weir_checkpoint_source(&m->ck);
    WEIR_TRY(weir_t5_create(&m->model, e->be, &m->ck.t5, &src, e->n_row_max, e->ctx_size, err));
    const weir_status st = open_caches(e, m);
    return st == WEIR_OK ? st : weir_fail(err, st, "%s: out of memory for the KV pages", m->ck.dir);
}

static weir_status open_buffers(weir_engine *e) {
    bool ok = true;
#define STEP_ALLOC(field, n, type)                                      \
    e->buf.field = weir_calloc((size_t)(n), sizeof(type));              \
    ok = ok && e->buf.field;
    STEP_BUFFERS(STEP_ALLOC, e)
#undef STEP_ALLOC
    e->slot_owner = weir_calloc((size_t)e->n_parallel, sizeof(weir_session *));
    return ok && e->slot_owner ? WEIR_OK : WEIR_ENOMEM;
}

static weir_status open_checkpoints(weir_engine *e, const weir_engine_options *o, weir_err *err) {
    WEIR_TRY(weir_checkpoint_open(&e->side[WEIR_VERIFIER].ck, o->model, err));
    e->has_draft = o->model_draft != NULL;
    if (e->has_draft) WEIR_TRY(weir_checkpoint_open(&e->side[WEIR_DRAFTER].ck, o->model_draft, err));
    return weir_pair_open(&e->side[WEIR_VERIFIER].ck, e->has_draft ? &e->side[WEIR_DRAFTER].ck : NULL, &e->tok,
                          &e->n_vocab, err);
}

static weir_status load(weir_engine *e, int n_thread, weir_isa isa, weir_err *err) {
    WEIR_TRY(weir_backend_cpu_open(&e->be, n_thread, isa, err));
    for (int i = 0; i <= (int)e->has_draft; i++) WEIR_TRY(load_side(e, i, err));
    const weir_status st = open_buffers(e);
    return st == WEIR_OK ? st : weir_fail(err, st, "out of memory for the step buffers");
}

weir_status weir_engine_open(weir_engine **out, const weir_engine_options *opt, weir_err *err) {
    const double t0 = weir_now();
    weir_engine *e = weir_calloc(1, sizeof *e);
    if (!e) return weir_fail(err, WEIR_ENOMEM, "out of memory for the engine");
    int n_thread = 1;
    weir_isa isa = WEIR_ISA_PORTABLE;
    weir_status st = resolve(e, opt, &n_thread, &isa, err);
    if (st == WEIR_OK) st = open_checkpoints(e, opt, err);
    if (st == WEIR_OK) st = plan(e, opt, n_thread, err);
    if (st == WEIR_OK) note_facts(e, isa, n_thread);
    if (st == WEIR_OK && !opt->dry_run) st = load(e, n_thread, isa, err);
    if (st != WEIR_OK) {
        weir_engine_close(e);
        return st;
    }
    e->facts.load_seconds = weir_now() - t0;
    *out = e;
    return WEIR_OK;
}

void weir_engine_close(weir_engine *e) {
    if (!e) return;
#define STEP_FREE(field, n, type) weir_free(e->buf.field);
    STEP_BUFFERS(STEP_FREE, e)
#undef STEP_FREE
    weir_free(e->slot_owner);
    for (int i = 0; i < 2; i++) {
        weir_side *m = &e->side[i];
        weir_free(m->cross_len);
        weir_kv_pool_free(m->self);
        weir_kv_pool_free(m->cross);
        weir_model_free(m->model);
        weir_checkpoint_close(&m->ck);
    }
    weir_tokenizer_free(e->tok);
    weir_backend_close(e->be);
    weir_free(e);
}

/* ---- tokenizer ----------------------------------------------------------------------------------------- */

static weir_status need_tokenizer(const weir_engine *e, weir_err *err) {
    if (e->tok) return WEIR_OK;
    return weir_fail(err, WEIR_ENOTSUP, "%s has no spiece.model: texts need a tokenizer, ids do not",
                     e->side[WEIR_VERIFIER].ck.dir);
}

weir_status weir_tokenize(const weir_engine *e, const char *text, size_t bytes, bool add_special, int32_t **ids,
                          size_t *n_ids, weir_err *err) {
    WEIR_TRY(need_tokenizer(e, err));
    int32_t *plain = NULL;
    size_t n = 0;
    WEIR_TRY(weir_tokenizer_encode(e->tok, text, bytes, &plain, &n, err));
    int32_t *all = weir_alloc(n + 1, sizeof *all);
    if (!all) {
        weir_free(plain);
        return weir_fail(err, WEIR_ENOMEM, "out of memory for %zu tokens", n);
    }
    if (n > 0) memcpy(all, plain, n * sizeof *all);
    weir_free(plain);
    if (add_special && e->facts.n_eos > 0) all[n++] = e->facts.eos[0];
    *ids = all;
    *n_ids = n;
    return WEIR_OK;
}

void weir_ids_free(int32_t *ids) { weir_free(ids); }

weir_status weir_detokenize(const weir_engine *e, const int32_t *ids, size_t n_ids, char **text, size_t *bytes,
                            weir_err *err) {
    WEIR_TRY(need_tokenizer(e, err));
    for (size_t i = 0; i < n_ids; i++)
        if (ids[i] < 0 || ids[i] >= e->n_vocab)
            return weir_fail(err, WEIR_EINVAL, "token %zu is %d; ids are in [0, %d)", i, (int)ids[i], (int)e->n_vocab);
    return weir_tokenizer_decode(e->tok, ids, n_ids, text, bytes, err);
}

void weir_text_free(char *text) { weir_free(text); }

const char *weir_token_piece(const weir_engine *e, int32_t id) {
    return e->tok ? weir_tokenizer_piece(e->tok, id) : NULL;
}
