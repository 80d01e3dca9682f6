#ifndef WEIR_TESTS_KERNELS_OP_FIXTURE_H
#define WEIR_TESTS_KERNELS_OP_FIXTURE_H

#include "kernels/backend.h"

weir_backend *open_backend(int n_thread, weir_isa isa); /* asserts */

/* A matrix as a file would hold it, and the same values widened; random normal times `spread`
 * (blocks: random codes and scales, values of up to about that; cols are whole blocks). */
typedef struct matrix {
    weir_tensor file;
    float *value; /* (rows, cols) */
} matrix;
matrix matrix_new(weir_dtype dtype, int64_t rows, int64_t cols, float spread, uint64_t *rng);
void matrix_free(matrix *m);

/* n elements in blocks, as such a matrix has them. */
void blocks_random(weir_dtype dtype, void *to, int64_t n, float spread, uint64_t *rng);

/* n elements of a file's row from its first byte on; n a multiple of the block. */
void dequantise_row(weir_dtype dtype, const void *row, int64_t n, float *out);

float *floats_normal(size_t n, float spread, uint64_t *rng); /* guarded_new, filled */

/* |got - want| <= bound element by element, finite where want is, and from 64 elements on the whole's
 * NMSE <= 1e-4; asserts with `what`. */
void assert_within(const float *got, const double *want, const double *bound, size_t n, const char *what);
void assert_same(const float *got, const float *want, size_t n, const char *what);

#endif
