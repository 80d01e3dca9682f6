#include "kernels/linear/cublaslt.cuh"

#include <cublasLt.h>

extern "C" {
#include "kernels/cuda/library.h"
}

namespace {

/* The functions used from the library. */
#define LT_MAP(X)                           \
    X(cublasLtCreate)                       \
    X(cublasLtDestroy)                      \
    X(cublasLtMatmulDescCreate)             \
    X(cublasLtMatmulDescDestroy)            \
    X(cublasLtMatmulDescSetAttribute)       \
    X(cublasLtMatrixLayoutCreate)           \
    X(cublasLtMatrixLayoutDestroy)          \
    X(cublasLtMatmulPreferenceCreate)       \
    X(cublasLtMatmulPreferenceDestroy)      \
    X(cublasLtMatmulPreferenceSetAttribute) \
    X(cublasLtMatmulAlgoGetHeuristic)       \
    X(cublasLtMatmul)

enum lt_name {
#define LT_ENUM(name) NAME_##name,
    LT_MAP(LT_ENUM)
#undef LT_ENUM
        N_NAME
};

struct calls {
#define LT_FIELD(name) decltype(&::name) name;
    LT_MAP(LT_FIELD)
#undef LT_FIELD
};

constexpr size_t WORKSPACE = 32u << 20; /* what NVIDIA recommends for sm_90 */
constexpr int N_PLAN = 128;             /* shapes kept: a pair of models has about twenty */

/* A shape and its plan. n = 0: unused. */
struct plan {
    int64_t n, k, ldy, chunk;
    weir_dtype dtype;
    cublasLtMatmulDesc_t op;
    cublasLtMatrixLayout_t w, x, y;
    cublasLtMatmulAlgo_t algo;
};

struct library {
    void *handle_of_library;
    calls f;
    cublasLtHandle_t handle;
    void *workspace;
    plan plans[N_PLAN];
    int next; /* the plan to drop when all are in use */
};

void forget(library *lt, plan *p) {
    if (p->op) lt->f.cublasLtMatmulDescDestroy(p->op);
    if (p->w) lt->f.cublasLtMatrixLayoutDestroy(p->w);
    if (p->x) lt->f.cublasLtMatrixLayoutDestroy(p->x);
    if (p->y) lt->f.cublasLtMatrixLayoutDestroy(p->y);
    *p = plan{};
}

/* The library is column-major: y^T (n, chunk) = w^T^T (n, k) x^T (k, chunk). */
bool describe(library *lt, plan *p) {
    const cudaDataType type = p->dtype == WEIR_DTYPE_BF16 ? CUDA_R_16BF : CUDA_R_32F;
    const cublasOperation_t transposed = CUBLAS_OP_T;
    const calls &f = lt->f;
    return f.cublasLtMatmulDescCreate(&p->op, CUBLAS_COMPUTE_32F, CUDA_R_32F) == CUBLAS_STATUS_SUCCESS &&
           f.cublasLtMatmulDescSetAttribute(p->op, CUBLASLT_MATMUL_DESC_TRANSA, &transposed,
                                            sizeof transposed) == CUBLAS_STATUS_SUCCESS &&
           f.cublasLtMatrixLayoutCreate(&p->w, type, (uint64_t)p->k, (uint64_t)p->n, p->k) ==
               CUBLAS_STATUS_SUCCESS &&
           f.cublasLtMatrixLayoutCreate(&p->x, type, (uint64_t)p->k, (uint64_t)p->chunk, p->k) ==
               CUBLAS_STATUS_SUCCESS &&
           f.cublasLtMatrixLayoutCreate(&p->y, CUDA_R_32F, (uint64_t)p->n, (uint64_t)p->chunk, p->ldy) ==
               CUBLAS_STATUS_SUCCESS;
}

bool choose(library *lt, plan *p) {
    const calls &f = lt->f;
    cublasLtMatmulPreference_t wish = nullptr;
    if (f.cublasLtMatmulPreferenceCreate(&wish) != CUBLAS_STATUS_SUCCESS) return false;
    const size_t workspace = WORKSPACE;
    const uint32_t sums = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
    cublasLtMatmulHeuristicResult_t best = {};
    int n = 0;
    const bool ok =
        f.cublasLtMatmulPreferenceSetAttribute(wish, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace,
                                               sizeof workspace) == CUBLAS_STATUS_SUCCESS &&
        f.cublasLtMatmulPreferenceSetAttribute(wish, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &sums,
                                               sizeof sums) == CUBLAS_STATUS_SUCCESS &&
        f.cublasLtMatmulAlgoGetHeuristic(lt->handle, p->op, p->w, p->x, p->y, p->y, wish, 1, &best, &n) ==
            CUBLAS_STATUS_SUCCESS &&
        n > 0;
    f.cublasLtMatmulPreferenceDestroy(wish);
    p->algo = best.algo;
    return ok;
}

/* The plan of a shape, made on first use. NULL: the library has none. */
plan *plan_of(library *lt, const weir_lt_product *a) {
    plan *p = nullptr;
    for (int i = 0; i < N_PLAN; i++) {
        p = &lt->plans[i];
        if (p->n == 0) break;
        if (p->n == a->n && p->k == a->k && p->ldy == a->ldy && p->chunk == a->chunk && p->dtype == a->dtype)
            return p;
    }
    if (p->n != 0) {
        p = &lt->plans[lt->next];
        lt->next = (lt->next + 1) % N_PLAN;
    }
    forget(lt, p);
    p->n = a->n, p->k = a->k, p->ldy = a->ldy, p->chunk = a->chunk, p->dtype = a->dtype;
    if (describe(lt, p) && choose(lt, p)) return p;
    forget(lt, p);
    return nullptr;
}

weir_status failed(weir_cuda *cu, const weir_lt_product *p, const char *what, int status) {
    if (!cu->broken) {
        cu->broken = true;
        weir_fail(&cu->base.err, WEIR_ECUDA, "%s: linear (prompt, n %lld k %lld %s): cuBLASLt %s (status %d)",
                  cu->base.name, (long long)p->n, (long long)p->k, weir_dtype_name(p->dtype), what, status);
    }
    return WEIR_ECUDA;
}

} // namespace

