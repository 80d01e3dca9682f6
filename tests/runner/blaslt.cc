/* cuBLASLt for the runner: every product by one loop, and one algorithm. */
#include "tests/runner/include/cublasLt.h"

#include <cstdio>
#include <cstdlib>

#include "tests/runner/api.h"

struct runner_lt {
    int unused;
};
struct runner_lt_desc {
    int32_t trans[2];
    int32_t pointer_mode;
};
struct runner_lt_layout {
    cudaDataType_t type;
    int32_t order;
    uint64_t rows, columns;
    int64_t ld;
};
struct runner_lt_preference {
    uint64_t workspace;
};

namespace runner {

enum : uint64_t { ALGORITHM = 0x7265696577000001ull };

/* One operand: element (i, k) after its transpose. */
struct matrix {
    const char *p;
    runner_lt_layout at;
    bool transposed;
};

static uint64_t rows_of(const matrix &m) { return m.transposed ? m.at.columns : m.at.rows; }
static uint64_t columns_of(const matrix &m) { return m.transposed ? m.at.rows : m.at.columns; }
static size_t size_of(cudaDataType_t t) { return t == CUDA_R_32F ? 4 : 2; }

static size_t offset(const runner_lt_layout &l, uint64_t i, uint64_t k) {
    const uint64_t ld = static_cast<uint64_t>(l.ld);
    return (l.order == CUBLASLT_ORDER_ROW ? i * ld + k : k * ld + i) * size_of(l.type);
}

static float element(const matrix &m, uint64_t i, uint64_t k) {
    const char *p = m.p + (m.transposed ? offset(m.at, k, i) : offset(m.at, i, k));
    uint16_t half;
    float x;
    if (m.at.type == CUDA_R_32F) {
        __builtin_memcpy(&x, p, 4);
        return x;
    }
    __builtin_memcpy(&half, p, 2);
    if (m.at.type == CUDA_R_16F) return f32_of_f16(half);
    const uint32_t u = static_cast<uint32_t>(half) << 16;
    __builtin_memcpy(&x, &u, 4);
    return x;
}

struct product {
    matrix a, b, c;
    char *d;
    runner_lt_layout d_at;
    float alpha, beta;
};

/* Row by row: acc[j] += a[k] b[k][j], k ascending, in float. */
static void multiply(void *arg) {
    const product &p = *static_cast<const product *>(arg);
    const uint64_t m = rows_of(p.a), k = columns_of(p.a), n = columns_of(p.b);
    stream_begin();
    float *b = static_cast<float *>(malloc((k * n + n + 1) * sizeof(float))), *acc = b + k * n;
    if (!b) give_up("out of host memory");
    for (uint64_t r = 0; r < k; r++) {
        for (uint64_t j = 0; j < n; j++) b[r * n + j] = element(p.b, r, j);
    }
    for (uint64_t i = 0; i < m; i++) {
        for (uint64_t j = 0; j < n; j++) acc[j] = 0;
        for (uint64_t r = 0; r < k; r++) {
            const float x = element(p.a, i, r);
            for (uint64_t j = 0; j < n; j++) acc[j] += x * b[r * n + j];
        }
        for (uint64_t j = 0; j < n; j++) {
            /* beta = 0: c is not read, whatever it holds */
            const float y = p.alpha * acc[j] + (p.beta != 0 ? p.beta * element(p.c, i, j) : 0.0f);
            __builtin_memcpy(p.d + offset(p.d_at, i, j), &y, 4);
        }
    }
    free(b);
    stream_end();
}

static void run_product(product p) {
    if (stream_is_dead()) return;
    stream_submit();
    device_enter();
    act_as(STREAM, multiply, &p);
    check_redzones("cublasLtMatmul");
    device_leave();
}

static bool reaches(const void *p, const runner_lt_layout &l) {
    return l.rows == 0 || l.columns == 0 ||
           device_has(p, offset(l, l.rows - 1, l.columns - 1) + size_of(l.type));
}

static bool sound(const runner_lt_layout &l) {
    const uint64_t run = l.order == CUBLASLT_ORDER_ROW ? l.columns : l.rows;
    return l.ld >= static_cast<int64_t>(run) && l.ld > 0;
}

static bool shapes_fit(const product &p) {
    return columns_of(p.a) == rows_of(p.b) && p.d_at.rows == rows_of(p.a) &&
           p.d_at.columns == columns_of(p.b) && p.d_at.type == CUDA_R_32F && sound(p.a.at) && sound(p.b.at) &&
           sound(p.d_at);
}

} // namespace runner

using namespace runner;

#define LT_CALL(name) runner::call in_call_(#name)

