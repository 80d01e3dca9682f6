#include "tests/kernels/accept/accept_oracle.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/build.h"
#include "tests/support/compare.h"

/* ---- rows ---------------------------------------------------------------------------------------------- */

typedef struct ranked {
    double w;
    float l;
    int id;
} ranked;

/* Falling logit, then rising id. */
static int by_rank(const void *a, const void *b) {
    const ranked *x = a, *y = b;
    if (x->l != y->l) return x->l < y->l ? 1 : -1;
    return x->id - y->id;
}

/* d in units of what fp32 may be wrong by there. */
static void closer(double *margin, double d, double unit) {
    if (fabs(d) < *margin * unit) *margin = fabs(d) / unit;
}

/* Number of ranked tokens that stay. */
static int cut(const weir_law *law, const ranked *r, int n, double *margin) {
    int m = n;
    if (law->top_k > 0 && law->top_k < n) {
        m = law->top_k;
        while (m < n && r[m].l == r[m - 1].l) m++;
    }
    if (law->top_p < 1.0f) {
        double total = 0.0, cum = 0.0;
        for (int i = 0; i < m; i++) total += r[i].w;
        int i = 0;
        while (i < m && cum < (double)law->top_p * total) {
            cum += r[i++].w;
            closer(margin, cum / total - (double)law->top_p, 1e-5);
        }
        m = i;
    }
    if (law->min_p > 0.0f) {
        int i = 1;
        for (int k = 1; k < m; k++) closer(margin, r[k].w - (double)law->min_p, 2e-5 * (double)law->min_p);
        while (i < m && r[i].w >= (double)law->min_p) i++;
        m = i;
    }
    return m;
}

void oracle_softmax(const weir_law *law, bool raw, const float *logits, int n, double *out, double *margin) {
    const double temp = raw ? 1.0 : (double)law->temp;
    int best = 0;
    for (int v = 1; v < n; v++)
        if (logits[v] > logits[best]) best = v;
    for (int v = 0; v < n; v++) out[v] = 0.0;
    if (!raw && temp == 0.0) {
        out[best] = 1.0;
        return;
    }
    ranked *r = malloc((size_t)n * sizeof *r);
    for (int v = 0; v < n; v++)
        r[v] = (ranked){exp(((double)logits[v] - (double)logits[best]) / temp), logits[v], v};
    qsort(r, (size_t)n, sizeof *r, by_rank);
    const int m = raw ? n : cut(law, r, n, margin);
    double sum = 0.0;
    for (int i = m - 1; i >= 0; i--) sum += r[i].w;
    for (int i = 0; i < m; i++) out[r[i].id] = r[i].w / sum;
    free(r);
}

static double entropy_of(const double *p, int n) {
    double h = 0.0;
    for (int v = 0; v < n; v++)
        if (p[v] > 0.0) h -= p[v] * log(p[v]);
    return h;
}

static double largest(const double *p, int n) {
    double m = 0.0;
    for (int v = 0; v < n; v++) m = p[v] > m ? p[v] : m;
    return m;
}

static int argmax_of(const float *l, int n) {
    int best = 0;
    for (int v = 1; v < n; v++)
        if (l[v] > l[best]) best = v;
    return best;
}

/* ---- rules --------------------------------------------------------------------------------------------- */

typedef struct view {
    oracle *o;
    const weir_law *law;
    const double *gq, *gp; /* what maxima, entropies and membership see */
    const float *q_logits;
    int n;
    double alpha;
    bool absolute;
} view;

static double above(const double *a, double s, const double *b, int n) { /* sum (s a - b)+ */
    double t = 0.0;
    for (int v = 0; v < n; v++) t += fmax(0.0, s * a[v] - b[v]);
    return t;
}

static double js_of(const double *q, const double *p, int n) {
    double t = 0.0;
    for (int v = 0; v < n; v++) {
        const double m = 0.5 * (q[v] + p[v]);
        if (q[v] > 0.0) t += 0.5 * q[v] * log(q[v] / m);
        if (p[v] > 0.0) t += 0.5 * p[v] * log(p[v] / m);
    }
    return t;
}

static bool less(view *w, double a, double b) {
    if (a == b) return false; /* one number on both sides: equal in fp32 too */
    /* an exponential of a logit 40 below the maximum has this relative error; differences of maxima an
     * absolute one */
    closer(&w->o->margin, a - b, 2e-5 * fmax(fabs(a), fabs(b)) + (w->absolute ? 3e-7 : 0.0));
    return a < b;
}

static bool gate(view *w) {
    const int n = w->n;
    const double tv = above(w->o->p, 1.0, w->o->q, n), mq = largest(w->gq, n), mp = largest(w->gp, n);
    switch (w->law->rule) {
    case WEIR_RULE_CHOW: return less(w, mq, 1.0 - w->alpha);
    case WEIR_RULE_CHOW_LOG: return less(w, w->alpha, entropy_of(w->gq, n));
    case WEIR_RULE_DIFF: return less(w, mq, mp - w->alpha);
    case WEIR_RULE_OPT: return less(w, mq, mp - w->alpha * tv);
    case WEIR_RULE_OPT_LOG: return less(w, entropy_of(w->gp, n) + w->alpha * tv, entropy_of(w->gq, n));
    case WEIR_RULE_BILD: return less(w, w->alpha, -log(w->gp[argmax_of(w->q_logits, n)]));
    case WEIR_RULE_FUZZY: return less(w, w->alpha, js_of(w->o->q, w->o->p, n));
    default: return true;
    }
}

