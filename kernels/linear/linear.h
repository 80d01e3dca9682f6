#ifndef WEIR_KERNELS_LINEAR_LINEAR_H
#define WEIR_KERNELS_LINEAR_LINEAR_H

#include "kernels/attention/kv.h"
#include "kernels/linear/minmax.h"
#include "kernels/linear/linear_tiling.h"
#include "kernels/math/fmath.h"
#include "kernels/weight/weight.h"

/* What happens to a dot product d before it is stored. */
typedef enum weir_epilogue {
    WEIR_EPI_STORE,     /* y = d */
    WEIR_EPI_ADD,       /* y += d (residual), d with its scale and rounded to f32 */
    WEIR_EPI_MUL,       /* y *= d (up, where gate and up are weights of two dtypes) */
    WEIR_EPI_RELU,      /* y = max(d, 0) */
    WEIR_EPI_GELU_TANH, /* y = gelu_new(d): 0.5 d (1 + tanh(sqrt(2/pi) (d + 0.044715 d^3))) */
    WEIR_EPI_GELU_ERF,  /* y = 0.5 d (1 + erf(d / sqrt 2)) */
    WEIR_EPI_SILU,      /* y = d / (1 + exp(-d)) */
} weir_epilogue;

/* y is read before it is written: not with a gated weight. */
WF_FN bool weir__epilogue_reads(weir_epilogue e) { return e == WEIR_EPI_ADD || e == WEIR_EPI_MUL; }

/* Rows of several matrices of one shape and dtype, which lie one after another (mixtures of experts): rows
 * [begin[g], begin[g + 1]) of x and y are those of matrix g. */
typedef struct weir_groups {
    const int32_t *begin; /* (n + 1) rising, from 0 at least to at most n_row; backend memory */
    int32_t n, n_all;     /* n_all: matrices that the n_row rows are spread over, those that other ranks have
                       * counted; below n: n. A device goes by it, results do not */
    int64_t most;         /* rows of one, at most */
} weir_groups;

