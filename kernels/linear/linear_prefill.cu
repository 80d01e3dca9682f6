/* Products of prompts with ROWS weights: cuBLASLt computes the sums, these kernels do what comes before and
 * after.
 *
 *   x rows  --x norm, to the weight's dtype, zeros up to a whole chunk-->  scratch
 *   scratch --library-->  sums (chunk, n) f32 in scratch
 *   sums    --row factor, scale, activation, gate, add-->  the rows of y that exist */
#include "kernels/linear/cublaslt.cuh"
#include "kernels/linear/linear.cuh"

namespace linear {
namespace {

enum { PADDING = 32 }; /* rows of zeros that a block writes */

/* prepare_bf16 of linear.cuh, or for T. Rows from n_row to n_out are zeros. */
template <class T>
__global__ void __launch_bounds__(THREADS)
    prepare_kernel(const job a, T *xs, int64_t n_out, int64_t ld, int64_t slice, float *squares) {
    K_SHARED(part, float[1][WARPS]);
    ptx::grid_launch_dependents();
    ptx::grid_wait();
    const int64_t row = blockIdx.x;
    if (row >= a.n_row) {
        const int64_t first = a.n_row + (row - a.n_row) * PADDING;
        const int64_t end = first + PADDING < n_out ? first + PADDING : n_out;
        for (int64_t i = first * ld + 4 * threadIdx.x; i < end * ld; i += 4 * THREADS)
            put4(xs + i, make_float4(0.0f, 0.0f, 0.0f, 0.0f));
        return;
    }
    if (!is_grouped(a, row)) return;
    T *out = xs + row * ld;
    float sum = 0.0f;
    for (int64_t first = 0; first < a.k; first += slice) {
        const int width = static_cast<int>(ld - first < slice ? ld - first : slice);
        const int64_t end = first + slice < a.k ? first + slice : a.k;
        take_rows<T, 1, 2>(a, row, 1, first, width, end, out + first, 0, part,
                           INPUTS | (a.norm ? SQUARES : 0));
        if (!a.norm) continue;
        __syncthreads();
        sum = first > 0 ? sum + sum_parts(part[0]) : sum_parts(part[0]);
        __syncthreads(); /* the slice's parts have been read */
    }
    if (threadIdx.x == 0) squares[row] = sum;
}

__global__ void __launch_bounds__(THREADS)
    finish_kernel(const job a, const float *sums, int64_t ld, const float *squares) {
    ptx::grid_launch_dependents();
    ptx::grid_wait();
    const int64_t n = static_cast<int64_t>(blockIdx.x) * THREADS + threadIdx.x, row = blockIdx.y;
    if (n >= a.n) return;
    const float *s = sums + row * ld + n;
    const float factor = row_factor(a, squares[row]);
    finish(a, factor * s[0], a.gated ? factor * s[a.n] : 0.0f, row, n);
}

template <class T>
weir_status prepare(weir_cuda *cu, const weir_linear *a, const job &j, int64_t rows, T *xs, int64_t ld,
                    int64_t slice, float *squares) {
    const int64_t blocks = j.n_row + (rows - j.n_row + PADDING - 1) / PADDING;
    K_LAUNCH_PDL(prepare_kernel<T>, dim3(static_cast<unsigned>(blocks)), dim3(THREADS), 0, cu->stream)
    (j, xs, rows, ld, slice, squares);
    return launched(cu, "inputs", a);
}

/* The parts of scratch; each is aligned to 256 bytes. */
struct parts {
    float *squares, *sums;
    void *x;
    size_t floats;
};

parts parts_of(float *scratch, int64_t chunk, int64_t k, int64_t ld) {
    parts p;
    const size_t rows = static_cast<size_t>(chunk);
    p.squares = scratch;
    p.sums = p.squares + whole_lines(rows);
    p.x = p.sums + whole_lines(rows * static_cast<size_t>(ld));
    p.floats = whole_lines(rows) + whole_lines(rows * static_cast<size_t>(ld)) +
               whole_lines(rows * static_cast<size_t>(k));
    return p;
}

weir_status one_chunk(weir_cuda *cu, const weir_linear *a, const job &j, const parts &p, int64_t ld) {
    const bool bf16 = a->w->dtype == WEIR_DTYPE_BF16;
    const int64_t rows = cu->base.chunk, k = a->w->k;
    WEIR_TRY(bf16 ? prepare(cu, a, j, rows, static_cast<uint16_t *>(p.x), k, k, p.squares)
                  : prepare(cu, a, j, rows, static_cast<float *>(p.x), k, k, p.squares));
    weir_lt_product product = {};
    product.x = p.x, product.w = a->w->data, product.y = p.sums;
    product.n = a->w->gated ? 2 * a->w->n : a->w->n, product.k = a->w->k, product.ldy = ld;
    product.chunk = cu->base.chunk, product.dtype = a->w->dtype;
    WEIR_TRY(weir__cublaslt_product(cu, &product));
    const dim3 grid(static_cast<unsigned>((a->w->n + THREADS - 1) / THREADS), static_cast<unsigned>(j.n_row));
    K_LAUNCH_PDL(finish_kernel, grid, dim3(THREADS), 0, cu->stream)(j, p.sums, ld, p.squares);
    return launched(cu, "prompt epilogue", a);
}

} // namespace

weir_status prepare_bf16(weir_cuda *cu, const weir_linear *a, const job &j, int64_t rows, uint16_t *xs,
                         int64_t ld, int64_t slice, float *squares) {
    return prepare(cu, a, j, rows, xs, ld, slice, squares);
}

weir_status prefill(weir_cuda *cu, const weir_linear *a) {
    const weir_weight *w = a->w;
    const bool library = cu->lt && w->dtype != WEIR_DTYPE_F16 && w->k * weir_dtype_bytes(w->dtype) % 16 == 0;
    if (!library) return plain_rows(cu, a);
    const int64_t chunk = cu->base.chunk, ld = ((w->gated ? 2 * w->n : w->n) + 3) / 4 * 4;
    const parts p = parts_of(cu->base.scratch, chunk, w->k, ld);
    if (p.floats > cu->base.scratch_floats) return WEIR_ENOMEM;
    for (int64_t r = 0; r < a->n_row; r += chunk) {
        WEIR_TRY(one_chunk(cu, a, rows_of(job_of(a), r, chunk), p, ld));
    }
    return WEIR_OK;
}

} // namespace linear
