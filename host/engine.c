#include "host/device_loop.h"

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

static weir_status check_range(const char *name, int value, int lo, int hi, weir_err *err) {
    if (value >= lo && value <= hi) return WEIR_OK;
    return weir_fail(err, WEIR_EINVAL, "%s %d is outside [%d, %d]", name, value, lo, hi);
}

/* Fills in what was left at 0 and refuses what is out of range. */
static weir_status resolve(weir_engine *e, const weir_engine_options *o, int *n_thread, weir_isa *isa,
                           weir_err *err) {
    if (!o->model)
        return weir_fail(err, WEIR_EINVAL, "no model: the verifier's directory or file is required (-m)");
    *n_thread = o->n_thread ? o->n_thread : weir__pool_cores();
    e->n_parallel = o->n_parallel ? o->n_parallel : 1;
    e->max_draft = o->max_draft ? o->max_draft : WEIR_MAX_DRAFT;
    WEIR_TRY(check_range("threads", *n_thread, 1, 256, err));
    WEIR_TRY(check_range("parallel sessions", e->n_parallel, 1, 1024, err));
    if (o->ctx_size) WEIR_TRY(check_range("context", o->ctx_size, 1, 1 << 20, err));
    WEIR_TRY(check_range("largest gamma", e->max_draft, 1, WEIR_MAX_DRAFT, err));
    WEIR_TRY(weir__device_check(o->device, err));
    *isa = weir__isa_best();
    if (o->isa) {
        const int asked = weir__isa_parse(o->isa);
        if (asked < 0)
            return weir_fail(err, WEIR_EINVAL, "isa %s is not one of portable, avx2, avx512, avx512bf16",
                             o->isa);
        if (asked > (int)*isa)
            return weir_fail(err, WEIR_ENOTSUP, "isa %s: this machine has %s at most", o->isa,
                             weir__isa_name(*isa));
        *isa = (weir_isa)asked;
    }
    const int rows =
        e->max_draft + 2 > WEIR_TOKEN_CASCADE_RUN + 2 ? e->max_draft + 2 : WEIR_TOKEN_CASCADE_RUN + 2;
    e->n_row_max = (int64_t)e->n_parallel * rows;
    return WEIR_OK;
}

/* ---- facts --------------------------------------------------------------------------------------------- */

static void note_device(weir_engine *e, weir_isa isa, int n_thread) {
    weir_engine_facts *f = &e->facts;
    f->device = e->be->name;
    f->about = e->be->about;
    f->isa = e->be->device ? NULL : weir__isa_name(isa);
    f->n_thread = e->be->device ? 0 : n_thread;
    f->device_note = e->device_note.text[0] ? e->device_note.text : NULL;
}

static void note_facts(weir_engine *e) {
    weir_engine_facts *f = &e->facts;
    f->n_parallel = e->n_parallel;
    f->ctx_size = e->ctx_size;
    f->max_draft = e->max_draft;
    f->has_draft = e->has_draft;
    f->has_tokenizer = e->tok != NULL;
    f->encoder_decoder = e->side[WEIR_VERIFIER].family->encoder_decoder;
    f->n_vocab = e->n_vocab;
    for (int i = 0; i <= (int)e->has_draft; i++) {
        const weir_checkpoint *ck = &e->side[i].ck;
        f->n_param[i] = e->side[i].facts.n_param;
        f->n_vocab_rows[i] = e->side[i].facts.n_vocab_rows;
        f->dtype[i] = weir_dtype_name(e->side[i].facts.dtype);
        f->family[i] = ck->family;
        f->ignored[i] = ck->ignored[0] ? ck->ignored : NULL;
        e->side[i].family->note(ck, i, f);
    }
    const weir_checkpoint *v = &e->side[WEIR_VERIFIER].ck;
    f->start_id = v->start_id;
    f->bos_id = v->bos_id;
    f->add_bos = v->add_bos && v->bos_id >= 0;
    f->n_eos = v->n_eos;
    memcpy(f->eos, v->eos, sizeof f->eos);
}

void weir_engine_get_facts(const weir_engine *e, weir_engine_facts *out) { *out = e->facts; }

/* ---- open and close ------------------------------------------------------------------------------------ */

