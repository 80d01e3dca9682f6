/* Marks in the stream, for timing by callers. */
#include "kernels/cuda/stream.cuh"

weir_status weir__cuda_stamp(weir_backend *be, int i) {
    weir_cuda *cu = weir__cuda_of(be);
    WEIR_TRY(weir__cuda_enter_now(cu, "mark"));
    if (i < 0 || i >= WEIR_STAMPS) return WEIR_EINVAL;
    if (!cu->stamps) cu->stamps = static_cast<cudaEvent_t *>(weir_calloc(WEIR_STAMPS, sizeof *cu->stamps));
    if (!cu->stamps) return WEIR_ENOMEM;
    if (!cu->stamps[i]) {
        cudaEvent_t made = NULL;
        WEIR_CUDA_TRY(be, cudaEventCreateWithFlags(&made, cudaEventDefault), "mark %d", i);
        cu->stamps[i] = made;
    }
    return weir__cuda_check(be, cudaEventRecord(cu->stamps[i], cu->stream), "mark %d", i);
}

weir_status weir__cuda_elapsed(weir_backend *be, int from, int to, double *seconds) {
    weir_cuda *cu = weir__cuda_of(be);
    WEIR_TRY(weir__cuda_enter_now(cu, "time between marks"));
    if (from < 0 || from >= WEIR_STAMPS || to < 0 || to >= WEIR_STAMPS || !cu->stamps) return WEIR_EINVAL;
    if (!cu->stamps[from] || !cu->stamps[to]) return WEIR_EINVAL;
    WEIR_CUDA_TRY(be, cudaEventSynchronize(cu->stamps[from]), "time from mark %d", from);
    WEIR_CUDA_TRY(be, cudaEventSynchronize(cu->stamps[to]), "time to mark %d", to);
    float ms = 0.0f;
    WEIR_CUDA_TRY(be, cudaEventElapsedTime(&ms, cu->stamps[from], cu->stamps[to]), "time between marks");
    *seconds = 1e-3 * static_cast<double>(ms);
    return WEIR_OK;
}

void weir__cuda_stamps_close(weir_cuda *cu) {
    for (int i = 0; cu->stamps && i < WEIR_STAMPS; i++) {
        if (cu->stamps[i]) cudaEventDestroy(cu->stamps[i]);
    }
    weir_free(cu->stamps);
    cu->stamps = NULL;
}
