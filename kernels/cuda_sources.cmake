# Every .cu of the CUDA backend, one a line. nvcc compiles them for devices, tests/runner compiles the same text for the CPU.
set(WEIR_CUDA_SOURCES
)
