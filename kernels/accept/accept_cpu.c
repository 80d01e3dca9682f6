#include <stdatomic.h>

#include "kernels/accept/cpu.h"
#include "kernels/accept/sweep/sweep.h"
#include "kernels/accept/examine_impl.h"

/* ---- accept -------------------------------------------------------------------------------------------- */

/* The rows of one block while they are examined: row n_draft, which closes a block that is accepted, only
 * gets its statistics. Each thread takes the next row that nobody has taken, so rows may be examined after
 * one that is refused, but none is begun once the refusal is known. */
typedef struct examination {
    const weir_env *env;
    const weir_accept_args *a;
    weir_accept_session *s;
    bool all; /* block verification: the decision needs every row */
    atomic_int next, last;
    weir_row_note note[WEIR_GAMMA_MAX];
} examination;

static void make_stats(const weir_env *env, const weir_accept_args *a, weir_accept_session *s, int32_t j) {
    if (a->make_stats) s->p_stats[j] = weir__row_stats_in(env, s->p_logits + j * a->ld_p, a->n_vocab, s->law);
}

/* Row j, which was examined, ends the block, whatever the rows before it say. */
static bool ends_block(examination *x, const weir_env *env, int32_t j) {
    weir_decision d = {.n_examined = j, .n_accept = j};
    (void)weir__decide_row(x->s, &x->s->row[j], &x->note[j], &d);
    if (!weir__decided_blindly(&d, x->note)) return d.rejected || d.status != WEIR_OK;
    x->note[j].verdict.mass = weir__residual_mass(env, x->a, x->s, j, &x->note[j]);
    return x->note[j].verdict.mass > 0.0f;
}

/* No row after j is needed. */
static void end_after(examination *x, int32_t j) {
    int last = atomic_load(&x->last);
    while (j < last && !atomic_compare_exchange_weak(&x->last, &last, j)) continue;
}

static void examine_rows(examination *x, const weir_env *env) {
    for (int32_t j; (j = atomic_fetch_add(&x->next, 1)) <= atomic_load(&x->last);) {
        weir_env row_env = *env;
        weir_kept kept;
        if (weir__keep_rows(env, x->a->n_vocab, &kept)) row_env.kept = &kept;
        if (x->s->q_weights) kept.q_weights = x->s->q_weights + j * x->a->ld_q;
        make_stats(&row_env, x->a, x->s, j);
        if (j == x->s->n_draft) return;
        weir__examine(&row_env, x->a, x->s, j, &x->s->row[j], &x->note[j]);
        if (!x->all && ends_block(x, &row_env, j)) end_after(x, j);
    }
}

static void examine_worker(void *arg, int index, int n_worker) {
    examination *x = arg;
    (void)n_worker;
    const weir_env alone = weir__env_alone(x->env, index);
    examine_rows(x, &alone);
}

static void examine_block(examination *x) {
    const int32_t n = x->s->n_draft;
    x->all = x->s->law->block_verify;
    atomic_init(&x->next, 0);
    atomic_init(&x->last, x->all || !x->a->make_stats ? n - 1 : n);
    if (x->env->pool && x->last > 0 && weir__shares_rows(x->a->n_vocab))
        weir__pool_run(x->env->pool, examine_worker, x);
    else
        examine_rows(x, x->env);
}

static void decide(const weir_env *env, const weir_accept_args *a, weir_accept_session *s, weir_decision *d) {
    examination x = {.env = env, .a = a, .s = s};
    examine_block(&x);
    if (x.all) {
        weir__decide_block(env, a, s, x.note, d);
        return;
    }
    while (weir__decide_row(s, &s->row[d->n_examined], &x.note[d->n_examined], d)) continue;
    if (d->rejected) s->verdict = x.note[d->n_accept].verdict;
}

static void accept_piece(void *ctx, const weir_env *env, int64_t i) {
    const weir_accept_args *a = ctx;
    weir_accept_session *s = &a->session[i];
    bool over;
    weir_decision d = weir__undecided(s, &over);
    s->verdict.known = false;
    if (!over) decide(env, a, s, &d);
    s->status = d.status;
    s->n_examined = d.n_examined;
    s->n_accept = d.n_accept;
    s->block_p = d.block_p;
    if (d.status != WEIR_OK) return;
    if ((over || s->law->block_verify) && d.n_accept == s->n_draft && s->p_logits && s->p_stats)
        make_stats(env, a, s, d.n_accept);
    for (int32_t j = 0; j < d.n_accept; j++) s->row[j].accepted = true;
}

static weir_status run_accept(const weir_env *env, weir_accept_args *a) {
    if (!a || weir__accept_check(a) != WEIR_OK) return WEIR_EINVAL;
    weir__each(env, accept_piece, a, a->n_session, a->n_vocab);
    return WEIR_OK;
}

weir_status weir__accept_cpu(weir_backend *be, weir_accept_args *a) {
    if (!be) return WEIR_EINVAL;
    weir_env env = weir__env_of(be->isa, be->pool);
    env.scratch = be->scratch;
    env.n_scratch = be->scratch_floats;
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
