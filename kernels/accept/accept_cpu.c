#include "kernels/accept/cpu.h"
#include "kernels/accept/sweep.h"
#include "kernels/accept/examine_impl.h"

/* ---- accept -------------------------------------------------------------------------------------------- */

static void make_stats(const weir_env *env, const weir_accept_args *a, weir_accept_session *s, int32_t j) {
    if (a->make_stats) s->p_stats[j] = weir__row_stats_in(env, s->p_logits + j * a->ld_p, a->n_vocab, s->law);
}

/* Rows are examined one after another, up to the first rejection. */
static void verify_tokens(const weir_env *env, const weir_accept_args *a, weir_accept_session *s,
                          weir_decision *d) {
    weir_row_note note;
    weir_accept_row *row;
    do {
        row = &s->row[d->n_examined];
        make_stats(env, a, s, d->n_examined);
        weir__examine(env, a, s, d->n_examined, row, &note);
    } while (weir__decide_row(s, row, &note, d));
    if (d->rejected) s->verdict = note.verdict;
}

static void verify_block(const weir_env *env, const weir_accept_args *a, weir_accept_session *s,
                         weir_decision *d) {
    weir_row_note note[WEIR_GAMMA_MAX];
    for (int32_t j = 0; j < s->n_draft; j++) {
        make_stats(env, a, s, j);
        weir__examine(env, a, s, j, &s->row[j], &note[j]);
    }
    weir__decide_block(env, a, s, note, d);
}

static void accept_piece(void *ctx, const weir_env *env, int64_t i) {
    const weir_accept_args *a = ctx;
    weir_accept_session *s = &a->session[i];
    bool over;
    weir_decision d = weir__undecided(s, &over);
    s->verdict.known = false;
    if (!over && s->law->block_verify)
        verify_block(env, a, s, &d);
    else if (!over)
        verify_tokens(env, a, s, &d);
    s->status = d.status;
    s->n_examined = d.n_examined;
    s->n_accept = d.n_accept;
    s->block_p = d.block_p;
    if (d.status != WEIR_OK) return;
    if (d.n_accept == s->n_draft && s->p_logits && s->p_stats) make_stats(env, a, s, d.n_accept);
    for (int32_t j = 0; j < d.n_accept; j++) s->row[j].accepted = true;
}

static weir_status run_accept(const weir_env *env, weir_accept_args *a) {
    if (!a || weir__accept_check(a) != WEIR_OK) return WEIR_EINVAL;
    weir__each(env, accept_piece, a, a->n_session, a->n_vocab);
    return WEIR_OK;
}

weir_status weir__accept_cpu(weir_backend *be, weir_accept_args *a) {
    if (!be) return WEIR_EINVAL;
    const weir_env env = weir__env_of(be->isa, be->pool);
    return run_accept(&env, a);
}

weir_status weir__accept_on(weir_isa isa, weir_accept_args *a) {
    const weir_env env = weir__env_of(isa, NULL);
    return run_accept(&env, a);
}

/* ---- the closing token --------------------------------------------------------------------------------- */

static void emit_piece(void *ctx, const weir_env *env, int64_t i) {
    const weir_emit_args *a = ctx;
    const weir_closing c = weir__close(env, &a->session[i], a->n_vocab);
    weir__store_closing(&a->session[i], &c);
}

static weir_status run_emit(const weir_env *env, weir_emit_args *a) {
    if (!a || weir__emit_check(a) != WEIR_OK) return WEIR_EINVAL;
    weir__each(env, emit_piece, a, a->n_session, a->n_vocab);
    return WEIR_OK;
}

weir_status weir__emit_cpu(weir_backend *be, weir_emit_args *a) {
    if (!be) return WEIR_EINVAL;
    const weir_env env = weir__env_of(be->isa, be->pool);
    return run_emit(&env, a);
}

weir_status weir__emit_on(weir_isa isa, weir_emit_args *a) {
    const weir_env env = weir__env_of(isa, NULL);
    return run_emit(&env, a);
}

/* ---- gates alone --------------------------------------------------------------------------------------- */

static void gate_piece(void *ctx, const weir_env *env, int64_t i) {
    const weir_gate_args *a = ctx;
    weir_gate_session *s = &a->session[i];
    s->status = weir__gate_of(env, s, a->n_vocab, &s->deferred);
}

weir_status weir__gate_cpu(weir_backend *be, weir_gate_args *a) {
    if (!be || !a || weir__gate_check(a) != WEIR_OK) return WEIR_EINVAL;
    const weir_env env = weir__env_of(be->isa, be->pool);
    weir__each(&env, gate_piece, a, a->n_session, a->n_vocab);
    return WEIR_OK;
}
