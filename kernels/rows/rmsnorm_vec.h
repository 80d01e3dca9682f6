/* RMSNorm over the vector of vec.h: included once by each instruction set's file. A row is read twice; the
 * second time it is in the L1 cache. */
#include <math.h>

#include "kernels/math/vec.h"
#include "kernels/rows/cpu.h"

enum { SERIAL_FLOATS = 32 * 1024 }; /* work too small to be worth waking the other workers */

static void normalise(const weir_rmsnorm *a, int64_t r) {
    const float *x = a->x + r * weir__rmsnorm_ld(a);
    float *y = a->y + r * weir__rmsnorm_ld(a);
    const vf factor = vf_set1(1.0f / sqrtf(vf_sum_sq(x, a->dim) / (float)a->dim + a->eps));
    int64_t i = 0;
    for (; i + VF <= a->dim; i += VF) {
        const vf v = vf_mul(vf_mul(vf_load(x + i), factor), vf_load(a->w + i));
        vf_store(y + i, a->add ? vf_add(vf_load(y + i), v) : v);
    }
    const int64_t left = a->dim - i;
    if (left == 0) return;
    const vf v = vf_mul(vf_mul(vf_load_n(x + i, left), factor), vf_load_n(a->w + i, left));
    vf_store_n(y + i, a->add ? vf_add(vf_load_n(y + i, left), v) : v, left);
}

static void rmsnorm_worker(void *arg, int worker, int n_worker) {
    const weir_rmsnorm *a = arg;
    long begin, end;
    weir__pool_split(a->n_row, 1, worker, n_worker, &begin, &end);
    for (long r = begin; r < end; r++) normalise(a, r);
}

static weir_status run_rmsnorm(weir_backend *be, weir_rmsnorm *a) {
    WEIR_TRY(weir__rmsnorm_check(a));
    if (a->n_row <= SERIAL_FLOATS / a->dim) {
        rmsnorm_worker(a, 0, 1);
    } else {
        weir__pool_run(be->pool, rmsnorm_worker, a);
    }
    return WEIR_OK;
}
