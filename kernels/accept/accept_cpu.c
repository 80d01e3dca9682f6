#include "kernels/accept/cpu.h"
#include "kernels/accept/policy.h"
#include "kernels/math/philox.h"

enum { MAX_DRAFT = 16 };

/* ---- coins ----------------------------------------------------------------------------------------------- */

static float coin(const weir_law *law, int32_t position, int32_t block_row) {
    uint32_t c[4] = {0, (uint32_t)position, WEIR_PURPOSE_ACCEPT, (uint32_t)block_row};
    wf_philox(c, law->key);
    return wf_coin(c[0]);
}

/* u q <= num. Said in two parts, because u q may underflow: num = 0 never accepts a token of q > 0. */
static bool coin_accepts(float u, float q, float num) {
    if (num >= q) return true;
    return num > 0.0f && u * q <= num;
}

/* ---- one row --------------------------------------------------------------------------------------------- */

typedef struct job {
    weir_accept_args *args;
    weir_accept_session *s;
    const weir_env *env;
} job;

static weir_position position_of(const job *b, int32_t j) {
    const weir_accept_session *s = b->s;
    const weir_accept_args *a = b->args;
    return (weir_position){.law = s->law, .q_logits = s->q_logits + j * a->ld_q, .p_logits = s->p_logits + j * a->ld_p,
                           .q_stats = &s->q_stats[j], .p_stats = &s->p_stats[j], .n_vocab = a->n_vocab,
                           .position = s->position + j, .draft = s->draft[j]};
}

static float log_raw(const float *logits, const weir_row_stats *s, int32_t v) {
    return (logits[v] - s->max) - wf_log(s->sum);
}

/* Policy of row j and what it says of the drafted token. */
static weir_status examine(const job *b, int32_t j, weir_policy *y, weir_point *x) {
    const weir_position at = position_of(b, j);
    if (at.draft < 0 || at.draft >= at.n_vocab) return WEIR_EINVAL;
    WEIR_TRY(weir__policy(b->env, &at, y));
    *x = weir__point(&y->pair, at.draft);
    b->s->row[j] = (weir_accept_row){.reject = y->reject,
                                     .log_pi = y->has_pi ? wf_log(x->pi) : NAN,
                                     .log_p = log_raw(at.p_logits, at.p_stats, at.draft),
                                     .deferred = weir__deferred(y, x)};
    return WEIR_OK;
}

/* ---- standard verification: rows in order, up to the first rejection ------------------------------------- */

static weir_status verify_tokens(const job *b) {
    weir_accept_session *s = b->s;
    s->block_p = 1.0f;
    for (int32_t j = 0; j < s->n_draft; j++) {
        weir_policy y;
        weir_point x;
        WEIR_TRY(examine(b, j, &y, &x));
        /* no residual mass: the accept probability was 1 up to rounding */
        const bool sure = !s->row[j].deferred || !(y.mass > 0.0f);
        s->row[j].accepted = sure || coin_accepts(coin(s->law, s->position + j, 0), x.q, x.num);
        s->n_examined = j + 1;
        if (!s->row[j].accepted) {
            s->verdict = weir__verdict(&y);
            return WEIR_OK;
        }
        s->n_accept = j + 1;
    }
    return WEIR_OK;
}

/* ---- block verification (arXiv 2403.10444) with pi in place of p ----------------------------------------- */

/* P_i and S_i = sum_v (P_i pi_i(v) - q_i(v))+ of the rows; P_n_draft is the last. */
typedef struct block {
    float p[MAX_DRAFT + 1], s[MAX_DRAFT];
} block;

static float block_surplus(const job *b, weir_policy *y, float block_p) {
    float out[2];
    y->pair.block_p = block_p;
    weir__pair_sums(b->env, &y->pair, WEIR_SUM_BLOCK, b->args->n_vocab, y->point, out);
    return out[0];
}