static weir_status open_caches(weir_engine *e, weir_side *m) {
    const weir_kv_shape self = weir__plan_self(e, &m->facts), cross = weir__plan_cross(e, &m->facts);
    const weir_kv_shape slide = weir__plan_slide(e, &m->facts);
    WEIR_TRY(weir__kv_pool_create(&m->self, e->be, &self));
    m->kv.self = *weir__kv_pool_view(m->self);
    if (slide.n_layer > 0) {
        WEIR_TRY(weir__kv_pool_create(&m->slide, e->be, &slide));
        m->kv.slide = *weir__kv_pool_view(m->slide);
    }
    if (cross.n_layer > 0) {
        WEIR_TRY(weir__kv_pool_create(&m->cross, e->be, &cross));
        m->kv.cross = *weir__kv_pool_view(m->cross);
    }
    if (cross.n_layer == 0) return WEIR_OK;
    const size_t bytes = (size_t)e->n_parallel * sizeof *m->cross_len;
    m->cross_len = weir_calloc((size_t)e->n_parallel, sizeof *m->cross_len);
    if (!m->cross_len) return WEIR_ENOMEM;
    if (e->be->device && !(m->dev_cross_len = weir__backend_alloc(e->be, bytes))) return WEIR_EDEVMEM;
    m->kv.cross_len = e->be->device ? m->dev_cross_len : m->cross_len;
    return e->be->device ? weir__backend_zero(e->be, m->dev_cross_len, bytes) : WEIR_OK;
}

static weir_status load_side(weir_engine *e, int i, weir_err *err) {
    weir_side *m = &e->side[i];
    const weir_tensor_source src = weir__checkpoint_source(&m->ck);
    WEIR_TRY(m->family->create(&m->model, e->be, &m->ck, &src, e->n_row_max, e->ctx_size, err));
    const weir_status st = open_caches(e, m);
    if (st == WEIR_ECUDA) return weir__backend_failure(e->be, err);
    return st == WEIR_OK ? st : weir_fail(err, st, "%s: %s for the KV pages", m->ck.dir, weir_status_str(st));
}

/* The tokenizer's beginning of text, where a file names it. */
static void name_bos(weir_engine *e) {
    weir_checkpoint *v = &e->side[WEIR_VERIFIER].ck;
    const char *name = v->special[WEIR_SPECIAL_BOS];
    if (!e->tok || !name) return;
    for (int32_t i = 0; i < e->n_vocab && i < weir__tokenizer_size(e->tok); i++) {
        if (strcmp(weir__tokenizer_piece(e->tok, i), name) != 0) continue;
        v->bos_id = i;
        return;
    }
}

static weir_status open_checkpoints(weir_engine *e, const weir_engine_options *o, weir_err *err) {
    WEIR_TRY(weir__checkpoint_open(&e->side[WEIR_VERIFIER].ck, o->model, o->strict_config, err));
    e->has_draft = o->model_draft != NULL;
    if (e->has_draft)
        WEIR_TRY(weir__checkpoint_open(&e->side[WEIR_DRAFTER].ck, o->model_draft, o->strict_config, err));
    for (int i = 0; i < 2; i++) e->side[i].family = weir__family_of(&e->side[i].ck);
    e->ctx_size =
        o->ctx_size ? o->ctx_size : e->side[WEIR_VERIFIER].family->ctx_default(&e->side[WEIR_VERIFIER].ck);
    WEIR_TRY(weir__pair_open(&e->side[WEIR_VERIFIER].ck, e->has_draft ? &e->side[WEIR_DRAFTER].ck : NULL,
                             &e->tok, &e->n_vocab, err));
    name_bos(e);
    return WEIR_OK;
}

/* Of the prompt that is being run: its session may be cancelled on its own. */
static bool asked_to_stop(void *ud) {
    const weir_engine *e = ud;
    return weir_interrupted(&e->interrupt) || (e->prefilling && atomic_load(&e->prefilling->cancel));
}

static weir_status load(weir_engine *e, bool graphs, weir_err *err) {
    e->be->interrupt = (weir_interrupt){asked_to_stop, e};
    for (int i = 0; i <= (int)e->has_draft; i++) WEIR_TRY(load_side(e, i, err));
    weir_status st = weir__backend_reserve(e->be, e->op_floats);
    if (st == WEIR_OK) st = weir__buffers_open(e);
    if (st == WEIR_OK && e->be->device) st = weir__device_loop_open(&e->loop, e, graphs);
    if (st == WEIR_ECUDA) return weir__backend_failure(e->be, err);
    if (st != WEIR_OK) return weir_fail(err, st, "%s for the buffers of a step", weir_status_str(st));
    e->slot_owner = weir_calloc((size_t)e->n_parallel, sizeof(weir_session *));
    return e->slot_owner ? WEIR_OK : weir_fail(err, WEIR_ENOMEM, "out of memory for the sessions");
}

