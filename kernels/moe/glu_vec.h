/* The clamped gated unit over the vector of vec.h: included once by each instruction set's file. */
#include "kernels/math/vec.h"
#include "kernels/moe/cpu.h"

enum { SERIAL_FLOATS = 8 * 1024 }; /* work too small to be worth waking the other workers */

/* NaN passes through both comparisons. */
WEIR_INLINE vf glu(vf g, vf u, vf limit) {
    const vf one = vf_set1(1.0f), below = vf_sub(vf_zero(), limit);
    g = vf_pick_less(limit, g, limit, g);
    u = vf_pick_less(limit, u, limit, u);
    u = vf_pick_less(u, below, below, u);
    const vf e = vf_exp(vf_mul(vf_set1(-WEIR_GLU_SLOPE), g));
    return vf_mul(vf_add(u, one), vf_div(g, vf_add(one, e)));
}

static void unit(const weir_glu *a, int64_t r, const float *bias) {
    float *gate = a->x + r * a->ld;
    const float *up = gate + a->n_col, *up_bias = bias + a->n_col;
    const vf limit = vf_set1(a->limit);
    int64_t i = 0;
    for (; i + VF <= a->n_col; i += VF)
        vf_store(gate + i, glu(vf_add(vf_load(gate + i), vf_load(bias + i)),
                               vf_add(vf_load(up + i), vf_load(up_bias + i)), limit));
    const int64_t left = a->n_col - i;
    if (left == 0) return;
    const vf g = vf_add(vf_load_n(gate + i, left), vf_load_n(bias + i, left)),
             u = vf_add(vf_load_n(up + i, left), vf_load_n(up_bias + i, left));
    vf_store_n(gate + i, glu(g, u, limit), left);
}

static void glu_worker(void *arg, int worker, int n_worker) {
    const weir_glu *a = arg;
    long begin, end;
    const int32_t first = a->begin[0];
    weir__pool_split(a->begin[a->n_group] - first, 1, worker, n_worker, &begin, &end);
    int32_t e = 0;
    for (long r = first + begin; r < first + end; r++) {
        while (r >= a->begin[e + 1]) e++;
        unit(a, r, a->bias + 2 * a->n_col * e);
    }
}

static weir_status run_glu(weir_backend *be, weir_glu *a) {
    WEIR_TRY(weir__glu_check(a));
    if ((int64_t)(a->begin[a->n_group] - a->begin[0]) * a->n_col < SERIAL_FLOATS) {
        glu_worker(a, 0, 1);
    } else {
        weir__pool_run(be->pool, glu_worker, a);
    }
    return WEIR_OK;
}