/* h_i = S / (S + 1 - P), 1 at P = 1, S = 0; h_n_draft = P. */
static bool block_takes(const job *b, const block *k, int32_t i) {
    const float u = coin(b->s->law, b->s->position + i - 1, i - 1);
    if (i == b->s->n_draft) return coin_accepts(u, 1.0f, k->p[i]);
    return coin_accepts(u, k->s[i] + (1.0f - k->p[i]), k->s[i]);
}

static weir_status verify_block(const job *b) {
    weir_accept_session *s = b->s;
    const int32_t n = s->n_draft;
    block k;
    k.p[0] = 1.0f;
    for (int32_t j = 0; j < n; j++) {
        weir_policy y;
        weir_point x;
        WEIR_TRY(examine(b, j, &y, &x));
        k.s[j] = block_surplus(b, &y, k.p[j]);
        const float ratio = x.q > 0.0f ? x.pi / x.q : 1.0f;
        const float next = k.p[j] * ratio;
        k.p[j + 1] = next < 1.0f ? next : 1.0f;
    }
    int32_t tau = 0;
    for (int32_t i = 1; i <= n; i++)
        if (block_takes(b, &k, i)) tau = i;
    while (tau < n && !(k.s[tau] > 0.0f)) tau++; /* a residual without mass comes from rounding only */
    for (int32_t j = 0; j < tau; j++) s->row[j].accepted = true;
    s->n_examined = n;
    s->n_accept = tau;
    s->block_p = tau < n ? k.p[tau] : 1.0f;
    return WEIR_OK;
}

static weir_status accept_session(const job *b) {
    weir_accept_session *s = b->s;
    if (!s->law || s->n_draft < 0 || s->n_draft > MAX_DRAFT) return WEIR_EINVAL;
    s->n_examined = s->n_accept = 0;
    s->verdict.known = false;
    s->block_p = 1.0f;
    if (s->n_draft == 0) return WEIR_OK;
    if (!s->q_logits || !s->p_logits || !s->q_stats || !s->p_stats || !s->draft || !s->row) return WEIR_EINVAL;
    const weir_rule_info *facts = weir_rule_facts((weir_rule)s->law->rule);
    if (s->law->block_verify && facts && !facts->pi_exists) return WEIR_ENOTSUP;
    return s->law->block_verify ? verify_block(b) : verify_tokens(b);
}

static void accept_piece(void *ctx, const weir_env *env, int64_t i) {
    weir_accept_args *a = ctx;
    const job b = {a, &a->session[i], env};
    b.s->status = accept_session(&b);
}

weir_status weir_accept_cpu(weir_backend *be, weir_accept_args *a) {
    if (!be || !a || a->n_session < 0 || a->n_vocab <= 0 || a->ld_q < a->n_vocab || a->ld_p < a->n_vocab)
        return WEIR_EINVAL;
    if (a->n_session == 0) return WEIR_OK;
    if (!a->session) return WEIR_EINVAL;
    const weir_env env = weir__env_of(be->isa, be->pool);
    weir__each(&env, accept_piece, a, a->n_session, a->n_vocab);
    return WEIR_OK;
}

/* ---- the closing token ----------------------------------------------------------------------------------- */

static weir_race race_of(const weir_emit_session *s, const weir_pair *pair, weir_weight_kind kind, int32_t purpose) {
    return (weir_race){.pair = pair, .kind = kind, .key = {s->law->key[0], s->law->key[1]}, .position = s->position,
                       .purpose = purpose, .block_row = s->law->block_verify ? s->block_row : 0};
}

static weir_status emit_p(const weir_env *env, weir_emit_session *s, int32_t n_vocab) {
    if (!s->p_logits || !s->p_stats || isnan(s->p_stats->max)) return WEIR_EINVAL;
    const weir_row_view view = weir__row_view(s->p_logits, s->p_stats, s->law);
    const weir_pair pair = {.q = view, .p = view, .floor = INFINITY, .skip = -1};
    const weir_race race = race_of(s, &pair, WEIR_WEIGHT_P, WEIR_PURPOSE_BONUS);
    s->token = s->law->temp > 0.0f ? weir__race(env, &race, n_vocab, false) : view.argmax;
    if (s->token < 0) return WEIR_EINVAL;
    s->log_pi = wf_log(weir__prob(&view, s->token, false));
    s->reject = 0.0f;
    s->deferred = true;
    return WEIR_OK;
}

