/* Built with AVX-512 F, BW, DQ, VL (see CMakeLists.txt); reached only where weir__isa_best() says so. */
#define WEIR_LANES_TABLE weir__lanes_avx512
#include "kernels/accept/lanes_impl.h"
