
#include <stdio.h>
#include <string.h>

#include "host/deck/block_loop.h"
#include "host/deck/deck.h"
#include "host/deck/plan.h"
#include "host/measure/costs.h"
#include "host/pair/device.h"
#include "host/pair/place.h"
#include "host/pair/vocabulary.h"
#include "host/ranks/ranks.h"
#include "kernels/base/clock.h"
#include "kernels/base/mem.h"
#include "kernels/weight/quantise.h"

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

static weir_status resolve_draft(weir_engine *e, const weir_engine_options *o, weir_err *err) {
    weir_pair *p = &e->pair;
    p->draft = weir_draft_named(o->model_draft);
    p->has_draft = weir_draft_facts(p->draft)->loads;
    if (p->draft != WEIR_DRAFT_LOOKUP) return WEIR_OK;
    p->lookup_max = o->lookup_max ? o->lookup_max : WEIR_LOOKUP_MAX;
    WEIR_TRY(check_range("longest suffix of prompt lookup", p->lookup_max, 1, WEIR_LOOKUP_MOST, err));
    const int least = WEIR_LOOKUP_MIN < p->lookup_max ? WEIR_LOOKUP_MIN : p->lookup_max;
    p->lookup_min = o->lookup_min ? o->lookup_min : least;
    return check_range("shortest suffix of prompt lookup", p->lookup_min, 1, p->lookup_max, err);
}

/* A drafter that is not there is a mistake, as a name that is none. */
static weir_status resolve_quantize(const char *option, const char *name, bool there, weir_dtype *out,
                                    weir_err *err) {
    if (!name) return WEIR_OK;
    if (!there) return weir_fail(err, WEIR_EINVAL, "%s %.40s: there is no drafter's model", option, name);
    for (int t = 0; t < WEIR_DTYPE_COUNT; t++) {
        *out = (weir_dtype)t;
        if (weir__can_quantise(*out) && strcmp(name, weir_dtype_name(*out)) == 0) return WEIR_OK;
    }
    return weir_fail(err, WEIR_EINVAL, "%s %.40s: expected q8_0 or fp8", option, name);
}

/* Fills in what was left at 0 and refuses what is out of range. */
static weir_status resolve(weir_engine *e, const weir_engine_options *o, int *n_thread, weir_isa *isa,
                           weir_err *err) {
    if (!o->model)
        return weir_fail(err, WEIR_EINVAL, "no model: the verifier's directory or file is required (-m)");
    WEIR_TRY(resolve_draft(e, o, err));
    WEIR_TRY(weir__ranks_resolve(e, o, err));
    *n_thread = o->n_thread ? o->n_thread : weir__pool_cores() / e->pair.n_rank;
    if (*n_thread == 0) *n_thread = 1;
    e->pair.n_parallel = o->n_parallel ? o->n_parallel : 1;
    e->pair.max_draft = o->max_draft ? o->max_draft : WEIR_GAMMA_MAX;
    WEIR_TRY(check_range("threads", *n_thread, 1, 256, err));
    WEIR_TRY(check_range("parallel sessions", e->pair.n_parallel, 1, 1024, err));
    if (o->ctx_size) WEIR_TRY(check_range("context", o->ctx_size, 1, 1 << 20, err));
    WEIR_TRY(check_range("largest gamma", e->pair.max_draft, 1, WEIR_GAMMA_MAX, err));
    WEIR_TRY(weir__device_check(o->device, err));
    WEIR_TRY(resolve_quantize("quantize", o->quantize, true, &e->pair.quantise[WEIR_VERIFIER], err));
    WEIR_TRY(resolve_quantize("quantize_draft", o->quantize_draft, e->pair.has_draft,
                              &e->pair.quantise[WEIR_DRAFTER], err));
    if (o->costs) WEIR_TRY(weir__costs_parse(o->costs, &e->pair.cost, err));
    e->pair.fixed_gamma = o->fixed_gamma;
    *isa = weir__isa_best();
    if (o->isa) {
        const int asked = weir__isa_parse(o->isa);
        if (asked < 0)
            return weir_fail(err, WEIR_EINVAL, "isa %s is not one of portable, avx2, avx512, avx512bf16, amx",
                             o->isa);
        if (asked > (int)*isa)
            return weir_fail(err, WEIR_ENOTSUP, "isa %s: this machine has %s at most", o->isa,
                             weir__isa_name(*isa));
        *isa = (weir_isa)asked;
    }
    const int rows = e->pair.max_draft + 2 > WEIR_TOKEN_CASCADE_RUN + 2 ? e->pair.max_draft + 2
                                                                        : WEIR_TOKEN_CASCADE_RUN + 2;
    e->pair.n_row_max = (int64_t)e->pair.n_parallel * rows;
    return WEIR_OK;
}

