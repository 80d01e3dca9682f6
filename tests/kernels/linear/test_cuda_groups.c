/* Products of groups on a device: tiles of few rows, and of many. */
#include <criterion/criterion.h>

#include "tests/kernels/linear/group_cases.h"
#include "tests/kernels/linear/group_fixture.h"
#include "tests/support/build.h"
#include "tests/support/device.h"

static void on_device(void (*run)(weir_backend *)) {
    weir_backend *be = device_open();
    run(be);
    weir__backend_close(be);
}

Test(cuda_groups, rows_have_the_bits_of_their_matrix_alone) { on_device(group_case_bits); }
Test(cuda_groups, refuses_what_its_contract_refuses) { on_device(group_case_refusals); }

/* Groups of the sizes at which tiles begin and end; all rows in one; some empty ones. With n_all matrices to
 * spread over, the host expects so few rows of each that tiles have 128, 64 or 32. */
static const struct {
    deal rows;
    int32_t n_all[3];
} many[] = {
    {{9, {0, 1, 7, 8, 9, 63, 64, 65, 129}, 3}, {9, 12, 21}},
    {{5, {0, 0, 129, 0, 0}, 1}, {5, 8, 8}},
    {{4, {0, 40, 0, 70}}, {4, 7, 7}},
};

static const product wide_shapes[] = {
    {.n = 40, .k = 136, .norm = true, .gated = true, .epilogue = WEIR_EPI_SILU, .rows = true},
    {.n = 330, .k = 50, .epilogue = WEIR_EPI_MUL}, /* enough blocks for a large card */
    {.n = 70, .k = 2050, .norm = true},            /* slices of the inputs */
};

Test(cuda_groups, many_rows_have_the_bits_of_few) {
    weir_backend *be = device_open();
    uint64_t rng = 43;
    for (int i = 0; i < 3; i++) {
        if (!in_sample(i, 3)) continue;
        product p = wide_shapes[i];
        p.dtype = WEIR_DTYPE_BF16, p.scale = 0.75f;
        grouped g = grouped_new(be, p, &many[i].rows, &rng);
        for (int j = 0; j < 3; j++) grouped_check(&g, many[i].n_all[j]);
        grouped_free(&g);
    }
    weir__backend_close(be);
}

/* A format of each form of blocks, by tiles of 128, 32 and 8 rows. */
Test(cuda_groups, many_rows_by_blocks_have_the_bits_of_few) {
    static const weir_dtype of[] = {WEIR_DTYPE_Q4_K, WEIR_DTYPE_Q8_0, WEIR_DTYPE_Q6_K, WEIR_DTYPE_Q2_K};
    weir_backend *be = device_open();
    uint64_t rng = 47;
    for (int i = 0; i < 4; i++) {
        if (!in_sample(i, 4)) continue;
        const product p = {.n = 37,
                           .k = 512,
                           .dtype = of[i],
                           .norm = i % 2 == 0,
                           .gated = i % 2 == 0,
                           .rows = i < 2,
                           .epilogue = i == 1 ? WEIR_EPI_MUL : WEIR_EPI_STORE,
                           .scale = 0.75f};
        grouped g = grouped_new(be, p, &many[i % 3].rows, &rng);
        grouped_check(&g, 0);
        grouped_check(&g, (int32_t)g.n_row / 16);
        if (i == 0) grouped_check(&g, (int32_t)g.n_row / 7);
        grouped_free(&g);
    }
    weir__backend_close(be);
}

/* Room for some tiles, whose end cuts a group in two; for less than a tile; for no row. */
Test(cuda_groups, scratch_changes_no_bit) {
    weir_backend *be = device_open();
    uint64_t rng = 45;
    product p = wide_shapes[0];
    p.dtype = WEIR_DTYPE_BF16, p.scale = 1.0f;
    grouped g = grouped_new(be, p, &many[0].rows, &rng);
    const size_t row = (size_t)(p.k + 15) / 16 * 8 + 1, floats[] = {130 * row, 64 * row, 31 * row, row / 2};
    for (int i = 0; i < 4; i++) {
        if (!in_sample(i, 4)) continue;
        const device_scratch s = device_scratch_limit(be, floats[i] + 2 * 64);
        grouped_check(&g, many[0].n_all[i % 3]);
        device_scratch_end(s);
    }
    grouped_free(&g);
    p = (product){.n = 20, .k = 256, .dtype = WEIR_DTYPE_Q4_K, .norm = true, .scale = 1.0f};
    g = grouped_new(be, p, &many[0].rows, &rng);
    const size_t octet = 640 + 8, octets[] = {51, 9 + 16, 9 + 1, 9, 0};
    for (int i = 0; i < 5; i++) {
        if (!in_sample(i, 5)) continue;
        const device_scratch s = device_scratch_limit(be, octets[i] * octet + 2 * 64);
        grouped_check(&g, i % 2 ? 21 : 0);
        device_scratch_end(s);
    }
    grouped_free(&g);
    weir__backend_close(be);
}
