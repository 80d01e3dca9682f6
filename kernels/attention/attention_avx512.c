#include "kernels/attention/attention_vec.h"

weir_status weir__attention_avx512(weir_backend *be, weir_attention *a) { return run_attention(be, a); }
