#ifndef WEIR_KERNELS_CUDA_STREAM_CUH
#define WEIR_KERNELS_CUDA_STREAM_CUH

#include "kernels/cuda/cuda.cuh"

/* Shared by the files of this folder only. */

/* stream.cu: memory and copies. Stages are opened and closed with the backend; close also works if opening
 * failed halfway. */
weir_status weir__cuda_stage_open(weir_cuda *cu);
void weir__cuda_stage_close(weir_cuda *cu);

void *weir__cuda_alloc(weir_backend *be, size_t bytes);
void weir__cuda_free(weir_backend *be, void *p);
void *weir__cuda_alloc_mapped(weir_backend *be, size_t bytes, void **device);
void weir__cuda_free_mapped(weir_backend *be, void *host);
weir_status weir__cuda_upload(weir_backend *be, void *dst, const void *src, size_t bytes);
weir_status weir__cuda_download(weir_backend *be, void *dst, const void *src, size_t bytes);
weir_status weir__cuda_copy(weir_backend *be, void *dst, const void *src, size_t bytes);
weir_status weir__cuda_zero(weir_backend *be, void *p, size_t bytes);
weir_status weir__cuda_wait(weir_backend *be);
weir_status weir__cuda_drain(weir_cuda *cu, const char *what); /* until all that is queued is done */
weir_status weir__cuda_poll(weir_backend *be, bool *busy);
weir_status weir__cuda_reserve(weir_backend *be, size_t floats);

/* stamp.cu: marks of the stream, events made when first set */
weir_status weir__cuda_stamp(weir_backend *be, int i);
weir_status weir__cuda_elapsed(weir_backend *be, int from, int to, double *seconds);
void weir__cuda_stamps_close(weir_cuda *cu);

/* ways.cu. read: the environment's choice; EINVAL with a line about what is wrong. try: runs a small graph
 * that takes them all, and gives up what is refused; ECUDA: it does not end. tell: what is on now into
 * base.about and base.ways. */
weir_status weir__cuda_ways_read(weir_cuda *cu, weir_err *err);
weir_status weir__cuda_ways_try(weir_cuda *cu);
void weir__cuda_ways_tell(weir_cuda *cu);
void weir__cuda_give_up(weir_cuda *cu, uint32_t ways); /* because they were refused */

/* graph.cu */
weir_status weir__cuda_capture(weir_backend *be, weir_status (*body)(void *ctx), void *ctx, bool looped,
                               weir_graph **out);
/* The same with a loop that is launched at once: what is refused is given up. then: waits for its end. */
weir_status weir__cuda_try(weir_cuda *cu, weir_status (*body)(void *ctx), weir_status (*then)(weir_cuda *cu));
weir_status weir__cuda_branch(weir_backend *be, weir_status (*test)(void *ctx),
                              weir_status (*rest)(void *ctx), void *ctx);
weir_status weir__cuda_launch(weir_backend *be, weir_graph *g);
void weir__cuda_graph_free(weir_backend *be, weir_graph *g);
void weir__cuda_abandon(weir_backend *be, const char *why);
void weir__cuda_without_graphs(weir_backend *be);

#endif /* WEIR_KERNELS_CUDA_STREAM_CUH */
