#include <math.h>
#include <string.h>

#include "host/weir.h"
#include "kernels/accept/cpu.h"
#include "kernels/base/mem.h"
#include "kernels/base/pool.h"

/* Recorded texts under another rule.
 *
 * Along a text x the accept step is a chain over d, the drafted tokens of the block so far (0 … gamma - 1:
 * the next row is examined; gamma: the next token is the bonus). With a(x) = min(q, num)(x), the chance that
 * x is drafted and accepted, and the rule's pi, a rule's own run emits x and
 *     d -> d + 1   with a(x)            d -> 0   with pi(x) - a(x)            gamma -> 0   with the bonus law
 *                  of x.
 * Divided by the recorded law's pi0(x) these are importance weights: the expectation over recorded texts of
 * any sum over the chain's states is the rule's own. `reweighted` does this. `recorded` leaves the prefixes
 * as they are and takes 1 - R for the chance to go on, whatever x is. */

typedef struct row {
    size_t at; /* of its (6, n) floats: logits of q and p, processed q and p, raw q and p */
    int32_t n, token;
    float p0, pi0; /* of the token under the verifier and the recorded law (processed); pi0 NaN: no such
                           law */
    bool counted;
    int32_t position; /* in its text */
    weir_row_stats q_stats, p_stats;
} row;

struct weir_replay {
    weir_law sampled;
    float *x; /* rows' floats one after another */
    size_t n_x, cap_x;
    row *rows;
    size_t n_row, cap_row;
    size_t *text; /* (n_text) first row of each */
    size_t n_text, cap_text;
    weir_pool *pool; /* an estimate's texts are split between its threads */
    weir_interrupt interrupt;
};

weir_status weir_replay_create(const weir_law *sampled, weir_replay **out, weir_err *err) {
    WEIR_TRY(weir_law_check(sampled, err));
    weir_replay *r = weir_calloc(1, sizeof *r);
    if (!r) return weir_fail(err, WEIR_ENOMEM, "out of memory for a replay");
    r->sampled = *sampled;
    const weir_status s = weir__pool_create(&r->pool, weir__pool_cores());
    if (s != WEIR_OK) {
        weir_free(r);
        return weir_fail(err, s, "a replay's threads: %s", weir_status_str(s));
    }
    *out = r;
    return WEIR_OK;
}

void weir_replay_free(weir_replay *r) {
    if (!r) return;
    weir__pool_free(r->pool);
    weir_free(r->x);
    weir_free(r->rows);
    weir_free(r->text);
    weir_free(r);
}

void weir_replay_set_interrupt(weir_replay *r, weir_interrupt interrupt) { r->interrupt = interrupt; }

/* Room for `more` entries in an array that doubles; false: no memory, all as it was. */
static bool grow(void **array, size_t n, size_t *cap, size_t more, size_t size) {
    if (more <= *cap - n) return true;
    const size_t want = n + more > 2 * *cap ? n + more : 2 * *cap;
    void *larger = weir_alloc(want, size);
    if (!larger) return false;
    if (n > 0) memcpy(larger, *array, n * size);
    weir_free(*array);
    *array = larger;
    *cap = want;
    return true;
}

weir_status weir_replay_begin(weir_replay *r, weir_err *err) {
    if (!grow((void **)&r->text, r->n_text, &r->cap_text, 1, sizeof *r->text))
        return weir_fail(err, WEIR_ENOMEM, "out of memory for a recorded text");
    r->text[r->n_text++] = r->n_row;
    return WEIR_OK;
}

static weir_status at_row(const weir_replay *r, const row *w, const weir_law *law, weir_rule_token *out) {
    const float *x = r->x + w->at;
    const size_t n = (size_t)w->n;
    *out = (weir_rule_token){.law = law,
                             .q_logits = x,
                             .p_logits = x + n,
                             .q_stats = &w->q_stats,
                             .p_stats = &w->p_stats,
                             .processed = {x + 2 * n, x + 3 * n},
                             .raw = {x + 4 * n, x + 5 * n},
                             .n_vocab = w->n,
                             .token = w->token,
                             .position = w->position};
    return weir__rule_token_of(out);
}

static void fill(float *x, size_t n, const weir_law *law, const float *q_logits, const float *p_logits,
                 const row *w) {
    memcpy(x, q_logits, n * sizeof *x);
    memcpy(x + n, p_logits, n * sizeof *x);
    weir__rule_probs(law, q_logits, &w->q_stats, w->n, x + 2 * n, x + 4 * n);
    weir__rule_probs(law, p_logits, &w->p_stats, w->n, x + 3 * n, x + 5 * n);
}

