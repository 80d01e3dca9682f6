/* Keys and values through shared memory, and from registers on a device that has little of it. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "tests/kernels/attention/early_fixture.h"
#include "tests/kernels/op_fixture.h"
#include "tests/runner/control.h"
#include "tests/support/build.h"
#include "tests/support/compare.h"
#include "tests/support/device.h"

/* LITTLE: less than a split of 40 dimensions takes. */
enum { LITTLE = 16 << 10, SLOTS = 2, MOST = 4 };

static const int32_t LENGTHS[SLOTS] = {330, 70};

/* Groups of rows that end at their slot's last position, with `shared` bytes of shared memory a block. */
static void run(const att_case *c, int32_t group, int shared, float *o, const char *what) {
    uint64_t rng = 73;
    runner_shared_memory(shared);
    weir_backend *be = device_open();
    cr_assert_eq(weir__backend_reserve(be, weir__attention_cuda_scratch_floats(
                                               (int64_t)SLOTS * group, c->n_head, c->head_dim, 384, 0)),
                 WEIR_OK);
    att_cache *cache = att_cache_new(be, c, LENGTHS, &rng);
    att_rows r = att_rows_groups(cache, group, &rng);
    att_check(cache, &r, false, what);
    att_run(cache, &r, 0, r.n, o);
    att_rows_free(&r);
    att_cache_free(cache);
    weir__backend_close(be);
    runner_shared_memory(0);
}

/* Every width of a lane's dimensions, tiles of two and eight queries, windows that begin inside 8
 * positions. */
Test(attention_stages, keys_through_shared_memory_give_the_bits_of_keys_from_registers) {
    static const int32_t dims[] = {64, 42, 128, 80, 256, 200};
    static const int32_t windows[] = {0, 203, 0, 140, 0, 3};
    for (int i = 0; i < 12; i++) {
        if (!in_sample(i, 5)) continue;
        const att_case c = {.n_head = 1 + i % 2, /* one tile: few enough blocks for the widest splits */
                            .n_head_kv = 1,
                            .head_dim = dims[i / 2],
                            .n_slot = SLOTS,
                            .max_key = 384,
                            .bias = i % 3 == 0,
                            .bias_left = 40,
                            .window = windows[i / 2],
                            .dtype = WEIR_DTYPE_BF16};
        const int32_t group = i % 2 ? MOST : 1;
        const size_t n = (size_t)(SLOTS * group * c.n_head * c.head_dim);
        float *staged = guarded_new(n), *registers = guarded_new(n);
        char what[64];
        (void)snprintf(what, sizeof what, "dim %d group %d window %d", c.head_dim, group, c.window);
        run(&c, group, LITTLE, registers, what); /* first: a kernel asks for shared memory once */
        run(&c, group, 0, staged, what);
        assert_same(staged, registers, n, what);
        guarded_free(staged), guarded_free(registers);
    }
}

/* Launches of a chain that copy before they wait: attention, where the op ahead has left the cache alone. (A
 * product of so few tiles has its weights in registers.) */
static long copies(const early_case *c, bool paused) {
    weir_backend *be = device_open();
    runner_api_reset();
    guarded_free(early_run(be, c, 91, paused));
    const long n = runner_api_count("copies before grid_wait");
    weir__backend_close(be);
    return n;
}

Test(attention_stages, keys_are_fetched_while_the_op_ahead_runs) {
    static const early_case cases[] = {{EARLY_CROSS, 1, 1, 16, 2, 1, 0, {40}, WEIR_DTYPE_BF16},
                                       {EARLY_PRODUCT, 1, 1, 16, 2, 1, 0, {40}, WEIR_DTYPE_BF16},
                                       {EARLY_ROPE, 1, 1, 16, 2, 1, 0, {40}, WEIR_DTYPE_BF16}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cr_expect_eq(copies(&cases[i], false), 1, "case %zu", i);
        cr_expect_eq(copies(&cases[i], true), 0, "case %zu", i);
    }
}
