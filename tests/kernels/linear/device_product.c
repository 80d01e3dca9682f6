#include "tests/kernels/linear/device_product.h"

#include <criterion/criterion.h>

#include "kernels/weight/pack.h"
#include "tests/support/compare.h"
#include "tests/support/device.h"

device_product device_product_new(weir_backend *be, const data *d, weir_use use) {
    const product *p = &d->p;
    device_product m = {.be = be, .d = d, .w = data_pack(be, d, use), .rows = p->rows};
    m.x = device_put(be, d->x, (size_t)(p->n_row * d->ldx) * sizeof(float));
    m.norm = device_put(be, d->norm, (size_t)p->k * sizeof(float));
    m.y = device_room(be, (size_t)(p->n_row * d->ldy) * sizeof(float));
    m.minmax = device_room(be, (size_t)(p->n_row * weir__minmax_count(p->n)) * sizeof(weir_minmax));
    return m;
}

void device_product_free(device_product *m) {
    weir__backend_free(m->be, m->x), weir__backend_free(m->be, m->norm);
    weir__backend_free(m->be, m->y), weir__backend_free(m->be, m->minmax);
    weir__weight_free(m->be, &m->w);
}

void device_product_reserve(const device_product *m) {
    const product *p = &m->d->p;
    const size_t floats = weir__linear_cuda_scratch_floats(p->gated ? 2 * p->n : p->n, p->k, m->be->chunk);
    cr_assert_eq(weir__backend_reserve(m->be, floats), WEIR_OK);
}

weir_status device_product_run(const device_product *m, int64_t r0, int64_t n_row, float *y) {
    const data *d = m->d;
    const size_t bytes = (size_t)(n_row * d->ldy) * sizeof *y;
    cr_assert_eq(weir__backend_upload(m->be, m->y, d->y0 + r0 * d->ldy, bytes), WEIR_OK);
    weir_linear a = {.x = m->x + r0 * d->ldx,
                     .ldx = d->ldx,
                     .norm = d->p.norm ? m->norm : NULL,
                     .eps = LINEAR_EPS,
                     .w = &m->w,
                     .y = m->y,
                     .ldy = d->ldy,
                     .n_row = n_row,
                     .epilogue = d->p.epilogue,
                     .scale = d->p.scale,
                     .softcap = d->p.softcap,
                     .rows = m->rows,
                     .minmax = m->minmax_n ? m->minmax : NULL,
                     .minmax_n = m->minmax_n};
    const weir_status s = m->be->op.linear(m->be, &a);
    if (s == WEIR_OK) device_get(m->be, y, m->y, bytes);
    return s;
}

void device_product_check(const device_product *m, data *d, bool rounded) {
    char what[160];
    describe_product(what, sizeof what, m->be->name, &d->p);
    data_expect(d, rounded);
    float *y = guarded_new((size_t)(d->p.n_row * d->ldy));
    cr_assert_eq(device_product_run(m, 0, d->p.n_row, y), WEIR_OK, "%s: %s", what, m->be->err.text);
    data_check(d, y, what);
    guarded_free(y);
}