weir_status weir_replay_add(weir_replay *r, const float *q_logits, const float *p_logits, int32_t n,
                            int32_t token, bool counted, weir_err *err) {
    if (r->n_text == 0) return weir_fail(err, WEIR_EINVAL, "a position before any text was begun");
    if (n < 1 || token < 0 || token >= n)
        return weir_fail(err, WEIR_EINVAL, "token %d of a row of %d", (int)token, (int)n);
    row w = {.at = r->n_x,
             .n = n,
             .token = token,
             .counted = counted,
             .position = (int32_t)(r->n_row - r->text[r->n_text - 1])};
    WEIR_TRY(weir__row_stats_of(weir__isa_best(), &r->sampled, q_logits, n, "q", &w.q_stats, err));
    WEIR_TRY(weir__row_stats_of(weir__isa_best(), &r->sampled, p_logits, n, "p", &w.p_stats, err));
    if (!grow((void **)&r->x, r->n_x, &r->cap_x, 6 * (size_t)n, sizeof *r->x) ||
        !grow((void **)&r->rows, r->n_row, &r->cap_row, 1, sizeof *r->rows))
        return weir_fail(err, WEIR_ENOMEM, "out of memory for a recorded position");
    fill(r->x + w.at, (size_t)n, &r->sampled, q_logits, p_logits, &w);
    weir_rule_token t;
    const weir_status s = at_row(r, &w, &r->sampled, &t);
    if (s != WEIR_OK)
        return weir_fail(err, s, "the recorded law has no answer at position %d", (int)w.position);
    if (t.has_pi && !(t.pi > 0.0f))
        return weir_fail(err, WEIR_EINVAL, "position %d: the recorded law cannot emit the recorded token",
                         (int)w.position);
    w.p0 = t.p;
    w.pi0 = t.pi;
    r->n_x += 6 * (size_t)n;
    r->rows[r->n_row++] = w;
    return WEIR_OK;
}

/* ---- estimates ----------------------------------------------------------------------------------------- */

enum { ROWS, REJECT, DEFER, BLOCKS, ACCEPTED, TOKENS, ONE, N_SUM };

/* Sums of one text under one weighting. f[d]: weight of being at depth d before the next row. */
typedef struct chain {
    double f[WEIR_GAMMA_MAX + 1];
    double sum[N_SUM];
} chain;

/* One row: go[d] of f[d] moves on to d + 1, back[d] of it to 0. */
static void chain_step(chain *c, int gamma, const weir_rule_token *t, bool counted, double go, double back,
                       double bonus) {
    double examined = 0;
    for (int d = 0; d < gamma; d++) examined += c->f[d];
    c->sum[ROWS] += examined;
    c->sum[REJECT] += examined * (double)t->reject;
    c->sum[DEFER] += examined * (double)t->deferred;
    c->sum[BLOCKS] += c->f[0];
    c->sum[ACCEPTED] += examined * go;
    if (counted) c->sum[TOKENS] += examined + c->f[gamma];
    const double reset = examined * back + c->f[gamma] * bonus;
    for (int d = gamma; d > 0; d--) c->f[d] = c->f[d - 1] * go;
    c->f[0] = reset;
}

/* A text under a law: recorded, reweighted. */
typedef struct text_sums {
    chain c[2];
    bool weighted; /* the law has a pi at every row */
    weir_status status;
} text_sums;

static double chain_weight(const chain *c, int gamma) {
    double w = 0;
    for (int d = 0; d <= gamma; d++) w += c->f[d];
    return w;
}

static weir_status run_text(const weir_replay *r, size_t text, const weir_law *law, int gamma,
                            text_sums *out) {
    const size_t end = text + 1 < r->n_text ? r->text[text + 1] : r->n_row;
    chain *c = out->c;
    memset(out, 0, sizeof *out);
    c[0].f[0] = c[1].f[0] = c[0].sum[ONE] = c[1].sum[ONE] = 1;
    out->weighted = true;
    for (size_t i = r->text[text]; i < end; i++) {
        const row *w = &r->rows[i];
        weir_rule_token t;
        WEIR_TRY(at_row(r, w, law, &t));
        const double go = 1.0 - (double)t.reject;
        chain_step(&c[0], gamma, &t, w->counted, go, 1.0 - go, 1.0);
        out->weighted = out->weighted && t.has_pi && !isnan(w->pi0);
        if (!out->weighted) continue;
        const double pi0 = (double)w->pi0, a = (double)t.taken / pi0,
                     left = ((double)t.pi - (double)t.taken) / pi0;
        /* rounding may leave pi a hair below what it is made of */
        chain_step(&c[1], gamma, &t, w->counted, a, left > 0 ? left : 0,
                   (double)(law->bonus_pi ? t.pi : w->p0) / pi0);
    }
    return WEIR_OK;
}

typedef struct texts_job {
    const weir_replay *r;
    const weir_law *law;
    int gamma;
    text_sums *out; /* (n_text) */
} texts_job;