/* ---- facts --------------------------------------------------------------------------------------------- */

static void note_device(weir_engine *e, weir_isa isa, int n_thread) {
    weir_engine_facts *f = &e->pair.facts;
    f->device = e->pair.be->name;
    f->about = e->pair.be->about;
    f->isa = e->pair.be->device ? NULL : weir__isa_name(isa);
    f->n_thread = e->pair.be->device ? 0 : n_thread;
    f->device_note = e->pair.device_note.text[0] ? e->pair.device_note.text : NULL;
}

static void note_facts(weir_engine *e, const weir__chat_ends *ends) {
    weir_engine_facts *f = &e->pair.facts;
    f->n_parallel = e->pair.n_parallel;
    f->ctx_size = e->pair.ctx_size;
    f->max_draft = e->pair.max_draft;
    f->n_rank = e->pair.n_rank;
    f->draft_rank = e->pair.draft_rank;
    f->draft_choice = e->pair.draft_auto ? e->pair.draft_reason : NULL;
    f->rank = e->pair.rank;
    f->comm = e->pair.n_rank == 1 ? NULL : e->pair.processes ? "mpi" : "local";
    f->draft = e->pair.draft;
    f->has_draft = e->pair.has_draft;
    f->apart = e->pair.draft == WEIR_DRAFT_TEXT ? e->pair.apart.text : NULL;
    f->lookup_min = e->pair.lookup_min;
    f->lookup_max = e->pair.lookup_max;
    f->has_tokenizer = e->pair.tok != NULL;
    f->encoder_decoder = e->pair.side[WEIR_VERIFIER].family->encoder_decoder;
    f->n_vocab = e->pair.n_vocab;
    for (int i = 0; i <= (int)e->pair.has_draft; i++) {
        const weir_checkpoint *ck = &e->pair.side[i].ck;
        f->n_param[i] = e->pair.side[i].facts.n_param;
        f->n_vocab_rows[i] = e->pair.side[i].facts.n_vocab_rows;
        f->dtype[i] = weir_dtype_name(e->pair.side[i].facts.dtype);
        if (!weir_dtype_is_float(ck->quantise)) f->quantized[i] = weir_dtype_name(ck->quantise);
        f->n_quantized[i] = e->pair.side[i].facts.n_quantised;
        f->n_unquantized[i] = e->pair.side[i].facts.n_left;
        f->family[i] = ck->family;
        f->fingerprint[i] = weir__checkpoint_fingerprint(ck);
        f->ignored[i] = ck->ignored[0] ? ck->ignored : NULL;
        e->pair.side[i].family->note(ck, i, f);
    }
    const weir_checkpoint *v = &e->pair.side[WEIR_VERIFIER].ck;
    f->start_id = v->start_id;
    f->bos_id = v->bos_id;
    f->add_bos = v->add_bos && v->bos_id >= 0;
    f->n_eos = ends->n;
    memcpy(f->eos, ends->ids, sizeof f->eos);
    f->bos_text = weir__chat_token_name(&e->pair.chat, WEIR_SPECIAL_BOS);
    f->eos_text = weir__chat_token_name(&e->pair.chat, WEIR_SPECIAL_EOS);
    f->chat_template = weir__chat_about(&e->pair.chat);
    f->chat_note = f->chat_template ? NULL : e->pair.chat.note.text;
}

/* A refusal changes the ways that a device takes. */
void weir_engine_get_facts(const weir_engine *e, weir_engine_facts *out) {
    const weir_device_ways ways = e->pair.be->ways;
    *out = e->pair.facts;
    out->about = e->pair.be->about;
    out->graph = ways.graph;
    out->team = ways.team;
    out->pdl = ways.pdl;
}

/* ---- open and close ------------------------------------------------------------------------------------ */