static void target_is(view *w) { /* num = pi, res = (pi - q)+ */
    oracle *o = w->o;
    for (int v = 0; v < w->n; v++) {
        o->num[v] = o->keep[v] * o->q[v] + o->eta * o->p[v];
        o->res[v] = fmax(0.0, o->num[v] - o->q[v]);
    }
}

static bool token_defers(view *w, double mp, int v) {
    switch (w->law->rule) {
    case WEIR_RULE_TOKEN_V1: return less(w, w->gq[v], mp - w->alpha);
    case WEIR_RULE_TOKEN_V2: return less(w, w->gp[v], mp - w->alpha);
    default: return less(w, w->gp[v], (1.0 - w->alpha) * mp);
    }
}

static void lossy(view *w) {
    oracle *o = w->o;
    const int n = w->n;
    o->beta = isnan(w->law->beta) ? 1.0 : (double)w->law->beta;
    if (w->law->temp == 0.0f) {
        const bool keep =
            !less(w, o->p_raw[argmax_of(w->q_logits, n)], (1.0 - w->alpha) * largest(o->p_raw, n));
        for (int v = 0; v < n; v++) {
            o->num[v] = keep ? o->q[v] : o->p[v];
            o->res[v] = keep ? 0.0 : fmax(0.0, o->p[v] - o->q[v]);
        }
        return;
    }
    double reject = 0.0;
    for (int v = 0; v < n; v++) {
        o->num[v] = o->p[v] / (1.0 - w->alpha);
        reject += fmax(0.0, o->q[v] - o->num[v]);
    }
    if (isnan(w->law->beta) && reject > 0.0) { /* bisection on s = 1 / beta */
        double lo = 0.0, hi = 1.0;
        for (int i = 0; i < 200; i++) {
            const double s = 0.5 * (lo + hi);
            *(above(o->p, s, o->q, n) < reject ? &lo : &hi) = s;
        }
        o->beta = 1.0 / hi;
    }
    if (above(o->p, 1.0 / o->beta, o->q, n) == 0.0 && reject > 0.0) o->beta = 1.0;
    for (int v = 0; v < n; v++) o->res[v] = fmax(0.0, o->p[v] / o->beta - o->q[v]);
}

static void typical(view *w) {
    oracle *o = w->o;
    const double bound = fmin(w->alpha, (double)w->law->beta * exp(-entropy_of(w->gp, w->n)));
    double mass = 0.0;
    for (int v = 0; v < w->n; v++) {
        const bool in = less(w, bound, w->gp[v]);
        o->num[v] = in ? o->q[v] : 0.0;
        o->res[v] = in ? o->p[v] : 0.0;
        mass += o->res[v];
    }
    if (mass > 0.0) return;
    for (int v = 0; v < w->n; v++) o->res[v] = o->p[v];
}

/* The emitted law of cactus is a mixture over the drafted token. */
static void cactus(view *w) {
    oracle *o = w->o;
    const int n = w->n;
    for (int v = 0; v < n; v++)
        o->num[v] = fmin(1.0, o->p[v] + sqrt(fmax(0.0, 2.0 * w->alpha * o->p[v] * (1.0 - o->p[v]))));
    for (int v = 0; v < n; v++) o->pi[v] = fmin(o->q[v], o->num[v]);
    for (int x = 0; x < n; x++) {
        const double weight = o->q[x] - o->num[x];
        if (weight <= 0.0) continue;
        const double scale = o->p[x] < 1.0 ? (1.0 - o->num[x]) / (1.0 - o->p[x]) : 0.0;
        double mass = 0.0;
        for (int v = 0; v < n; v++) mass += v == x ? 0.0 : fmax(0.0, scale * o->p[v] - o->q[v]);
        for (int v = 0; v < n; v++)
            if (v != x && mass > 0.0) o->pi[v] += weight * fmax(0.0, scale * o->p[v] - o->q[v]) / mass;
    }
}

static void exact_tail(view *w) {
    oracle *o = w->o;
    const double mp = largest(w->gp, w->n);
    for (int v = 0; v < w->n; v++) {
        o->num[v] = token_defers(w, mp, v) ? o->p[v] : o->q[v];
        o->res[v] = fmax(0.0, o->p[v] - o->q[v]);
    }
}

