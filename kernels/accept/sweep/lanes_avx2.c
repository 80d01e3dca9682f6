/* Built with AVX2 and FMA (see CMakeLists.txt); used only if weir__isa_best() allows it. */
#define WEIR_LANES_TABLE weir__lanes_avx2
#include "kernels/accept/sweep/lanes_impl.h"