/* y[r][n] = epilogue(scale * sum_k xn[r][k] * w[n][k]),   xn = norm ? rmsnorm(x[r], norm, eps) : x[r] gated:
 * y[r][n] = act(scale * xn·gate[n]) * (xn·up[n]); act from the epilogue (STORE = identity) softcap > 0:
 * y[r][n] = softcap * tanh(d / softcap), d the value above (final logits of Gemma 2,
 *               arXiv 2408.00118)
 *
 *   x     (n_row, k)  f32, row stride ldx >= k
 *   norm  (k) f32 or NULL;   rmsnorm(x)_k = x_k / sqrt(mean(x^2) + eps) * norm_k
 *   y     (n_row, n)  f32, row stride ldy >= n; only [0, n) of a row is written; may not alias x
 *
 * The order of the sum over k depends only on the uncut weight (its outputs, inputs, dtype, and how ranks
 * split it) and on `rows`, so a row's result never depends on the other rows or on the number of ranks. A
 * weight split along its outputs is summed as a build likes. One split along its inputs is summed segment by
 * segment, each from zero and rounded to f32, and the segments by the tree of kernels/weight/segments.h; at
 * more than one rank y is the rank's share of that tree. rows = true: decode and verify rows; with bf16
 * weights on AVX512BF16 the normalised input is rounded to bf16 (as a tensor core would), products and sums
 * stay f32. rows = false: prefill, f32 inputs on the CPU (AMX: as three bf16 parts that add up to them; an
 * infinity among a row's inputs makes its outputs NaN); the caller passes rows of one session in chunks of
 * the backend's `chunk` positions, counted from position 0, which lets a backend send chunks to a library
 * GEMM of fixed shape.
 *
 * Quantised weights (kernels/weight/quant.h) but fp8: vectorised CPU builds and devices multiply bytes, for
 * decode rows and prompts alike. The normalised input (devices: x norm, before the row's factor) is rounded
 * to a multiple of 1/127 of the largest of its 32 (inputs 32 i … 32 i + 31), products of codes and bytes are
 * summed exactly for each scale of the weight, and those terms are added in f32, in rising k (devices: of
 * each eighth of the inputs or segment, and those then). A NaN or an infinity among a row's inputs makes its
 * outputs NaN; 32 inputs below 2^-100 count as zero. The portable truth uses the input unrounded, and so do
 * all with fp8: its elements are rounded to f32 and multiplied as such, by rows of decoding and of prompts in
 * the same way.
 *
 * minmax  NULL, or (n_row, weir__minmax_count(minmax_n)) backend memory: smallest and largest of each row's
 *         outputs [0, minmax_n) by spans (a head's logits, for the row statistics that follow). Written by
 *         backends with weir_backend.minmaxes set, ignored by others. Not with a gated weight, rows
 *         = true only.
 *
 * append  NULL, or what kv_append (kv.h) does besides with the rows of y, once they are there: its k
 *         and v are columns of y, v after k
 *
 * groups  NULL, or which rows belong to which matrix: w describes the first, weir__weight_at the others. Rows
 *         before the first group and past the last are left as they are, and a matrix without rows is not
 *         read. A row has the bits
 *         that it has in a product with its matrix alone (on a device: with rows = true). Not with a minmax
 *         or a weight that is split along its inputs.
 *
 * Moves weir__weight_bytes + 4 * n_row * (k + n) bytes. The truth (portable) sums in double, segments apart.
 * Error of a fast path's product d: (9/8 k + 16) * 2^-24 * sum|xn w|, plus 2^-8 * sum|xn w| where the input
 * is rounded to bf16; of an activation: 2^-21 |d|. Where it is rounded to bytes: with a the largest |xn| of
 * its 32 and w = s q + o, plus sum a |w| / 253 + (k / 8 + 16) * 2^-24 * sum a (|s q| + |o|). A softcap
 * adds 2^-20 |y|: the quotient, the tanh within 2^-21 of itself (slope at most 1), the product. Extents are
 * those of the stored values.
 * WEIR_EINVAL  n_row < 0, ldx < k, ldy < n, a gated weight with WEIR_EPI_ADD or WEIR_EPI_MUL, a norm or a
 *              gate with a weight that is split along its inputs, a minmax where the contract has none,
 *              groups where it has none; on the CPU also groups that fall or pass n_row; NULL, a softcap
 *              below 0, or one with a gated weight or an epilogue that is not WEIR_EPI_STORE, an append of
 *              anything but columns of y, with a gated weight or groups, or that kv_append refuses
 * WEIR_ENOTSUP a device: a rank's share with float ROWS weights and rows = false
 * WEIR_ENOMEM  the backend's scratch is less than weir__linear_scratch_floats(k), or on a device
 *              weir__linear_cuda_scratch_floats(n, k, chunk)
 *
 * On a device: with FRAGMENT weights x norm is rounded to bf16 and the row's factor is applied after the
 * sum, also with rows = false; with quantised weights, to bytes. Other ROWS weights with rows = true are
 * computed in f32, by a kernel for models that are not bf16; with rows = false they go to the library, which
 * takes f32, and bf16 with inputs rounded to bf16. f16, rows that are not a multiple of 16 bytes, and a
 * machine without the library use the kernel of rows = true. */
typedef struct weir_linear {
    const float *x;
    int64_t ldx;
    const float *norm;
    float eps;
    const weir_weight *w;
    float *y;
    int64_t ldy;
    int64_t n_row;
    weir_epilogue epilogue;
    float scale;
    bool rows;
    weir_minmax *minmax;
    int32_t minmax_n; /* <= w->n */
    float softcap;    /* 0 = none */
    const weir_kv_append *append;
    const weir_groups *groups;
} weir_linear;

enum { WEIR_LINEAR_CHUNK = 64 }; /* rows prepared at once */

