#include "kernels/accept/cpu.h"
#include "kernels/accept/truncate.h"

/* ---- row statistics -------------------------------------------------------------------------------------- */

/* False: the row has a NaN, +inf, or nothing but -inf. */
static bool find_max(const weir_env *env, const float *l, int32_t n_vocab, weir_row_stats *s) {
    int32_t lo, hi;
    weir__extent(env, l, n_vocab, &lo, &hi);
    if (!weir__usable_keys(lo, hi)) return false;
    s->max = weir__order_value(hi) + 0.0f; /* one zero */
    s->argmax = env->lanes->find(l, n_vocab, s->max);
    return true;
}

static const weir_row_stats UNUSABLE = {.max = NAN, .argmax = -1, .sum = NAN, .dot = NAN, .thr = NAN, .tie = -1,
                                        .psum = NAN, .pdot = NAN};

static void one_row(const weir_env *env, const float *l, int32_t n_vocab, const weir_law *law, weir_row_stats *out) {
    weir_row_stats s = UNUSABLE;
    if (!find_max(env, l, n_vocab, &s)) {
        *out = UNUSABLE;
        return;
    }
    s.sum = s.psum = 1.0f;
    s.thr = -INFINITY;
    s.tie = INT32_MAX;
    weir_row_view view = weir__row_view(l, &s, law);
    if (law->temp > 0.0f && (law->top_k > 0 || law->top_p < 1.0f || law->min_p > 0.0f)) {
        weir__truncate(env, law, &view, n_vocab, &s.thr, &s.tie);
        view = weir__row_view(l, &s, law);
    }
    float sum[4];
    if (!(law->temp > 0.0f)) view.plain = true, view.cut = false; /* the raw sums alone */
    weir__row_sums(env, &view, n_vocab, sum);
    s.sum = sum[0];
    s.dot = sum[1];
    s.psum = sum[2];
    s.pdot = sum[3];
    if (!(law->temp > 0.0f)) {
        s.thr = s.max;
        s.tie = s.argmax;
        s.psum = 1.0f;
        s.pdot = 0.0f;
    }
    *out = s;
}

static void stats_piece(void *ctx, const weir_env *env, int64_t r) {
    const weir_row_stats_args *a = ctx;
    if (a->law_of[r] < 0)
        a->out[r] = UNUSABLE;
    else
        one_row(env, a->logits + r * a->ld, a->n_vocab, &a->law[a->law_of[r]], &a->out[r]);
}

weir_status weir_row_stats_cpu(weir_backend *be, weir_row_stats_args *a) {
    if (!be || !a || weir__row_stats_check(a) != WEIR_OK) return WEIR_EINVAL;
    const weir_env env = weir__env_of(be->isa, be->pool);
    weir__each(&env, stats_piece, a, a->n_row, a->n_vocab);
    return WEIR_OK;
}

/* ---- draws ----------------------------------------------------------------------------------------------- */

static void draw_piece(void *ctx, const weir_env *env, int64_t r) {
    const weir_draw_args *a = ctx;
    const weir_row_stats *s = &a->stats[r];
    a->token[r] = -1;
    a->logp[r] = NAN;
    if (a->law_of[r] < 0 || isnan(s->max)) return;
    const weir_law *law = &a->law[a->law_of[r]];
    const float *l = a->logits + r * a->ld;
    const weir_row_view view = weir__row_view(l, s, law);
    if (!(law->temp > 0.0f)) {
        a->token[r] = s->argmax;
        a->logp[r] = 0.0f;
        return;
    }
    const weir_pair pair = {.q = view, .skip = -1};
    const weir_race race = {.pair = &pair, .kind = WEIR_WEIGHT_Q, .key = {law->key[0], law->key[1]},
                            .position = a->position[r], .purpose = a->purpose,
                            .block_row = a->block_row ? a->block_row[r] : 0};
    const int32_t token = weir__race(env, &race, a->n_vocab, false);
    a->token[r] = token;
    if (token >= 0) a->logp[r] = (l[token] - s->max) * view.inv_temp - wf_log(s->psum);
}

weir_status weir_draw_cpu(weir_backend *be, weir_draw_args *a) {
    if (!be || !a || weir__draw_check(a) != WEIR_OK) return WEIR_EINVAL;
    const weir_env env = weir__env_of(be->isa, be->pool);
    weir__each(&env, draw_piece, a, a->n_row, a->n_vocab);
    return WEIR_OK;
}
