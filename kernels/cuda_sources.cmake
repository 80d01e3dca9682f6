# Every .cu of the CUDA backend, one per line, relative to kernels/. nvcc compiles them for devices,
# tests/runner compiles the same source for the CPU.
set(WEIR_CUDA_SOURCES
  accept/accept.cu
  accept/emit.cu
  accept/stats.cu
  cuda/backend_cuda.cu
  cuda/graph.cu
  cuda/queue.cu
  cuda/stamp.cu
  dense/attention.cu
  dense/attention_prefill.cu
  dense/cublaslt.cu
  dense/embed.cu
  dense/gather.cu
  dense/kv_append.cu
  dense/linear.cu
  dense/linear_prefill.cu
  dense/linear_quant.cu
  dense/linear_rows.cu
  dense/rmsnorm.cu
  dense/rope.cu
  loop/close.cu
  loop/rows.cu
  loop/sample.cu
)
