#ifndef WEIR_KERNELS_ACCEPT_CUDA_H
#define WEIR_KERNELS_ACCEPT_CUDA_H

#include "kernels/backend.h"

/* The accept path of the CUDA backend: contracts in stats.h, top.h and accept.h; for equal logits, the same
 * bits as on the CPU. Scratch: weir__accept_cuda_scratch_floats, else WEIR_ENOMEM. */
#ifdef __cplusplus
extern "C" {
#endif

weir_status weir__row_stats_cuda(weir_backend *be, weir_row_stats_args *a);
weir_status weir__draw_cuda(weir_backend *be, weir_draw_args *a);
weir_status weir__top_cuda(weir_backend *be, weir_top_args *a);
weir_status weir__accept_cuda(weir_backend *be, weir_accept_args *a);
weir_status weir__emit_cuda(weir_backend *be, weir_emit_args *a);
weir_status weir__gate_cuda(weir_backend *be, weir_gate_args *a);

/* The first kernel of accept alone: rows and notes of every session; step.cuh has the decision, for a kernel
 * that does more after it. Sessions without drafts, a law or notes are skipped. */
weir_status weir__accept_rows_cuda(weir_backend *be, const weir_accept_args *a);

#ifdef __cplusplus
}
#endif

#endif /* WEIR_KERNELS_ACCEPT_CUDA_H */