/* From a copy, since the other ranks copy the checkpoint at the same time. */
static weir_status create_model(weir_engine *e, int i, weir_err *err) {
    weir_pair_side *m = &e->pair.side[i];
    weir_checkpoint ck = weir__checkpoint_copy(&m->ck);
    const weir_tensor_source src = weir__checkpoint_source(&ck);
    const weir_status st =
        m->family->create(&m->model, e->pair.be, &ck, &src, weir__ranks_place(e, i, 0).whole_body,
                          e->pair.n_row_max, e->pair.ctx_size, err);
    weir__checkpoint_drop(&ck);
    return st;
}

static weir_status load_side(weir_engine *e, int i, weir_err *err) {
    const weir_pair_side *m = &e->pair.side[i];
    WEIR_TRY(create_model(e, i, err));
    const weir_status st = weir__caches_open(e, i);
    if (weir__is_lost(st)) return weir__engine_lost(e, st, err);
    return st == WEIR_OK ? st : weir_fail(err, st, "%s: %s for the KV pages", m->ck.dir, weir_status_str(st));
}

/* The tokenizer's beginning of text, where a file names it. */
static void name_bos(weir_checkpoint *ck, const weir_tokenizer *tok, int32_t n_vocab) {
    const char *name = ck->special[WEIR_SPECIAL_BOS];
    const int32_t id = tok && name ? weir__tokenizer_find(tok, name, strlen(name)) : -1;
    if (id >= 0 && id < n_vocab) ck->bos_id = id;
}

static weir_status open_vocabulary(weir_engine *e, weir_err *err) {
    weir_pair *p = &e->pair;
    weir_vocabulary v;
    WEIR_TRY(weir__vocabulary_open(&p->side[WEIR_VERIFIER].ck,
                                   p->has_draft ? &p->side[WEIR_DRAFTER].ck : NULL, &v, err));
    p->tok = v.tok;
    p->n_vocab = v.n_vocab;
    p->tok_draft = v.tok_draft;
    p->n_vocab_draft = v.n_vocab_draft;
    memcpy(p->end_of, v.end_of, sizeof p->end_of);
    p->apart = v.apart;
    if (p->tok_draft) p->draft = WEIR_DRAFT_TEXT;
    return WEIR_OK;
}

static weir_status open_checkpoints(weir_engine *e, const weir_engine_options *o, weir_err *err) {
    WEIR_TRY(weir__checkpoint_open(&e->pair.side[WEIR_VERIFIER].ck, o->model, o->strict_config, err));
    if (e->pair.has_draft)
        WEIR_TRY(
            weir__checkpoint_open(&e->pair.side[WEIR_DRAFTER].ck, o->model_draft, o->strict_config, err));
    for (int i = 0; i < 2; i++) {
        e->pair.side[i].ck.quantise = e->pair.quantise[i];
        e->pair.side[i].family = weir__family_of(&e->pair.side[i].ck);
    }
    e->pair.ctx_size = o->ctx_size
                           ? o->ctx_size
                           : e->pair.side[WEIR_VERIFIER].family->ctx_default(&e->pair.side[WEIR_VERIFIER].ck);
    WEIR_TRY(open_vocabulary(e, err));
    name_bos(&e->pair.side[WEIR_VERIFIER].ck, e->pair.tok, e->pair.n_vocab);
    name_bos(&e->pair.side[WEIR_DRAFTER].ck, e->pair.tok_draft, e->pair.n_vocab_draft);
    return WEIR_OK;
}

/* Of the prompt that is being run: its session may be cancelled on its own. */
static bool asked_to_stop(void *ud) {
    const weir_engine *e = ud;
    return weir_interrupted(&e->deck.interrupt) ||
           (e->deck.prefilling && atomic_load(&e->deck.prefilling->cancel));
}

static weir_status load_own(weir_engine *e, bool graphs, weir_err *err) {
    for (int i = 0; i <= (int)e->pair.has_draft; i++) WEIR_TRY(load_side(e, i, err));
    weir_status st = weir__backend_reserve(e->pair.be, e->pair.op_floats);
    if (st == WEIR_OK) st = weir__buffers_open(e);
    if (st == WEIR_OK) st = weir__block_loop_open(&e->deck.loop, e, graphs);
    if (weir__is_lost(st)) return weir__engine_lost(e, st, err);
    if (st != WEIR_OK) return weir_fail(err, st, "%s for the buffers of a step", weir_status_str(st));
    e->deck.slot_owner = weir_calloc((size_t)e->pair.n_parallel, sizeof(weir_session *));
    return e->deck.slot_owner ? WEIR_OK : weir_fail(err, WEIR_ENOMEM, "out of memory for the sessions");
}

