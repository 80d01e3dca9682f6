/* Built with AVX-512 F, BW, DQ, VL (see CMakeLists.txt); used only if weir__isa_best() allows it. */
#define WEIR_LANES_TABLE weir__lanes_avx512
#include "kernels/accept/sweep/lanes_impl.h"
