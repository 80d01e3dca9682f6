#ifndef WEIR_TESTS_KERNELS_ROWS_ROPE_FIXTURE_H
#define WEIR_TESTS_KERNELS_ROWS_ROPE_FIXTURE_H

#include "tests/kernels/op_fixture.h"

/* A call of rope as a test names it, its data, and what is expected of it: an oracle in complex numbers,
 * written from the formula apart from every build. Bounds are those of kernels/rows/rope.h. */
typedef struct rope_case {
    int32_t n_head, n_head_kv, head_dim, n_dim, n_row;
    bool bias, norm, interleaved;
    float scale;
    int32_t first; /* position of row 0; row r has first + 37 r */
} rope_case;

enum { ROPE_ROWS = 40, ROPE_PAD = 3, ROPE_DEAD = 2 /* this row is dead, where there are so many */ };
#define ROPE_EPS 1e-6f

typedef struct rope_data {
    rope_case c;
    int64_t ld, width; /* of a row: q, k and v, followed by ROPE_PAD floats of NaN */
    float *x, *bias, *q_norm, *k_norm, *inv_freq;
    int32_t slot[ROPE_ROWS], pos[ROPE_ROWS];
    double *want, *bound; /* (n_row, width) */
} rope_data;

rope_data rope_new(const rope_case *c, uint64_t *rng);
void rope_free(rope_data *d);

/* The arguments of n rows at x, slot and pos; the vectors are those of `where` (d itself, or its copies on a
 * device). */
weir_rope rope_args(const rope_data *d, const rope_data *where, float *x, const int32_t *slot,
                    const int32_t *pos, int32_t n);
void rope_assert(const rope_data *d, const float *got, const char *what); /* got (n_row, ld) */

/* What rope does with a cache: the rows that it leaves without one, and there what kv_append then puts there,
 * in every byte. where: the vectors of d in the backend's memory. */
void rope_assert_appended(weir_backend *be, const rope_data *d, const rope_data *where, weir_dtype dtype);

enum { ROPE_CASES = 40 };
rope_case rope_nth(int i); /* a walk over sizes and settings, i < ROPE_CASES */

#endif
