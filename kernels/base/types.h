#ifndef WEIR_KERNELS_BASE_TYPES_H
#define WEIR_KERNELS_BASE_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The names of shapes; comments, code and bench output use only these words.
 *   n_row   flat rows of a batch (one token of one session each)
 *   dim     model width           ff_dim  feed-forward width
 *   n_head, n_head_kv, head_dim   attention
 *   n_layer, n_vocab, n_session
 *   page    64 positions of K and V
 * Shapes are written (outermost, …, innermost); the innermost is contiguous. */

typedef enum weir_dtype {
    WEIR_DTYPE_F32 = 0,
    WEIR_DTYPE_F16 = 1,
    WEIR_DTYPE_BF16 = 2,
    /* Quantised: elements come in blocks of 32, 64, 128 or 256 along a row, each with its scales
     * (kernels/weight/quant.h). A row is whole blocks. */
    WEIR_DTYPE_Q4_0,
    WEIR_DTYPE_Q4_1,
    WEIR_DTYPE_Q5_0,
    WEIR_DTYPE_Q5_1,
    WEIR_DTYPE_Q8_0,
    WEIR_DTYPE_IQ4_NL,
    WEIR_DTYPE_MXFP4,
    WEIR_DTYPE_INT4,
    WEIR_DTYPE_Q2_K, /* the first of 256 */
    WEIR_DTYPE_Q3_K,
    WEIR_DTYPE_Q4_K,
    WEIR_DTYPE_Q5_K,
    WEIR_DTYPE_Q6_K,
    WEIR_DTYPE_IQ4_XS,
    WEIR_DTYPE_FP8,      /* of 64 */
    WEIR_DTYPE_INT4_128, /* of 128 */
    WEIR_DTYPE_COUNT,
} weir_dtype;

static inline bool weir_dtype_is_float(weir_dtype t) { return t <= WEIR_DTYPE_BF16; }

/* Bytes of one element of a float dtype. */
static inline int weir_dtype_bytes(weir_dtype t) { return t == WEIR_DTYPE_F32 ? 4 : 2; }

/* Elements of a block (1 for floats), and its bytes. */
static inline int weir_dtype_block(weir_dtype t) {
    if (t == WEIR_DTYPE_FP8) return 64;
    if (t == WEIR_DTYPE_INT4_128) return 128;
    return t >= WEIR_DTYPE_Q2_K ? 256 : t >= WEIR_DTYPE_Q4_0 ? 32 : 1;
}
int weir_dtype_block_bytes(weir_dtype t);

/* Bytes of n elements in a row; n is a multiple of the block. */
static inline int64_t weir_dtype_row_bytes(weir_dtype t, int64_t n) {
    return n / weir_dtype_block(t) * weir_dtype_block_bytes(t);
}

const char *weir_dtype_name(weir_dtype t); /* "f32", "bf16", "q4_k"; static */

float weir_f32_from_bf16(uint16_t bits);
float weir_f32_from_f16(uint16_t bits); /* all bit patterns, subnormals included */
uint16_t weir_bf16_from_f32(float f);   /* round to nearest even; NaN stays NaN */
uint16_t weir_f16_from_f32(float f);    /* the same; infinite past 65519 */

/* A tensor as stored in a file: borrowed bytes, row-major, (outer..., rows, cols). A vector has rows = 1, a
 * matrix has no outer dimensions; with outer dimensions it is a stack of matrices, such as a layer's
 * experts. */
typedef struct weir_tensor {
    const void *data; /* host; may be unaligned */
    weir_dtype dtype;
    int64_t rows, cols;
    int n_outer; /* 0 to 2 */
    int64_t outer[2];
    int64_t stride; /* bytes from one row to the next; 0: as many as a row has */
    /* (cols) or NULL. Column j is input order[j] of the matrix that the file means; NULL: input j. */
    const int32_t *order;
} weir_tensor;

/* A tensor of n_dim dimensions, 1 to 4, outermost first. */
weir_tensor weir_tensor_of(const void *data, weir_dtype dtype, const int64_t *shape, int n_dim);

/* Rows [first, first + n), or columns, in whole blocks, of a matrix. Data may be NULL and stays NULL. */
weir_tensor weir_tensor_rows(const weir_tensor *t, int64_t first, int64_t n);
weir_tensor weir_tensor_cols(const weir_tensor *t, int64_t first, int64_t n);
const void *weir_tensor_row(const weir_tensor *t, int64_t r);

enum { WEIR_SHAPE_TEXT = 96 };
/* "(8, 768, 2048)" into out; returns out. */
const char *weir_tensor_shape(const weir_tensor *t, char out[WEIR_SHAPE_TEXT]);

/* One element of a vector or matrix widened to f32; r and c are in range. (kernels/weight/quant.c; for small
 * tensors and tests: a block is decoded for each element.) */
float weir_tensor_get(const weir_tensor *t, int64_t r, int64_t c);

#endif /* WEIR_KERNELS_BASE_TYPES_H */