static weir_status emit_law(const weir_env *env, weir_emit_session *s, int32_t n_vocab) {
    const bool residual = s->kind == WEIR_EMIT_RESIDUAL;
    const weir_position at = {.law = s->law, .q_logits = s->q_logits, .p_logits = s->p_logits, .q_stats = s->q_stats,
                              .p_stats = s->p_stats, .n_vocab = n_vocab, .position = s->position,
                              .draft = residual ? s->draft : -1, .verdict = residual ? s->verdict : NULL};
    if (residual && (s->draft < 0 || s->draft >= n_vocab)) return WEIR_EINVAL;
    weir_policy y;
    WEIR_TRY(weir__policy(env, &at, &y));
    if (!residual && !y.has_pi) return WEIR_ENOTSUP;
    y.pair.block_p = s->block_p;
    const weir_weight_kind kind = !residual              ? WEIR_WEIGHT_PI
                                  : s->law->block_verify ? WEIR_WEIGHT_BLOCK
                                                         : WEIR_WEIGHT_RES;
    const weir_race race = race_of(s, &y.pair, kind, residual ? WEIR_PURPOSE_RESIDUAL : WEIR_PURPOSE_BONUS);
    s->token = weir__race(env, &race, n_vocab, y.point);
    if (s->token < 0) { /* never asked for after an accept step, which takes the draft instead */
        if (!residual) return WEIR_EINVAL;
        s->token = s->draft;
    }
    const weir_point t = weir__point(&y.pair, s->token);
    s->log_pi = y.has_pi ? wf_log(t.pi) : NAN;
    s->reject = y.reject;
    s->deferred = y.kind == WEIR_KIND_GATE ? y.gate : true;
    return WEIR_OK;
}

static void emit_piece(void *ctx, const weir_env *env, int64_t i) {
    const weir_emit_args *a = ctx;
    weir_emit_session *s = &a->session[i];
    s->status = !s->law                  ? WEIR_EINVAL
                : s->kind == WEIR_EMIT_P ? emit_p(env, s, a->n_vocab)
                                         : emit_law(env, s, a->n_vocab);
    if (s->status == WEIR_OK) s->log_p = log_raw(s->p_logits, s->p_stats, s->token);
}

weir_status weir_emit_cpu(weir_backend *be, weir_emit_args *a) {
    if (!be || !a || a->n_session < 0 || a->n_vocab <= 0) return WEIR_EINVAL;
    if (a->n_session == 0) return WEIR_OK;
    if (!a->session) return WEIR_EINVAL;
    const weir_env env = weir__env_of(be->isa, be->pool);
    weir__each(&env, emit_piece, a, a->n_session, a->n_vocab);
    return WEIR_OK;
}

static void gate_piece(void *ctx, const weir_env *env, int64_t i) {
    const weir_gate_args *a = ctx;
    weir_gate_session *s = &a->session[i];
    const weir_position at = {.law = s->law, .q_logits = s->q_logits, .p_logits = s->p_logits, .q_stats = s->q_stats,
                              .p_stats = s->p_stats, .n_vocab = a->n_vocab, .position = s->position, .draft = -1};
    s->status = s->law ? weir__gate(env, &at, &s->deferred) : WEIR_EINVAL;
}

weir_status weir_gate_cpu(weir_backend *be, weir_gate_args *a) {
    if (!be || !a || a->n_session < 0 || a->n_vocab <= 0) return WEIR_EINVAL;
    if (a->n_session == 0) return WEIR_OK;
    if (!a->session) return WEIR_EINVAL;
    const weir_env env = weir__env_of(be->isa, be->pool);
    weir__each(&env, gate_piece, a, a->n_session, a->n_vocab);
    return WEIR_OK;
}