static weir_status load(weir_engine *e, const weir_engine_options *o, weir_err *err) {
    weir_err why = {""}; /* the ranks' words need room even where the caller wants none */
    e->pair.be->interrupt = (weir_interrupt){asked_to_stop, e};
    if (e->pair.n_rank == 1) return load_own(e, !o->no_graph, err);
    WEIR_TRY(weir__ranks_open(e, o, err));
    if (e->pair.rank > 0) return WEIR_OK; /* it follows: it has no sessions */
    const weir_backend *be = e->pair.be;
    if (be->device) e->pair.facts.exchange = be->exchange->name;
    if (be->exchange_why.text[0]) e->pair.facts.exchange_why = be->exchange_why.text;
    weir_status st = load_own(e, !o->no_graph, &why);
    st = weir__ranks_loaded(e, st, &why);
    return st == WEIR_OK ? st : weir_fail(err, st, "%s", why.text);
}

static weir_status open_chat(weir_engine *e, const weir_engine_options *o, weir__chat_ends *ends,
                             weir_err *err) {
    const weir__chat_choice choice = {o->chat_template, o->chat_template_file, o->chat_required};
    return weir__chat_open(&e->pair.chat, e->pair.tok, &e->pair.side[WEIR_VERIFIER].ck, &choice, ends, err);
}

/* Everything before the weights. */
static weir_status prepare(weir_engine *e, const weir_engine_options *o, int n_thread, weir_isa isa,
                           weir__chat_ends *ends, weir_err *err) {
    WEIR_TRY(open_checkpoints(e, o, err));
    WEIR_TRY(weir__device_open(e, o, n_thread, isa, err));
    WEIR_TRY(weir__plan_make(e, o, err));
    WEIR_TRY(open_chat(e, o, ends, err));
    if (o->no_graph && e->pair.be->device) e->pair.be->stream->without_graphs(e->pair.be);
    note_device(e, isa, n_thread);
    note_facts(e, ends);
    return WEIR_OK;
}

weir_status weir_engine_open(weir_engine **out, const weir_engine_options *opt, weir_err *err) {
    const double t0 = weir_seconds();
    weir_engine *e = weir_calloc(1, sizeof *e);
    if (!e) return weir_fail(err, WEIR_ENOMEM, "out of memory for the engine");
    int n_thread = 1;
    weir_isa isa = WEIR_ISA_PORTABLE;
    weir__chat_ends ends;
    e->deck.interrupt = opt->interrupt;
    atomic_init(&e->deck.yield, false);
    weir_status st = resolve(e, opt, &n_thread, &isa, err);
    const bool join = st == WEIR_OK && e->pair.processes && e->pair.n_rank > 1;
    weir_err why = {""}; /* what the other ranks read */
    if (join) st = weir__ranks_join(e, &why);
    const bool joined = join && st == WEIR_OK;
    if (st == WEIR_OK) st = prepare(e, opt, n_thread, isa, &ends, &why);
    if (joined) st = weir__ranks_joined(e, st, &why);
    if (st != WEIR_OK && why.text[0]) (void)weir_fail(err, st, "%s", why.text);
    if (st == WEIR_OK && !opt->dry_run) st = load(e, opt, err);
    const bool leads = !opt->dry_run && e->pair.has_draft && e->pair.rank == 0;
    if (st == WEIR_OK && leads && (opt->costs || !opt->fixed_gamma))
        st = weir__costs_open(e, opt->costs != NULL, err);
    if (st != WEIR_OK) {
        weir_engine_close(e);
        return st;
    }
    e->pair.facts.load_seconds = weir_seconds() - t0;
    *out = e;
    return WEIR_OK;
}

void weir_engine_close(weir_engine *e) {
    if (!e) return;
    weir__ranks_close(e);
    weir__block_loop_close(e->deck.loop);
    weir__buffers_close(e);
    weir_free(e->deck.slot_owner);
    weir__caches_close(e);
    for (int i = 0; i < 2; i++) {
        weir__model_free(e->pair.side[i].model);
        weir__checkpoint_close(&e->pair.side[i].ck);
    }
    weir__chat_close(&e->pair.chat);
    weir__tokenizer_free(e->pair.tok);
    weir__tokenizer_free(e->pair.tok_draft);
    weir__backend_close(e->pair.be);
    weir_free(e);
}
