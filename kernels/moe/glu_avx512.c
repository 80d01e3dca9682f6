#include "kernels/moe/glu_vec.h"

weir_status weir__glu_avx512(weir_backend *be, weir_glu *a) { return run_glu(be, a); }