weir_status weir_engine_open(weir_engine **out, const weir_engine_options *opt, weir_err *err) {
    const double t0 = weir_seconds();
    weir_engine *e = weir_calloc(1, sizeof *e);
    if (!e) return weir_fail(err, WEIR_ENOMEM, "out of memory for the engine");
    int n_thread = 1;
    weir_isa isa = WEIR_ISA_PORTABLE;
    e->interrupt = opt->interrupt;
    weir_status st = resolve(e, opt, &n_thread, &isa, err);
    if (st == WEIR_OK) st = open_checkpoints(e, opt, err);
    if (st == WEIR_OK) st = weir__device_open(e, opt, n_thread, isa, err);
    if (st == WEIR_OK) st = weir__plan_make(e, opt, err);
    if (st == WEIR_OK) {
        note_device(e, isa, n_thread);
        note_facts(e);
        st = weir__chat_open(e, opt, err);
    }
    if (st == WEIR_OK && !opt->dry_run) st = load(e, !opt->no_graph, err);
    if (st != WEIR_OK) {
        weir_engine_close(e);
        return st;
    }
    e->facts.load_seconds = weir_seconds() - t0;
    *out = e;
    return WEIR_OK;
}

void weir_engine_close(weir_engine *e) {
    if (!e) return;
    weir__device_loop_close(e->loop);
    weir__buffers_close(e);
    weir_free(e->slot_owner);
    for (int i = 0; i < 2; i++) {
        weir_side *m = &e->side[i];
        weir_free(m->cross_len);
        if (m->dev_cross_len) weir__backend_free(e->be, m->dev_cross_len);
        weir__kv_pool_free(m->self);
        weir__kv_pool_free(m->cross);
        weir__kv_pool_free(m->slide);
        weir__model_free(m->model);
        weir__checkpoint_close(&m->ck);
    }
    weir__chat_close(e);
    weir__tokenizer_free(e->tok);
    weir__backend_close(e->be);
    weir_free(e);
}

/* ---- tokenizer ----------------------------------------------------------------------------------------- */

static weir_status need_tokenizer(const weir_engine *e, weir_err *err) {
    if (e->tok) return WEIR_OK;
    return weir_fail(err, WEIR_ENOTSUP,
                     "%s has no tokenizer (spiece.model, tokenizer.model, tokenizer.json, merges.txt): "
                     "texts need one, ids do not",
                     e->side[WEIR_VERIFIER].ck.dir);
}

weir_status weir_tokenize(const weir_engine *e, const char *text, size_t bytes, bool add_special,
                          bool parse_special, int32_t **ids, size_t *n_ids, weir_err *err) {
    WEIR_TRY(need_tokenizer(e, err));
    int32_t *plain = NULL;
    size_t n = 0;
    WEIR_TRY((parse_special ? weir__tokenizer_encode_special : weir__tokenizer_encode)(e->tok, text, bytes,
                                                                                       &plain, &n, err));
    int32_t *all = weir_alloc(n + 1, sizeof *all);
    if (!all) {
        weir_free(plain);
        return weir_fail(err, WEIR_ENOMEM, "out of memory for %zu tokens", n);
    }
    const weir_engine_facts *f = &e->facts;
    const size_t front = add_special && f->add_bos;
    if (front) all[0] = f->bos_id;
    if (n > 0) memcpy(all + front, plain, n * sizeof *all);
    weir_free(plain);
    n += front;
    const int32_t end = weir__tokenizer_end(e->tok); /* transformers adds the tokenizer's, not the
                                                       configuration's */
    if (add_special && f->encoder_decoder && f->n_eos > 0) all[n++] = end >= 0 ? end : f->eos[0];
    *ids = all;
    *n_ids = n;
    return WEIR_OK;
}

void weir_ids_free(int32_t *ids) { weir_free(ids); }

weir_status weir_detokenize(const weir_engine *e, const int32_t *ids, size_t n_ids, char **text,
                            size_t *bytes, weir_err *err) {
    WEIR_TRY(need_tokenizer(e, err));
    for (size_t i = 0; i < n_ids; i++)
        if (ids[i] < 0 || ids[i] >= e->n_vocab)
            return weir_fail(err, WEIR_EINVAL, "token %zu is %d; ids are in [0, %d)", i, (int)ids[i],
                             (int)e->n_vocab);
    return weir__tokenizer_decode(e->tok, ids, n_ids, text, bytes, err);
}

void weir_text_free(char *text) { weir_free(text); }

const char *weir_token_piece(const weir_engine *e, int32_t id) {
    return e->tok ? weir__tokenizer_piece(e->tok, id) : NULL;
}
