#include "kernels/rows/rope_vec.h"

weir_status weir__rope_avx2(weir_backend *be, weir_rope *a) { return run_rope(be, a); }
