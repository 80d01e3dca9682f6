/* What the runtime refuses, failures on demand, counts; a product by the library. */
#include <cublasLt.h>

#include "tests/runner/cases.cuh"

namespace {

__global__ void nothing() {}

cudaStream_t new_stream() {
    cudaStream_t s = nullptr;
    cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking);
    return s;
}

/* The call's answer while a stream is captured; the capture must end broken, and leave nothing allocated. */
template <class F> int while_capturing(F call) {
    cudaStream_t s = new_stream();
    cudaGraph_t graph = nullptr;
    cudaStreamBeginCapture(s, cudaStreamCaptureModeThreadLocal);
    const cudaError_t e = call(s);
    const cudaError_t end = cudaStreamEndCapture(s, &graph);
    cudaStreamDestroy(s);
    cudaGetLastError();
    if (end != cudaErrorStreamCaptureInvalidated || graph || runner_live_objects() != 0) return -1;
    return e;
}

int last_error() {
    const cudaError_t peeked = cudaPeekAtLastError(), got = cudaGetLastError();
    return peeked == got && cudaGetLastError() == cudaSuccess ? got : -1;
}

} // namespace

int refused_block_size(void) {
    K_LAUNCH(nothing, 1, 1025, 0, nullptr)();
    return last_error();
}

int refused_dynamic_memory(void) {
    K_LAUNCH(nothing, 1, 1, 48 * 1024 + 1, nullptr)();
    const int e = last_error();
    cudaFuncSetAttribute(nothing, cudaFuncAttributeMaxDynamicSharedMemorySize, 100 * 1024);
    K_LAUNCH(nothing, 1, 1, 100 * 1024, nullptr)();
    return last_error() == cudaSuccess ? e : -1;
}

int refused_team(void) {
    int sm = 0, per_sm = 0;
    cudaDeviceGetAttribute(&sm, cudaDevAttrMultiProcessorCount, 0);
    cudaOccupancyMaxActiveBlocksPerMultiprocessor(&per_sm, nothing, 32, 0);
    K_LAUNCH_TEAM(nothing, static_cast<unsigned>(sm * per_sm), 32, 0, nullptr)();
    if (last_error() != cudaSuccess) return -1;
    K_LAUNCH_TEAM(nothing, static_cast<unsigned>(sm * per_sm + 1), 32, 0, nullptr)();
    return last_error();
}

int refused_malloc_while_capturing(void) {
    return while_capturing([](cudaStream_t) {
        void *p = nullptr;
        return cudaMalloc(&p, 4);
    });
}

int refused_wait_while_capturing(void) {
    return while_capturing([](cudaStream_t s) { return cudaStreamSynchronize(s); });
}

int refused_pageable_copy_while_capturing(void) {
    device_array<int> x(1);
    const int one = 1;
    return while_capturing(
        [&](cudaStream_t s) { return cudaMemcpyAsync(x.p, &one, 4, cudaMemcpyHostToDevice, s); });
}

int refused_copy_past_the_end(void) {
    device_array<int> x(4);
    int host[5] = {0};
    cudaMemcpy(x.p, host, 20, cudaMemcpyHostToDevice);
    return last_error();
}

int refused_direction(void) {
    device_array<int> x(4);
    int host[4] = {0};
    cudaMemcpy(x.p, host, 16, cudaMemcpyDeviceToHost);
    return last_error();
}

int first_malloc_that_fails(int n) {
    int first = 0;
    void *p[6] = {};
    runner_fail_malloc(n);
    for (int i = 1; i <= 5; i++) {
        if (cudaMalloc(&p[i], 4) == cudaErrorMemoryAllocation && !first) first = i;
    }
    runner_fail_malloc(0);
    cudaGetLastError();
    for (void *q : p) cudaFree(q);
    return runner_live_blocks() == 0 ? first : -1;
}

int launches_until_broken(int n) {
    cudaStream_t s = new_stream();
    runner_fail_launch(n);
    for (int i = 1; i <= 5; i++) {
        K_LAUNCH(nothing, 1, 1, 0, s)();
        if (cudaPeekAtLastError() != cudaSuccess) return -1; /* no one has waited */
        if (cudaStreamSynchronize(s) == cudaErrorIllegalAddress) {
            return cudaGetLastError() == cudaErrorIllegalAddress &&
                           cudaGetLastError() == cudaErrorIllegalAddress
                       ? i
                       : -1;
        }
    }
    return 0;
}

int device_count(int *n) { return cudaGetDeviceCount(n); }

/* d (m, n) = a (m, k) b^T (n, k), row-major: as a column-major library sees it, d^T = b a^T. */
long right_product(void) {
    enum { M = 3, N = 5, K = 7 };
    float a[M * K], want[M * N];
    uint16_t b[N * K];
    for (int i = 0; i < M * K; i++) a[i] = static_cast<float>(i % 5 - 2);
    for (int i = 0; i < N * K; i++) b[i] = ptx::bf16(static_cast<float>(i % 7 - 3));
    for (int i = 0; i < M * N; i++) {
        want[i] = 0;
        for (int k = 0; k < K; k++) want[i] += a[i / N * K + k] * ptx::f32_of_bf16(b[i % N * K + k]);
    }
    device_array<float> da(M * K), d(M * N);
    device_array<uint16_t> db(N * K);
    da.put(a);
    db.put(b);
    cublasLtHandle_t lt;
    cublasLtMatmulDesc_t desc;
    cublasLtMatrixLayout_t la, lb, ld;
    const int32_t t = CUBLAS_OP_T;
    const float one = 1, zero = 0;
    cublasLtCreate(&lt);
    cublasLtMatmulDescCreate(&desc, CUBLAS_COMPUTE_32F, CUDA_R_32F);
    cublasLtMatmulDescSetAttribute(desc, CUBLASLT_MATMUL_DESC_TRANSA, &t, sizeof t);
    cublasLtMatrixLayoutCreate(&lb, CUDA_R_16BF, K, N, K);
    cublasLtMatrixLayoutCreate(&la, CUDA_R_32F, K, M, K);
    cublasLtMatrixLayoutCreate(&ld, CUDA_R_32F, N, M, N);
    const cublasStatus_t s = cublasLtMatmul(lt, desc, &one, db.p, lb, da.p, la, &zero, d.p, ld, d.p, ld,
                                            nullptr, nullptr, 0, nullptr);
    const long wrong = differing(d, [&](size_t i) { return want[i]; });
    cublasLtMatrixLayoutDestroy(la);
    cublasLtMatrixLayoutDestroy(lb);
    cublasLtMatrixLayoutDestroy(ld);
    cublasLtMatmulDescDestroy(desc);
    cublasLtDestroy(lt);
    return wrong + runner_live_objects() + (s == CUBLAS_STATUS_SUCCESS ? 0 : 1);
}