static void apply(view *w) {
    oracle *o = w->o;
    const double mp = largest(w->gp, w->n);
    switch (w->law->rule) {
    case WEIR_RULE_LOSSY: lossy(w); return;
    case WEIR_RULE_TYPICAL: typical(w); return;
    case WEIR_RULE_CACTUS: cactus(w); return;
    case WEIR_RULE_TOKEN_V3_EXACT_TAIL: exact_tail(w); return;
    case WEIR_RULE_ENSEMBLE:
        o->eta = w->alpha;
        for (int v = 0; v < w->n; v++) o->keep[v] = 1.0 - w->alpha;
        target_is(w);
        return;
    case WEIR_RULE_TOKEN_V1:
    case WEIR_RULE_TOKEN_V2:
    case WEIR_RULE_TOKEN_V3:
        o->eta = 0.0;
        for (int v = 0; v < w->n; v++) {
            o->keep[v] = token_defers(w, mp, v) ? 0.0 : 1.0;
            o->eta += (1.0 - o->keep[v]) * o->q[v];
        }
        target_is(w);
        return;
    default:
        o->deferred = gate(w);
        o->eta = o->deferred;
        for (int v = 0; v < w->n; v++) o->keep[v] = 1.0 - o->deferred;
        target_is(w);
    }
}

oracle *oracle_new(const weir_law *law, const float *q_logits, const float *p_logits, int n) {
    oracle *o = calloc(1, sizeof *o);
    double *d = calloc((size_t)n * 8, sizeof *d);
    *o = (oracle){.n = n,
                  .q = d,
                  .p = d + n,
                  .q_raw = d + 2 * n,
                  .p_raw = d + 3 * n,
                  .num = d + 4 * n,
                  .res = d + 5 * n,
                  .pi = d + 6 * n,
                  .keep = d + 7 * n,
                  .eta = NAN,
                  .beta = NAN,
                  .deferred = -1,
                  .margin = 1e9};
    oracle_softmax(law, false, q_logits, n, o->q, &o->margin);
    oracle_softmax(law, false, p_logits, n, o->p, &o->margin);
    oracle_softmax(law, true, q_logits, n, o->q_raw, &o->margin);
    oracle_softmax(law, true, p_logits, n, o->p_raw, &o->margin);
    o->h_q = entropy_of(o->q_raw, n);
    o->h_p = entropy_of(o->p_raw, n);
    for (int v = 0; v < n; v++) o->keep[v] = NAN;
    view w = {o,
              law,
              law->gate_scaled ? o->q : o->q_raw,
              law->gate_scaled ? o->p : o->p_raw,
              q_logits,
              n,
              (double)law->alpha,
              law->rule != WEIR_RULE_TOKEN_V3 && law->rule != WEIR_RULE_TOKEN_V3_EXACT_TAIL &&
                  law->rule != WEIR_RULE_TYPICAL};
    apply(&w);
    for (int v = 0; v < n; v++) {
        o->reject += fmax(0.0, o->q[v] - o->num[v]);
        o->mass += o->res[v];
    }
    if (law->rule == WEIR_RULE_CACTUS) return o;
    for (int v = 0; v < n; v++)
        o->pi[v] = fmin(o->q[v], o->num[v]) + (o->mass > 0.0 ? o->reject * o->res[v] / o->mass : 0.0);
    return o;
}

void oracle_free(oracle *o) {
    free(o->q);
    free(o);
}

/* ---- statistics ---------------------------------------------------------------------------------------- */

double chi_square_z(const int64_t *counts, const double *prob, int n, int64_t total) {
    double x2 = 0.0, pool_e = 0.0, pool_c = 0.0;
    int cells = 0;
    for (int v = 0; v < n; v++) {
        const double e = prob[v] * (double)total, c = (double)counts[v];
        if (c > 0.0 && prob[v] <= 0.0) return INFINITY;
        if (e < 5.0) {
            pool_e += e;
            pool_c += c;
            continue;
        }
        x2 += (c - e) * (c - e) / e;
        cells++;
    }
    if (pool_e >= 5.0) {
        x2 += (pool_c - pool_e) * (pool_c - pool_e) / pool_e;
        cells++;
    } else if (pool_c > 40.0)
        return INFINITY;
    if (cells < 2) return 0.0;
    const double df = cells - 1, k = 2.0 / (9.0 * df);
    return (cbrt(x2 / df) - (1.0 - k)) / sqrt(k);
}

double binomial_z(int64_t hits, int64_t total, double p) {
    const double n = (double)total, d = (double)hits - n * p;
    if (p <= 1e-9 || p >= 1.0 - 1e-9) return fabs(d) < 1.0 ? 0.0 : INFINITY;
    /* one count of continuity correction, so that a handful of expected hits does not look like many
     * deviations */
    return fmax(0.0, fabs(d) - 1.0) / sqrt(n * p * (1.0 - p));
}

int64_t draws_for_build(int64_t n) { return build_is_sanitized() ? n / 10 : n; }

void random_rows(uint64_t *state, int n, float spread, float noise, bool ties, float *q, float *p) {
    for (int v = 0; v < n; v++) {
        const float base = spread * rng_normal(state);
        q[v] = base + noise * rng_normal(state);
        p[v] = base + noise * rng_normal(state);
        if (!ties) continue;
        q[v] = roundf(2.0f * q[v]) / 2.0f;
        p[v] = roundf(2.0f * p[v]) / 2.0f;
        if (v > 0 && rng_u64(state) % 16 == 0) q[v] = -INFINITY;
        if (v > 0 && rng_u64(state) % 16 == 0) p[v] = -INFINITY;
    }
}