cublasStatus_t cublasLtCreate(cublasLtHandle_t *lt) {
    LT_CALL(cublasLtCreate);
    if (no_driver() || broken()) return CUBLAS_STATUS_NOT_INITIALIZED;
    *lt = new runner_lt();
    object_born();
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t lt) {
    LT_CALL(cublasLtDestroy);
    delete lt;
    object_gone();
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *desc, cublasComputeType_t compute,
                                        cudaDataType_t scale) {
    LT_CALL(cublasLtMatmulDescCreate);
    if (compute != CUBLAS_COMPUTE_32F || scale != CUDA_R_32F) return CUBLAS_STATUS_NOT_SUPPORTED;
    *desc = new runner_lt_desc();
    object_born();
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t desc) {
    LT_CALL(cublasLtMatmulDescDestroy);
    delete desc;
    object_gone();
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t desc, cublasLtMatmulDescAttributes_t attr,
                                              const void *value, size_t bytes) {
    LT_CALL(cublasLtMatmulDescSetAttribute);
    int32_t v;
    if (bytes != sizeof v) return CUBLAS_STATUS_INVALID_VALUE;
    __builtin_memcpy(&v, value, sizeof v);
    if (attr == CUBLASLT_MATMUL_DESC_TRANSA || attr == CUBLASLT_MATMUL_DESC_TRANSB) {
        if (v != CUBLAS_OP_N && v != CUBLAS_OP_T) return CUBLAS_STATUS_NOT_SUPPORTED;
        desc->trans[attr == CUBLASLT_MATMUL_DESC_TRANSB] = v;
        return CUBLAS_STATUS_SUCCESS;
    }
    return v == 0 && attr == CUBLASLT_MATMUL_DESC_POINTER_MODE ? CUBLAS_STATUS_SUCCESS
                                                               : CUBLAS_STATUS_NOT_SUPPORTED;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *layout, cudaDataType type, uint64_t rows,
                                          uint64_t columns, int64_t ld) {
    LT_CALL(cublasLtMatrixLayoutCreate);
    *layout = new runner_lt_layout{type, CUBLASLT_ORDER_COL, rows, columns, ld};
    object_born();
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
    LT_CALL(cublasLtMatrixLayoutDestroy);
    delete layout;
    object_gone();
    return CUBLAS_STATUS_SUCCESS;
}

template <class T> static cublasStatus_t take(T *field, const void *value, size_t bytes) {
    if (bytes != sizeof *field) return CUBLAS_STATUS_INVALID_VALUE;
    __builtin_memcpy(field, value, bytes);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t layout,
                                                cublasLtMatrixLayoutAttribute_t attr, const void *value,
                                                size_t bytes) {
    LT_CALL(cublasLtMatrixLayoutSetAttribute);
    switch (attr) {
    case CUBLASLT_MATRIX_LAYOUT_ORDER: return take(&layout->order, value, bytes);
    case CUBLASLT_MATRIX_LAYOUT_ROWS: return take(&layout->rows, value, bytes);
    case CUBLASLT_MATRIX_LAYOUT_COLS: return take(&layout->columns, value, bytes);
    case CUBLASLT_MATRIX_LAYOUT_LD: return take(&layout->ld, value, bytes);
    default: return CUBLAS_STATUS_NOT_SUPPORTED;
    }
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *preference) {
    LT_CALL(cublasLtMatmulPreferenceCreate);
    *preference = new runner_lt_preference();
    object_born();
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
    LT_CALL(cublasLtMatmulPreferenceDestroy);
    delete preference;
    object_gone();
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                    cublasLtMatmulPreferenceAttributes_t attr,
                                                    const void *value, size_t bytes) {
    LT_CALL(cublasLtMatmulPreferenceSetAttribute);
    if (attr == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES) return take(&preference->workspace, value, bytes);
    return bytes == 4 ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE; /* nothing to choose from */
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t, cublasLtMatrixLayout_t,
                                              cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
                                              cublasLtMatrixLayout_t, cublasLtMatmulPreference_t, int wanted,
                                              cublasLtMatmulHeuristicResult_t *result, int *found) {
    LT_CALL(cublasLtMatmulAlgoGetHeuristic);
    if (wanted < 1) return CUBLAS_STATUS_INVALID_VALUE;
    *result = cublasLtMatmulHeuristicResult_t{};
    result->algo.data[0] = ALGORITHM;
    result->wavesCount = 1;
    *found = 1;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t lt, cublasLtMatmulDesc_t desc, const void *alpha,
                              const void *a, cublasLtMatrixLayout_t a_layout, const void *b,
                              cublasLtMatrixLayout_t b_layout, const void *beta, const void *c,
                              cublasLtMatrixLayout_t c_layout, void *d, cublasLtMatrixLayout_t d_layout,
                              const cublasLtMatmulAlgo_t *algo, void *workspace, size_t workspace_bytes,
                              cudaStream_t stream) {
    LT_CALL(cublasLtMatmul);
    product p = {{static_cast<const char *>(a), *a_layout, desc->trans[0] == CUBLAS_OP_T},
                 {static_cast<const char *>(b), *b_layout, desc->trans[1] == CUBLAS_OP_T},
                 {static_cast<const char *>(c), *c_layout, false},
                 static_cast<char *>(d),
                 *d_layout,
                 *static_cast<const float *>(alpha),
                 *static_cast<const float *>(beta)};
    if (!lt || (algo && algo->data[0] != ALGORITHM) || !shapes_fit(p)) return CUBLAS_STATUS_INVALID_VALUE;
    if (workspace_bytes > 0 && !device_has(workspace, workspace_bytes)) return CUBLAS_STATUS_INVALID_VALUE;
    if (!reaches(a, *a_layout) || !reaches(b, *b_layout) || !reaches(d, *d_layout))
        return CUBLAS_STATUS_INVALID_VALUE;
    if (broken()) return CUBLAS_STATUS_EXECUTION_FAILED;
    return submit(
               stream, [p] { run_product(p); }, "cublasLtMatmul") == cudaSuccess
               ? CUBLAS_STATUS_SUCCESS
               : CUBLAS_STATUS_EXECUTION_FAILED;
}

const char *cublasLtGetStatusString(cublasStatus_t status) {
    static char text[64];
    snprintf(text, sizeof text, "cuBLASLt status %d", static_cast<int>(status));
    return text;
}

size_t cublasLtGetVersion(void) { return 130000; }
