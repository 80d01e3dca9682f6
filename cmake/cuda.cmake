# The CUDA compiler. Read only with WEIR_CUDA; no other part of the build needs a toolkit. One fat binary:
#   80   A100       89   L4, L40S, RTX 40       90a   H100, H200 (its own instructions)
#   100  B200; its PTX too, for later ones
set(CMAKE_CUDA_ARCHITECTURES 80-real 89-real 90a-real 100 CACHE STRING "what the kernels are compiled for")
set(CMAKE_CUDA_STANDARD 17)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
set(CMAKE_CUDA_EXTENSIONS OFF)
set(CMAKE_CUDA_RUNTIME_LIBRARY Static) # a program starts without a driver or toolkit
enable_language(CUDA)
find_package(CUDAToolkit 12.8 REQUIRED) # conditional WHILE nodes, sm_100

# A warning of any stage is an error; so are registers spilled to memory. (Local memory: kernels/ptxas.txt.)
add_library(weir_cuda_flags INTERFACE)
target_compile_options(weir_cuda_flags INTERFACE $<$<COMPILE_LANGUAGE:CUDA>:
  -Werror=all-warnings
  -Xptxas=-warn-spills,-Werror
  -Xcompiler=-Wall,-Wextra,-Werror,-Wshadow,-fno-strict-aliasing,-ffp-contract=off>)
