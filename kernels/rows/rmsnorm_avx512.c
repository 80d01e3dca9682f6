#include "kernels/rows/rmsnorm_vec.h"

weir_status weir__rmsnorm_avx512(weir_backend *be, weir_rmsnorm *a) { return run_rmsnorm(be, a); }
