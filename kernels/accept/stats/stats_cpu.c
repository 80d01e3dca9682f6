#include "kernels/accept/cpu.h"
#include "kernels/accept/sweep/sweep.h"
#include "kernels/accept/sweep/truncate.h"
#include "kernels/accept/stats/row_impl.h"

weir_row_stats weir__row_stats_in(const weir_env *env, const float *logits, int32_t n_vocab,
                                  const weir_law *law) {
    int32_t lo, hi;
    weir__minmax(env, logits, n_vocab, &lo, &hi);
    if (!weir__usable_keys(lo, hi)) return weir__unusable_row();
    const float max = weir__order_value(hi) + 0.0f; /* one zero */
    return weir__row_stats(env, logits, n_vocab, law, max, env->lanes->find(logits, n_vocab, max));
}

static void stats_piece(void *ctx, const weir_env *env, int64_t r) {
    const weir_row_stats_args *a = ctx;
    weir_env row = *env;
    if (a->weights) row.weights = a->weights + r * a->ld;
    a->out[r] = a->law_of[r] < 0
                    ? weir__unusable_row()
                    : weir__row_stats_in(&row, a->logits + r * a->ld, a->n_vocab, &a->law[a->law_of[r]]);
}

static weir_status run_row_stats(const weir_env *env, weir_row_stats_args *a) {
    if (!a || weir__row_stats_check(a) != WEIR_OK) return WEIR_EINVAL;
    weir__each(env, stats_piece, a, a->n_row, a->n_vocab);
    return WEIR_OK;
}

weir_status weir__row_stats_cpu(weir_backend *be, weir_row_stats_args *a) {
    if (!be) return WEIR_EINVAL;
    const weir_env env = weir__env_of(be->isa, be->pool);
    return run_row_stats(&env, a);
}

weir_status weir__row_stats_on(weir_isa isa, weir_row_stats_args *a) {
    const weir_env env = weir__env_of(isa, NULL);
    return run_row_stats(&env, a);
}

static void draw_piece(void *ctx, const weir_env *env, int64_t r) {
    const weir_draw_args *a = ctx;
    a->token[r] = -1;
    a->logp[r] = NAN;
    if (a->law_of[r] < 0) return;
    weir_env row = *env;
    if (a->weights) row.drawn = a->weights + r * a->ld;
    a->token[r] = weir__draw_row(&row, a->logits + r * a->ld, a->n_vocab, &a->law[a->law_of[r]], &a->stats[r],
                                 a->position[r], a->purpose, a->block_row ? a->block_row[r] : 0, &a->logp[r]);
}

static weir_status run_draw(const weir_env *env, weir_draw_args *a) {
    if (!a || weir__draw_check(a) != WEIR_OK) return WEIR_EINVAL;
    weir__each(env, draw_piece, a, a->n_row, a->n_vocab);
    return WEIR_OK;
}

weir_status weir__draw_cpu(weir_backend *be, weir_draw_args *a) {
    if (!be) return WEIR_EINVAL;
    const weir_env env = weir__env_of(be->isa, be->pool);
    return run_draw(&env, a);
}

weir_status weir__draw_on(weir_isa isa, weir_draw_args *a) {
    const weir_env env = weir__env_of(isa, NULL);
    return run_draw(&env, a);
}