static void run_texts(void *arg, int worker, int n_worker) {
    const texts_job *j = arg;
    long t, end;
    weir__pool_split((long)j->r->n_text, 1, worker, n_worker, &t, &end);
    for (; t < end; t++) {
        if (weir_interrupted(&j->r->interrupt))
            j->out[t].status = WEIR_ECANCELED;
        else
            j->out[t].status = run_text(j->r, (size_t)t, j->law, j->gamma, &j->out[t]);
    }
}

/* Pairs of a ratio, in the order of the figures. */
static const int ratio_of[5][2] = {
    {REJECT, ROWS}, {DEFER, ROWS}, {ACCEPTED, BLOCKS}, {BLOCKS, TOKENS}, {TOKENS, ONE}};

/* Of one of the two weightings: ratios a/b of sums over texts with their linearised standard errors:
 * var = n/(n-1) sum (a - r b)^2 / (sum b)^2. */
static void ratios(const text_sums *text, int weighting, size_t n, int gamma, weir_replay_figures *out) {
    weir_estimate *const to[5] = {&out->rejection, &out->deferral, &out->acceptance, &out->calls,
                                  &out->length};
    double w1 = 0, w2 = 0;
    for (size_t t = 0; t < n; t++) {
        const double w = chain_weight(&text[t].c[weighting], gamma);
        w1 += w;
        w2 += w * w;
    }
    out->texts = w2 > 0 ? w1 * w1 / w2 : 0;
    for (int k = 0; k < 5; k++) {
        double a = 0, b = 0, square = 0;
        for (size_t t = 0; t < n; t++) {
            a += text[t].c[weighting].sum[ratio_of[k][0]];
            b += text[t].c[weighting].sum[ratio_of[k][1]];
        }
        const double r = b > 0 ? a / b : NAN;
        for (size_t t = 0; t < n; t++) {
            const double *s = text[t].c[weighting].sum, d = s[ratio_of[k][0]] - r * s[ratio_of[k][1]];
            square += d * d;
        }
        to[k]->value = r;
        to[k]->error = n > 1 ? sqrt(square * (double)n / (double)(n - 1)) / b : NAN;
    }
    out->acceptance.value += 1.0;
}

static weir_status check(const weir_replay *r, const weir_law *law, int gamma, weir_err *err) {
    WEIR_TRY(weir_law_check(law, err));
    const weir_law *s = &r->sampled;
    if (law->temp != s->temp || law->top_k != s->top_k || law->top_p != s->top_p || law->min_p != s->min_p)
        return weir_fail(err, WEIR_EINVAL,
                         "the texts were recorded at temperature %g, top-k %d, top-p %g, min-p %g",
                         (double)s->temp, (int)s->top_k, (double)s->top_p, (double)s->min_p);
    if (law->block_verify)
        return weir_fail(err, WEIR_ENOTSUP,
                         "block verification accepts whole blocks: its blocks cannot be replayed");
    if (gamma < 1 || gamma > WEIR_GAMMA_MAX)
        return weir_fail(err, WEIR_EINVAL, "gamma %d is out of range, expected 1 to %d", gamma,
                         WEIR_GAMMA_MAX);
    if (r->n_row == 0) return weir_fail(err, WEIR_EINVAL, "nothing was recorded");
    return WEIR_OK;
}

weir_status weir_replay_estimate(const weir_replay *r, const weir_law *law, int gamma,
                                 weir_replay_result *out, weir_err *err) {
    WEIR_TRY(check(r, law, gamma, err));
    text_sums *text = weir_alloc(r->n_text, sizeof *text);
    if (!text) return weir_fail(err, WEIR_ENOMEM, "out of memory for %zu texts", r->n_text);
    texts_job job = {.r = r, .law = law, .gamma = gamma, .out = text};
    weir__pool_run(r->pool, run_texts, &job);
    bool weighted = true;
    weir_status s = WEIR_OK;
    for (size_t t = 0; t < r->n_text && s == WEIR_OK; t++) {
        s = text[t].status;
        weighted = weighted && text[t].weighted;
    }
    if (s == WEIR_OK) {
        memset(out, 0, sizeof *out);
        out->n_text = (int64_t)r->n_text;
        out->n_row = (int64_t)r->n_row;
        ratios(text, 0, r->n_text, gamma, &out->recorded);
        if (weighted) {
            ratios(text, 1, r->n_text, gamma, &out->reweighted);
        } else {
            const weir_estimate none = {NAN, NAN};
            out->reweighted = (weir_replay_figures){none, none, none, none, none, NAN};
        }
    } else {
        weir_fail(err, s,
                  s == WEIR_ECANCELED ? "cancelled" : "the rule has no answer at a recorded position");
    }
    weir_free(text);
    return s;
}