/* Floats of scratch that a worker needs for products of k inputs, any n and n_row: pass the largest k of a
 * model to weir__backend_reserve. A newly opened backend has enough for k <= 1024. */
static inline size_t weir__linear_scratch_floats(int64_t k) {
    /* three bf16 parts of a row, each padded to whole lines, and a line */
    return (size_t)WEIR_LINEAR_CHUNK * ((size_t)(k / 2 * 3) + 96);
}

/* The same on a device where rows are many (linear_wide.cu): their inputs as bf16, their squares, and, where
 * outputs are so few that several blocks share each, a record of every segment. Inputs as bytes with their
 * scales (linear_quant_wide.cu) take less from 512 inputs on; where there is no room for them, rows go by in
 * eights. */
enum { WEIR_WIDE_ROWS = 128, WEIR_WIDE_RECORDS = 16384 };

static inline size_t weir__linear_wide_floats(int64_t n, int64_t k, int64_t n_row) {
    const int64_t records = n <= WEIR_WIDE_RECORDS ? WEIR_SEGMENTS * (n + 2 * WEIR_TILE) : 0;
    return (size_t)n_row * (size_t)((k + WEIR_TILE) / 2 + 1 + records) + 2 * 64;
}

/* Floats of scratch on a device for products of n outputs (both matrices of a gated pair counted), k inputs
 * and any n_row. chunk: the backend's if the weight multiplies prompts (rows = false), else 0 (a head). */
static inline size_t weir__linear_cuda_scratch_floats(int64_t n, int64_t k, int64_t chunk) {
    const size_t partial = weir__linear_most_partial_floats(n, k);
    const int64_t n_row = chunk > 0 ? chunk : (int64_t)WEIR_WIDE_ROWS;
    const size_t wide = weir__linear_wide_floats(n, k, n_row);
    /* parts aligned to 256 bytes */
    const size_t prompt = chunk > 0 ? (size_t)chunk * (size_t)(n + 4 + k + 1) + 3 * 64 : 0;
    const size_t most = partial > wide ? partial : wide;
    return prompt > most ? prompt : most;
}

static inline weir_status weir__linear_check_append(const weir_linear *a) {
    const weir_kv_append *p = a->append;
    WEIR_TRY(weir__kv_append_check(p));
    const int64_t width = (int64_t)p->kv->n_head_kv * p->kv->head_dim;
    if (a->w->gated || p->ld != a->ldy || p->n_row != a->n_row || p->v != p->k + width) return WEIR_EINVAL;
    return p->k < a->y || p->k + 2 * width > a->y + a->w->n ? WEIR_EINVAL : WEIR_OK;
}

static inline weir_status weir__linear_check(const weir_linear *a) {
    if (a->n_row < 0 || !a->x || !a->y || !a->w || !a->w->data) return WEIR_EINVAL;
    if (a->ldx < a->w->k || a->ldy < a->w->n) return WEIR_EINVAL;
    if (a->w->gated && (weir__epilogue_reads(a->epilogue) || a->minmax)) return WEIR_EINVAL;
    if (a->w->split == WEIR_SPLIT_INPUTS && (a->w->gated || a->norm)) return WEIR_EINVAL;
    if (!(a->softcap >= 0.0f)) return WEIR_EINVAL;
    if (a->softcap > 0.0f && (a->w->gated || a->epilogue != WEIR_EPI_STORE)) return WEIR_EINVAL;
    if (a->minmax && (!a->rows || a->minmax_n < 1 || a->minmax_n > a->w->n)) return WEIR_EINVAL;
    if (a->append) return a->groups ? WEIR_EINVAL : weir__linear_check_append(a);
    if (!a->groups) return WEIR_OK;
    if (a->minmax || a->w->split == WEIR_SPLIT_INPUTS) return WEIR_EINVAL;
    return a->groups->n < 1 || !a->groups->begin || a->groups->most < 0 ? WEIR_EINVAL : WEIR_OK;
}

#endif /* WEIR_KERNELS_LINEAR_LINEAR_H */