weir_status weir__cublaslt_product(weir_cuda *cu, const weir_lt_product *a) {
    library *lt = static_cast<library *>(cu->lt);
    const plan *p = plan_of(lt, a);
    if (!p) return failed(cu, a, "has no algorithm", 0);
    const float one = 1.0f, zero = 0.0f;
    const cublasStatus_t s =
        lt->f.cublasLtMatmul(lt->handle, p->op, &one, a->w, p->w, a->x, p->x, &zero, a->y, p->y, a->y, p->y,
                             &p->algo, lt->workspace, WORKSPACE, cu->stream);
    return s == CUBLAS_STATUS_SUCCESS ? WEIR_OK : failed(cu, a, "failed", static_cast<int>(s));
}

weir_status weir__cublaslt_open(weir_cuda *cu, weir_err *why) {
    static const char *const name[N_NAME] = {
#define LT_TEXT(name) #name,
        LT_MAP(LT_TEXT)
#undef LT_TEXT
    };
    weir_library_fn fn[N_NAME];
    void *opened = nullptr;
    cu->lt = nullptr;
    WEIR_TRY(weir__library_open(&opened, "libcublasLt.so.13", name, N_NAME, fn, why));
    library *lt = static_cast<library *>(weir_calloc(1, sizeof *lt));
    if (!lt) {
        weir__library_close(opened);
        return WEIR_ENOMEM;
    }
    cu->lt = lt;
    lt->handle_of_library = opened;
#define LT_TAKE(name) lt->f.name = reinterpret_cast<decltype(lt->f.name)>(fn[NAME_##name]);
    LT_MAP(LT_TAKE)
#undef LT_TAKE
    const cublasStatus_t s = lt->f.cublasLtCreate(&lt->handle);
    if (s != CUBLAS_STATUS_SUCCESS) {
        lt->handle = nullptr;
        weir__cublaslt_close(cu);
        return weir_fail(why, WEIR_ENOTSUP, "cuBLASLt does not start (status %d)", static_cast<int>(s));
    }
    lt->workspace = weir__backend_alloc(&cu->base, WORKSPACE);
    if (!lt->workspace) {
        weir__cublaslt_close(cu);
        return WEIR_EDEVMEM;
    }
    char folder[160];
    weir__library_where(fn[0], folder, sizeof folder);
    snprintf(cu->lt_about, sizeof cu->lt_about, "; cuBLASLt in %s", folder);
    return WEIR_OK;
}

void weir__cublaslt_close(weir_cuda *cu) {
    library *lt = static_cast<library *>(cu->lt);
    if (!lt) return;
    for (int i = 0; i < N_PLAN; i++) forget(lt, &lt->plans[i]);
    if (lt->workspace) weir__backend_free(&cu->base, lt->workspace);
    if (lt->handle) lt->f.cublasLtDestroy(lt->handle);
    weir__library_close(lt->handle_of_library);
    weir_free(lt);
    cu->lt = nullptr;
}
