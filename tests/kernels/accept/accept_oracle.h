#ifndef WEIR_TESTS_KERNELS_ACCEPT_ACCEPT_ORACLE_H
#define WEIR_TESTS_KERNELS_ACCEPT_ACCEPT_ORACLE_H

#include "kernels/accept/accept.h"

/* The rules once more, in double, by plain loops and sorting, written from their definitions and not from the
 * kernels. margin: the closest decision, in units of what fp32 may be wrong by there; under 1 fp32 may
 * decide the other way, and there is nothing to compare. */
typedef struct oracle {
    int n;
    double *q, *p; /* processed */
    double *q_raw, *p_raw;
    double *num, *res, *pi; /* pi: the emitted law (for cactus the law over all drafted tokens) */
    double *keep;           /* NaN where undefined */
    double eta, reject, mass, beta;
    double h_q, h_p; /* raw entropies */
    int deferred;    /* 0, 1, -1 */
    double margin;
} oracle;

oracle *oracle_new(const weir_law *law, const float *q_logits, const float *p_logits, int n);
void oracle_free(oracle *o);

/* Softmax of one row at temperature T (0: one-hot) with truncation; margin is lowered to the closest call. */
void oracle_softmax(const weir_law *law, bool raw, const float *logits, int n, double *out, double *margin);

/* Chi-square of counts against probabilities as a normal deviate (Wilson-Hilferty); cells with an expectation
 * under 5 are pooled. +INFINITY if a token of probability zero was seen. */
double chi_square_z(const int64_t *counts, const double *prob, int n, int64_t total);

/* Deviate of a count of `hits` in `total` trials of probability p. */
double binomial_z(int64_t hits, int64_t total, double p);

/* n, or a tenth of it under sanitizers, which look for other things than laws. */
int64_t draws_for_build(int64_t n);

/* Two rows that mostly agree: q = base + noise, p = base + noise; `ties` rounds the logits to halves,
 * some -inf in both kinds. */
void random_rows(uint64_t *state, int n, float spread, float noise, bool ties, float *q, float *p);

/* |z| that no sound implementation passes in ten thousand tests: P = 6e-8 two-sided, 6e-4 over all of
 * them. */
#define Z_MAX 5.4

#endif
