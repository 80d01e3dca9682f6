# Libraries from the distribution; make.sh installs their packages.
find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson)
pkg_check_modules(SENTENCEPIECE REQUIRED IMPORTED_TARGET sentencepiece)

# OpenBLAS without threads of its own: the pool in kernels/base/pool.h is the only one. The serial build is
# looked for first by its own directory, so that another installed flavour does not shadow it.
find_path(OPENBLAS_INCLUDE cblas.h PATH_SUFFIXES x86_64-linux-gnu/openblas-serial
  aarch64-linux-gnu/openblas-serial openblas-serial openblas REQUIRED)
find_library(OPENBLAS_LIBRARY openblas
  PATH_SUFFIXES x86_64-linux-gnu/openblas-serial aarch64-linux-gnu/openblas-serial openblas-serial REQUIRED)
add_library(weir_openblas INTERFACE)
target_include_directories(weir_openblas SYSTEM INTERFACE ${OPENBLAS_INCLUDE})
target_link_libraries(weir_openblas INTERFACE ${OPENBLAS_LIBRARY})
