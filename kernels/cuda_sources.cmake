# Every .cu of the CUDA backend, one a line, from kernels/. nvcc compiles them for devices, tests/runner compiles the same
# text for the CPU.
set(WEIR_CUDA_SOURCES
  cuda/backend_cuda.cu
  cuda/graph.cu
  cuda/queue.cu
  cuda/stamp.cu
  accept/accept.cu
  accept/emit.cu
  accept/stats.cu
)
