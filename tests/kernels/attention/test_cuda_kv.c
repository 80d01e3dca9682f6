/* kv_append on the device: places, rounding, dead rows. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "tests/kernels/op_fixture.h"
#include "tests/support/compare.h"
#include "tests/support/device.h"

enum { LAYERS = 2, LAYER = 1, SLOTS = 3, STRIDE = 3, PAGES = SLOTS * STRIDE };

/* The pool that the definition of kv.h gives, byte by byte: NaN wherever nothing belongs. */
static unsigned char *expected_pool(const weir_kv_view *kv, const int32_t *table, const float *k,
                                    const float *v, int64_t ld, const int32_t *slot, const int32_t *pos,
                                    int n) {
    const size_t elem = (size_t)weir_dtype_bytes(kv->dtype), bytes = (size_t)(PAGES * kv->page_elems) * elem;
    unsigned char *pool = malloc(bytes);
    cr_assert(pool);
    memset(pool, 0xff, bytes);
    for (int r = 0; r < n; r++) {
        if (slot[r] < 0) continue;
        const int64_t page = table[slot[r] * STRIDE + pos[r] / WEIR_PAGE], t = pos[r] % WEIR_PAGE;
        for (int32_t i = 0; i < kv->n_head_kv * kv->head_dim; i++) {
            const int64_t block =
                page * kv->page_elems +
                ((int64_t)LAYER * kv->n_head_kv + i / kv->head_dim) * 2 * kv->head_dim * WEIR_PAGE;
            const int64_t d = i % kv->head_dim,
                          at[2] = {block + d * WEIR_PAGE + t, block + (WEIR_PAGE + t) * kv->head_dim + d};
            const float value[2] = {k[r * ld + i], v[r * ld + i]};
            for (int j = 0; j < 2; j++) {
                const uint16_t h = weir_bf16_from_f32(value[j]);
                memcpy(pool + (size_t)at[j] * elem, elem == 4 ? (const void *)&value[j] : (const void *)&h,
                       elem);
            }
        }
    }
    return pool;
}

static void check(weir_backend *be, int32_t n_head_kv, int32_t head_dim, weir_dtype dtype,
                  const int32_t *slot, const int32_t *pos, int n, uint64_t *rng) {
    const int32_t table[PAGES] = {4, 8, 0, 7, 1, 3, 2, 6, 5};
    const int64_t page = weir__kv_page_elems(LAYERS, n_head_kv, head_dim), ld = n_head_kv * head_dim + 3;
    const size_t bytes = (size_t)(PAGES * page) * (size_t)weir_dtype_bytes(dtype), floats = (size_t)(n * ld);
    float *k = floats_normal(floats, 1.0f, rng), *v = floats_normal(floats, 1e-30f, rng);
    k[0] = 1.00390625f; /* halfway between two bf16: to even, down */
    k[1] = 1.01171875f; /* up */
    unsigned char *got = malloc(bytes);
    memset(got, 0xff, bytes);
    weir_kv_view kv = {device_put(be, got, bytes),
                       page,
                       device_put(be, table, sizeof table),
                       STRIDE,
                       LAYERS,
                       n_head_kv,
                       head_dim,
                       dtype};
    float *k_d = device_put(be, k, floats * 4), *v_d = device_put(be, v, floats * 4);
    int32_t *slot_d = device_put(be, slot, (size_t)n * 4), *pos_d = device_put(be, pos, (size_t)n * 4);
    weir_kv_append a = {&kv, k_d, v_d, ld, slot_d, pos_d, n, LAYER};
    cr_assert_eq(be->op.kv_append(be, &a), WEIR_OK, "%s", be->err.text);
    device_get(be, got, kv.pool, bytes);
    unsigned char *want = expected_pool(&kv, table, k, v, ld, slot, pos, n);
    for (size_t i = 0; i < bytes; i++) {
        cr_assert_eq(got[i], want[i], "%s heads %d dim %d rows %d: byte %zu", weir_dtype_name(dtype),
                     n_head_kv, head_dim, n, i);
    }
    weir__backend_free(be, kv.pool), weir__backend_free(be, (void *)kv.table);
    weir__backend_free(be, k_d), weir__backend_free(be, v_d), weir__backend_free(be, slot_d),
        weir__backend_free(be, pos_d);
    guarded_free(k), guarded_free(v), free(got), free(want);
}

Test(cuda_kv, every_row_lands_where_kv_h_says) {
    weir_backend *be = device_open();
    uint64_t rng = 301;
    int32_t slot[70], pos[70];
    for (int i = 0; i < 70; i++) slot[i] = 1, pos[i] = 50 + i; /* across a page's edge and a tile's */
    const int32_t few_slot[5] = {2, 0, -1, 1, -1}, few_pos[5] = {64, 191, INT32_MAX, 63, INT32_MIN};
    static const int32_t shapes[][2] = {{1, 1}, {3, 5}, {2, 16}, {1, 64}, {2, 40}, {1, 33}};
    for (int i = 0; i < 6; i++) {
        for (int j = 0; j < 2; j++) {
            const weir_dtype dtype = j ? WEIR_DTYPE_BF16 : WEIR_DTYPE_F32;
            check(be, shapes[i][0], shapes[i][1], dtype, few_slot, few_pos, 5, &rng);
            if (i % 2 == j) check(be, shapes[i][0], shapes[i][1], dtype, slot, pos, 70, &rng);
        }
    }
    weir__backend_close(be);
}

Test(cuda_kv, refuses_what_its_contract_refuses) {
    weir_backend *be = device_open();
    float x[4] = {0};
    const int32_t zero = 0;
    weir_kv_view kv = {x, 256, &zero, 1, 1, 1, 2, WEIR_DTYPE_F32};
    const weir_kv_append ok = {&kv, x, x, 2, &zero, &zero, 0, 0};
    weir_kv_append a = ok;
    cr_assert_eq(be->op.kv_append(be, &a), WEIR_OK); /* no rows: nothing is touched */
    weir_kv_append no[6] = {ok, ok, ok, ok, ok, ok};
    no[0].ld = 1, no[1].layer = 1, no[2].k = NULL, no[3].n_row = -1, no[4].kv = NULL, no[5].pos = NULL;
    for (int i = 0; i < 6; i++) cr_assert_eq(be->op.kv_append(be, &no[i]), WEIR_EINVAL, "case %d", i);
    kv.dtype = WEIR_DTYPE_F16;
    a.n_row = 1;
    cr_assert_eq(be->op.kv_append(be, &a), WEIR_EINVAL);
    weir__backend_close(be);
}
