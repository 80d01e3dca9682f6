#include "tests/kernels/linear/group_fixture.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/weight/pack.h"
#include "tests/support/compare.h"
#include "tests/support/device.h"

enum { TAIL = 2, FEW = 8 };

static void pack_all(grouped *g) {
    const product *p = &g->p;
    const weir_layout layout = weir__layout_of(g->be->device, p->dtype, WEIR_USE_ROWS);
    const size_t bytes = weir__weight_bytes(layout, p->dtype, p->n, p->k, p->gated);
    unsigned char *block = weir__backend_alloc(g->be, bytes * (size_t)g->n);
    cr_assert(block);
    for (int i = g->n - 1; i >= 0; i--) {
        const weir_tensor part[2] = {g->gate[i].file, g->up[i].file};
        cr_assert_eq(weir__weight_pack_at(g->be, part, p->gated ? 2 : 1, p->gated, WEIR_USE_ROWS, p->dtype,
                                          block + bytes * (size_t)i, &g->w),
                     WEIR_OK);
    }
    cr_assert_eq(g->w.data, (void *)block);
}

/* Rows [r0, r0 + n_row) with w, or all with their own; then the whole y. */
static void run(const grouped *g, const weir_groups *groups, const weir_weight *w, int64_t r0, int64_t n_row,
                float *y) {
    const size_t bytes = (size_t)(g->n_row * g->ldy) * sizeof *y;
    cr_assert_eq(weir__backend_upload(g->be, g->y_there, g->y0, bytes), WEIR_OK);
    weir_linear a = {.x = g->x_there + r0 * g->ldx,
                     .ldx = g->ldx,
                     .norm = g->p.norm ? g->norm_there : NULL,
                     .eps = LINEAR_EPS,
                     .w = w,
                     .y = g->y_there + r0 * g->ldy,
                     .ldy = g->ldy,
                     .n_row = n_row,
                     .epilogue = g->p.epilogue,
                     .scale = g->p.scale,
                     .rows = g->p.rows || (!groups && g->be->device),
                     .groups = groups};
    cr_assert_eq(g->be->op.linear(g->be, &a), WEIR_OK, "%s", g->be->err.text);
    device_get(g->be, y, g->y_there, bytes);
}

static void expect(grouped *g) {
    const size_t floats = (size_t)(g->n_row * g->ldy);
    float *y = guarded_new(floats);
    g->want = guarded_new(floats);
    memcpy(g->want, g->y0, floats * sizeof *y);
    for (int i = 0; i < g->n; i++) {
        const weir_weight one = weir__weight_at(&g->w, i);
        for (int64_t r = g->begin[i], n; r < g->begin[i + 1]; r += n) {
            n = g->begin[i + 1] - r;
            if (g->be->device && n > FEW) n = FEW;
            run(g, NULL, &one, r, n, y);
            memcpy(g->want + r * g->ldy, y + r * g->ldy, (size_t)(n * g->ldy) * sizeof *y);
        }
    }
    guarded_free(y);
}

grouped grouped_new(weir_backend *be, product p, const deal *d, uint64_t *rng) {
    grouped g = {.be = be, .p = p, .n = d->n, .begin = {d->before}, .ldx = p.k + 4, .ldy = p.n + PAD};
    for (int i = 0; i < d->n; i++) {
        g.gate[i] = matrix_new(p.dtype, p.n, p.k, 0.3f, rng);
        g.up[i] = matrix_new(p.dtype, p.n, p.k, 0.3f, rng);
        g.begin[i + 1] = g.begin[i] + d->rows[i];
        if (d->rows[i] > g.most) g.most = d->rows[i];
    }
    g.n_row = g.begin[d->n] + TAIL;
    g.x = floats_normal((size_t)(g.n_row * g.ldx), 1.5f, rng);
    g.norm = floats_normal((size_t)p.k, 0.7f, rng);
    g.y0 = floats_normal((size_t)(g.n_row * g.ldy), 2.0f, rng);
    g.x_there = device_put(be, g.x, (size_t)(g.n_row * g.ldx) * sizeof(float));
    g.norm_there = device_put(be, g.norm, (size_t)p.k * sizeof(float));
    g.y_there = device_room(be, (size_t)(g.n_row * g.ldy) * sizeof(float));
    g.begin_there = device_put(be, g.begin, sizeof g.begin);
    pack_all(&g);
    const int64_t n_all = p.gated ? 2 * p.n : p.n;
    cr_assert_eq(weir__backend_reserve(be, be->device
                                               ? weir__linear_cuda_scratch_floats(n_all, p.k, be->chunk)
                                               : weir__linear_scratch_floats(p.k)),
                 WEIR_OK);
    expect(&g);
    return g;
}

void grouped_free(grouped *g) {
    for (int i = 0; i < g->n; i++) matrix_free(&g->gate[i]), matrix_free(&g->up[i]);
    weir__weight_free(g->be, &g->w);
    guarded_free(g->x), guarded_free(g->norm), guarded_free(g->y0), guarded_free(g->want);
    weir__backend_free(g->be, g->x_there), weir__backend_free(g->be, g->norm_there);
    weir__backend_free(g->be, g->y_there), weir__backend_free(g->be, g->begin_there);
}

void grouped_check(const grouped *g, int32_t n_all) {
    char what[160];
    const weir_groups groups = {.begin = g->begin_there, .n = g->n, .n_all = n_all, .most = g->most};
    float *got = guarded_new((size_t)(g->n_row * g->ldy));
    product p = g->p;
    p.n_row = g->n_row;
    describe_product(what, sizeof what, g->be->device ? "device" : weir__isa_name(g->be->isa), &p);
    run(g, &groups, &g->w, 0, g->n_row, got);
    assert_same(got, g->want, (size_t)(g->n_row * g->ldy), what);
    guarded_free(got);
}
