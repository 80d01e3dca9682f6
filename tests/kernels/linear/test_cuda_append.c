/* Products whose outputs also go to a cache, on a device: the bits of a product and kv_append, whichever
 * kernel takes them. */
#include <criterion/criterion.h>

#include "kernels/weight/pack.h"
#include "tests/kernels/linear/device_product.h"
#include "tests/support/build.h"
#include "tests/support/device.h"

typedef struct shape {
    int32_t heads, heads_kv, head_dim;
    int64_t k, n_row;
    weir_dtype dtype; /* of the weight */
} shape;

static void check(weir_backend *be, const shape *s, bool rows, weir_dtype cache, uint64_t *rng) {
    const product p = {.n = (int64_t)(s->heads + 2 * s->heads_kv) * s->head_dim,
                       .k = s->k,
                       .n_row = s->n_row,
                       .dtype = s->dtype,
                       .norm = s->k % 3 != 0,
                       .rows = rows,
                       .scale = 1.0f};
    data d = data_new(&p, rng);
    device_product m = device_product_new(be, &d, WEIR_USE_ROWS);
    device_product_reserve(&m);
    const weir_linear a = {.x = m.x,
                           .ldx = d.ldx,
                           .norm = p.norm ? m.norm : NULL,
                           .eps = LINEAR_EPS,
                           .w = &m.w,
                           .y = m.y,
                           .ldy = d.ldy,
                           .n_row = p.n_row,
                           .scale = 1.0f,
                           .rows = rows};
    linear_assert_appended(be, &d, a, s->heads_kv, s->head_dim, cache);
    device_product_free(&m);
    data_free(&d);
}

/* One and four panels of a unit, whole and in slices; a tile of rows and several; heads that begin inside a
 * panel; f32 and blocks, whose kernels leave the cache to kv_append; so many rows that another kernel takes
 * fragments; heads of one element, which a T5 may have. */
static const shape shapes[] = {
    {4, 2, 8, 48, 3, WEIR_DTYPE_BF16},    {3, 1, 5, 33, 6, WEIR_DTYPE_BF16},
    {0, 1, 16, 130, 1, WEIR_DTYPE_BF16},  {2, 2, 20, 2050, 6, WEIR_DTYPE_BF16},
    {64, 35, 64, 40, 2, WEIR_DTYPE_BF16}, {1, 1, 24, 64, 17, WEIR_DTYPE_BF16},
    {2, 1, 16, 64, 5, WEIR_DTYPE_F32},    {2, 1, 16, 64, 5, WEIR_DTYPE_Q8_0},
    {2, 1, 16, 64, 200, WEIR_DTYPE_BF16}, {2, 3, 1, 40, 6, WEIR_DTYPE_BF16},
};

Test(cuda_append, outputs_are_where_kv_append_puts_them) {
    weir_backend *be = device_open();
    uint64_t rng = 41;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        if (build_is_tsan() && (i == 4 || i == 8)) continue; /* large */
        check(be, &shapes[i], true, i % 2 ? WEIR_DTYPE_F32 : WEIR_DTYPE_BF16, &rng);
        if (i < 2 || i > 5) check(be, &shapes[i], false, i % 2 ? WEIR_DTYPE_BF16 : WEIR_DTYPE_F32, &rng);
    }
    weir__backend_close(be);
}

Test(cuda_append, refuses_what_its_contract_refuses) {
    weir_backend *be = device_open();
    uint64_t rng = 43;
    const product p = {.n = 24, .k = 16, .n_row = 2, .dtype = WEIR_DTYPE_BF16, .rows = true, .scale = 1.0f};
    data d = data_new(&p, &rng);
    device_product m = device_product_new(be, &d, WEIR_USE_ROWS);
    const int32_t zero[2] = {0};
    int32_t *at = device_put(be, zero, sizeof zero);
    weir_kv_view kv = {m.y, 1024, at, 1, 1, 1, 8, WEIR_DTYPE_F32}, f16 = kv;
    f16.dtype = WEIR_DTYPE_F16;
    const weir_kv_append good = {&kv, m.y + 8, m.y + 16, d.ldy, at, at, 2, 0};
    weir_kv_append bad[] = {good, good, good, good, good, good};
    bad[0].ld++, bad[1].n_row--, bad[2].v++, bad[3].k += d.ldy, bad[3].v += d.ldy, bad[4].layer = 1;
    bad[5].kv = &f16;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        weir_linear a = {.x = m.x,
                         .ldx = d.ldx,
                         .w = &m.w,
                         .y = m.y,
                         .ldy = d.ldy,
                         .n_row = 2,
                         .scale = 1.0f,
                         .rows = true,
                         .append = &bad[i]};
        cr_assert_eq(be->op.linear(be, &a), WEIR_EINVAL, "case %zu", i);
    }
    weir__backend_free(be, at);
    device_product_free(&m);
    data_free(&d);
    weir__backend_close(be);
}
