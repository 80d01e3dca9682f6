/* Rotary embedding on a device, against the oracle of rope_fixture.c and against itself. */
#include <criterion/criterion.h>

#include "tests/kernels/rows/rope_fixture.h"
#include "tests/support/build.h"
#include "tests/support/compare.h"
#include "tests/support/device.h"

/* The vectors of a case on the device. */
static rope_data there_new(weir_backend *be, const rope_data *d) {
    const size_t head = (size_t)d->c.head_dim * sizeof(float), half = (size_t)d->c.n_dim / 2 * sizeof(float);
    return (rope_data){.bias = device_put(be, d->bias, (size_t)d->width * sizeof(float)),
                       .q_norm = device_put(be, d->q_norm, head),
                       .k_norm = device_put(be, d->k_norm, head),
                       .inv_freq = half ? device_put(be, d->inv_freq, half) : NULL};
}

static void there_free(weir_backend *be, rope_data *t) {
    weir__backend_free(be, t->bias), weir__backend_free(be, t->q_norm), weir__backend_free(be, t->k_norm);
    if (t->inv_freq) weir__backend_free(be, t->inv_freq);
}

/* Rows [first, first + n) of the case through the op, into got. */
static void run(weir_backend *be, const rope_data *d, const rope_data *there, int32_t first, int32_t n,
                float *got) {
    const size_t bytes = (size_t)(n * d->ld) * sizeof *got;
    float *x = device_put(be, d->x + first * d->ld, bytes);
    int32_t *slot = device_put(be, d->slot + first, (size_t)n * sizeof *slot);
    int32_t *pos = device_put(be, d->pos + first, (size_t)n * sizeof *pos);
    weir_rope a = rope_args(d, there, x, slot, pos, n);
    cr_assert_eq(be->op.rope(be, &a), WEIR_OK, "%s", be->err.text);
    device_get(be, got, x, bytes);
    weir__backend_free(be, x), weir__backend_free(be, slot), weir__backend_free(be, pos);
}

Test(cuda_rope, every_case_is_within_its_bound_and_rows_do_not_see_each_other) {
    weir_backend *be = device_open();
    uint64_t rng = 7;
    for (int i = 0; i < ROPE_CASES; i++) {
        const rope_case c = rope_nth(i);
        rope_data d = rope_new(&c, &rng), there = there_new(be, &d);
        float *x = guarded_new((size_t)(c.n_row * d.ld)), *one = guarded_new((size_t)d.ld);
        run(be, &d, &there, 0, c.n_row, x);
        rope_assert(&d, x, be->name);
        run(be, &d, &there, c.n_row - 1, 1, one);
        assert_same(one, x + (c.n_row - 1) * d.ld, (size_t)d.ld, "a row alone");
        guarded_free(x), guarded_free(one);
        there_free(be, &there);
        rope_free(&d);
    }
    weir__backend_close(be);
}

/* Of few rows by the same kernel, of more than a tile by another. */
Test(cuda_rope, keys_and_values_go_to_the_cache_too) {
    weir_backend *be = device_open();
    uint64_t rng = 13;
    for (int i = 0; i < ROPE_CASES; i += build_is_tsan() ? 7 : 1) {
        rope_case c = rope_nth(i);
        if (i % 8 == 3) c.n_row = 32 + i % 3;
        rope_data d = rope_new(&c, &rng), there = there_new(be, &d);
        rope_assert_appended(be, &d, &there, i % 2 ? WEIR_DTYPE_BF16 : WEIR_DTYPE_F32);
        there_free(be, &there);
        rope_free(&d);
    }
    weir__backend_close(be);
}

Test(cuda_rope, refuses_what_its_contract_refuses) {
    weir_backend *be = device_open();
    float *x = device_room(be, 4096 * sizeof *x);
    const int32_t zero[1] = {0};
    int32_t *at = device_put(be, zero, sizeof zero);
    const weir_rope good = {.q = x,
                            .k = x,
                            .v = x,
                            .ld = 1024,
                            .inv_freq = x,
                            .scale = 1.0f,
                            .slot = at,
                            .pos = at,
                            .n_row = 1,
                            .n_head = 1,
                            .n_head_kv = 1,
                            .head_dim = 8,
                            .n_dim = 8};
    weir_rope a = good;
    a.q = NULL;
    cr_assert_eq(be->op.rope(be, &a), WEIR_EINVAL);
    a = good, a.head_dim = 257;
    cr_assert_eq(be->op.rope(be, &a), WEIR_ENOTSUP);
    weir_kv_view kv = {x, 1024, at, 1, 1, 1, 8, WEIR_DTYPE_F16};
    a = good, a.kv = &kv;
    cr_assert_eq(be->op.rope(be, &a), WEIR_EINVAL, "a cache of f16");
    a = good, a.n_row = 0;
    cr_assert_eq(be->op.rope(be, &a), WEIR_OK);
    weir__backend_free(be, x), weir__backend_free(be, at);
    weir__backend_close(be);
}
