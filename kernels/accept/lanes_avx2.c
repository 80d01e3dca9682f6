/* Built with AVX2 and FMA (see CMakeLists.txt); reached only where weir__isa_best() says so. */
#define WEIR_LANES_TABLE weir__lanes_avx2
#include "kernels/accept/lanes_impl.h"
