# Every .cu of the CUDA backend, one per line, relative to kernels/. nvcc compiles them for devices,
# tests/runner compiles the same source for the CPU.
set(WEIR_CUDA_SOURCES
  accept/accept.cu
  accept/emit.cu
  accept/stats.cu
  accept/top.cu
  attention/attention.cu
  attention/attention_prefill.cu
  attention/kv_append.cu
  cuda/backend_cuda.cu
  cuda/graph.cu
  cuda/stream.cu
  cuda/stamp.cu
  linear/cublaslt.cu
  linear/linear.cu
  linear/linear_prefill.cu
  linear/linear_quant.cu
  linear/linear_rows.cu
  loop/close.cu
  loop/rows.cu
  loop/sample.cu
  rows/embed.cu
  rows/gather.cu
  rows/rmsnorm.cu
  rows/rope.cu
)
