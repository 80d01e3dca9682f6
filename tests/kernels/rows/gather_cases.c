#include "tests/kernels/rows/gather_cases.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#include "tests/support/compare.h"
#include "tests/support/device.h"

enum { N = 300, SLOTS = 9 };

/* A batch with dead rows, picked in an order with repeats. */
void gather_case_keys(weir_backend *be) {
    uint64_t rng = 7;
    int32_t slot[N], pos[N], index[N], cross[SLOTS], got[4][N];
    for (int i = 0; i < SLOTS; i++) cross[i] = 1 + (int32_t)(rng_u64(&rng) % 90);
    for (int i = 0; i < N; i++) {
        slot[i] = (int32_t)(rng_u64(&rng) % (SLOTS + 1)) - 1;
        pos[i] = (int32_t)(rng_u64(&rng) % 1000);
        index[i] = (int32_t)(rng_u64(&rng) % N);
        if (slot[i] < 0 && i % 2) pos[i] = -5; /* a dead row's position is not read */
    }
    int32_t *slot_there = device_put(be, slot, sizeof slot), *pos_there = device_put(be, pos, sizeof pos);
    int32_t *index_there = device_put(be, index, sizeof index),
            *cross_there = device_put(be, cross, sizeof cross);
    int32_t *out = device_room(be, sizeof got);
    for (int c = 0; c < 8; c++) {
        const int64_t n_row = c < 4 ? N : (int64_t[]){1, 127, 128, 129}[c - 4];
        weir_row_keys a = {.slot = slot_there,
                           .pos = pos_there,
                           .index = c % 2 ? index_there : NULL,
                           .cross_len = cross_there,
                           .n_row = n_row,
                           .out_slot = out,
                           .out_pos = out + N,
                           .n_key = out + 2 * N,
                           .n_src = out + 3 * N};
        cr_assert_eq(be->op.row_keys(be, &a), WEIR_OK);
        device_get(be, got, out, sizeof got);
        for (int i = 0; i < n_row; i++) {
            const int r = c % 2 ? index[i] : i;
            const bool live = slot[r] >= 0;
            cr_assert_eq(got[0][i], live ? slot[r] : -1, "case %d row %d", c, i);
            cr_assert_eq(got[1][i], live ? pos[r] : 0, "case %d row %d", c, i);
            cr_assert_eq(got[2][i], live ? pos[r] + 1 : 1, "case %d row %d", c, i);
            cr_assert_eq(got[3][i], live ? cross[slot[r]] : 1, "case %d row %d", c, i);
        }
    }
    weir__backend_free(be, slot_there), weir__backend_free(be, pos_there),
        weir__backend_free(be, index_there);
    weir__backend_free(be, cross_there), weir__backend_free(be, out);
}

/* Any result may be left out; n_src stays as it is without cross_len. */
void gather_case_optional(weir_backend *be) {
    const int32_t slot[3] = {4, -1, 0}, pos[3] = {7, 3, 0},
                  marks[4][3] = {{-9, -9, -9}, {-9, -9, -9}, {-9, -9, -9}, {-9, -9, -9}};
    const int32_t want[4][3] = {{4, -1, 0}, {7, 0, 0}, {8, 1, 1}, {-9, -9, -9}};
    int32_t *slot_there = device_put(be, slot, sizeof slot), *pos_there = device_put(be, pos, sizeof pos);
    int32_t *out = device_room(be, sizeof marks), got[4][3];
    for (int mask = 0; mask < 16; mask++) {
        cr_assert_eq(weir__backend_upload(be, out, marks, sizeof marks), WEIR_OK);
        weir_row_keys a = {.slot = slot_there,
                           .pos = pos_there,
                           .n_row = 3,
                           .out_slot = mask & 1 ? out : NULL,
                           .out_pos = mask & 2 ? out + 3 : NULL,
                           .n_key = mask & 4 ? out + 6 : NULL,
                           .n_src = mask & 8 ? out + 9 : NULL};
        cr_assert_eq(be->op.row_keys(be, &a), WEIR_OK);
        device_get(be, got, out, sizeof got);
        for (int i = 0; i < 12; i++) {
            cr_assert_eq(got[i / 3][i % 3], mask >> i / 3 & 1 ? want[i / 3][i % 3] : -9,
                         "mask %d result %d row %d", mask, i / 3, i % 3);
        }
    }
    weir__backend_free(be, slot_there), weir__backend_free(be, pos_there), weir__backend_free(be, out);
}

void gather_case_rows(weir_backend *be) {
    uint64_t rng = 9;
    enum { LD_SRC = 260, LD_DST = 300, SRC = 7 };
    float src[SRC * LD_SRC], before[5 * LD_DST], got[5 * LD_DST];
    for (int i = 0; i < SRC * LD_SRC; i++) src[i] = rng_normal(&rng);
    for (int i = 0; i < 5 * LD_DST; i++) before[i] = (float)i;
    const int32_t index[5] = {6, 0, 3, 3, 1};
    float *src_there = device_put(be, src, sizeof src), *dst_there = device_room(be, sizeof got);
    int32_t *index_there = device_put(be, index, sizeof index);
    const int64_t columns[] = {0, 1, 31, 32, 33, 127, 128, 129, 257, 260};
    for (int c = 0; c < 10; c++) {
        cr_assert_eq(weir__backend_upload(be, dst_there, before, sizeof before), WEIR_OK);
        weir_gather a = {.dst = dst_there,
                         .ld_dst = LD_DST,
                         .src = src_there,
                         .ld_src = LD_SRC,
                         .index = index_there,
                         .n_row = 5,
                         .n_col = columns[c]};
        cr_assert_eq(be->op.gather(be, &a), WEIR_OK);
        device_get(be, got, dst_there, sizeof got);
        for (int i = 0; i < 5 * LD_DST; i++) {
            const int64_t row = i / LD_DST, col = i % LD_DST;
            const float want = col < columns[c] ? src[index[row] * LD_SRC + col] : before[i];
            cr_assert(got[i] == want, "columns %ld row %ld column %ld", (long)columns[c], (long)row,
                      (long)col);
        }
    }
    weir__backend_free(be, src_there), weir__backend_free(be, dst_there), weir__backend_free(be, index_there);
}

/* One shape: rows are moved bit by bit, a NaN's payload included, and what is beside them stays. */
static void check_order(weir_backend *be, int64_t n_row, int64_t n_col, bool norm, uint64_t *rng) {
    const int64_t ld_src = n_col + 3, ld_dst = n_col + 5;
    const size_t n_src = (size_t)(n_row * ld_src), n_dst = (size_t)(n_row * ld_dst), width = (size_t)n_col;
    int32_t *order = calloc(width, sizeof *order);
    uint32_t *src = malloc(n_src * 4), *dst = malloc(n_dst * 4), *got = malloc(n_dst * 4),
             *factors = malloc(width * 4), *got_factors = malloc((width + 1) * 4);
    for (size_t i = 0; i < n_src; i++) src[i] = (uint32_t)(rng_u64(rng) >> 32);
    for (size_t i = 0; i < n_dst; i++) dst[i] = (uint32_t)i;
    for (size_t i = 0; i < width; i++) factors[i] = (uint32_t)(rng_u64(rng) >> 32);
    for (size_t i = 0; i < width; i++) {
        const size_t j = rng_u64(rng) % (i + 1);
        order[i] = order[j], order[j] = (int32_t)i;
    }
    void *src_there = device_put(be, src, n_src * 4), *dst_there = device_put(be, dst, n_dst * 4),
         *order_there = device_put(be, order, width * 4), *norm_there = device_put(be, factors, width * 4),
         *norm_dst = device_put(be, dst, (width + 1) * 4);
    weir_permute a = {.dst = dst_there,
                      .ld_dst = ld_dst,
                      .src = src_there,
                      .ld_src = ld_src,
                      .norm = norm ? norm_there : NULL,
                      .norm_dst = norm_dst,
                      .order = order_there,
                      .n_row = n_row,
                      .n_col = n_col};
    cr_assert_eq(be->op.permute(be, &a), WEIR_OK);
    device_get(be, got, dst_there, n_dst * 4);
    for (int64_t r = 0; r < n_row; r++)
        for (int64_t j = 0; j < ld_dst; j++)
            cr_assert_eq(got[r * ld_dst + j], j < n_col ? src[r * ld_src + order[j]] : dst[r * ld_dst + j],
                         "%ld x %ld: row %ld column %ld", (long)n_row, (long)n_col, (long)r, (long)j);
    device_get(be, got_factors, norm_dst, (width + 1) * 4);
    for (int64_t j = 0; j <= n_col; j++)
        cr_assert_eq(got_factors[j], norm && j < n_col ? factors[order[j]] : dst[j], "%ld: factor %ld",
                     (long)n_col, (long)j);
    weir__backend_free(be, src_there), weir__backend_free(be, dst_there), weir__backend_free(be, order_there);
    weir__backend_free(be, norm_there), weir__backend_free(be, norm_dst);
    free(order), free(src), free(dst), free(got), free(factors), free(got_factors);
}

void gather_case_orders(weir_backend *be) {
    /* a device's blocks have 512 columns; past 2^15 elements the CPU's threads share the rows */
    static const int64_t columns[] = {1, 32, 33, 127, 512, 513, 1600}, rows[] = {1, 2, 7, 33};
    uint64_t rng = 11;
    for (size_t c = 0; c < sizeof columns / sizeof *columns; c++)
        for (size_t r = 0; r < sizeof rows / sizeof *rows; r++)
            for (int norm = 0; norm < 2; norm++) check_order(be, rows[r], columns[c], norm > 0, &rng);
}

void gather_case_refusals(weir_backend *be) {
    const int32_t some[4] = {0};
    int32_t *there = device_put(be, some, sizeof some);
    float *x = device_put(be, some, sizeof some);
    const weir_row_keys keys = {.slot = there, .pos = there, .n_row = 1};
    weir_row_keys bad_keys[4] = {keys, keys, keys, keys};
    bad_keys[0].slot = NULL, bad_keys[1].pos = NULL, bad_keys[2].n_row = -1, bad_keys[3].n_row = 0;
    for (int i = 0; i < 4; i++)
        cr_assert_eq(be->op.row_keys(be, &bad_keys[i]), i < 3 ? WEIR_EINVAL : WEIR_OK, "case %d", i);
    const weir_gather rows = {
        .dst = x, .ld_dst = 2, .src = x + 2, .ld_src = 2, .index = there, .n_row = 1, .n_col = 2};
    weir_gather bad[8];
    for (int i = 0; i < 8; i++) bad[i] = rows;
    bad[0].dst = NULL, bad[1].src = NULL, bad[2].index = NULL, bad[3].n_row = -1, bad[4].n_col = -1,
    bad[5].ld_dst = 1;
    bad[6].ld_src = 1, bad[7].n_row = 0;
    for (int i = 0; i < 8; i++)
        cr_assert_eq(be->op.gather(be, &bad[i]), i < 7 ? WEIR_EINVAL : WEIR_OK, "case %d", i);
    const weir_permute columns = {
        .dst = x, .ld_dst = 2, .src = x + 2, .ld_src = 2, .norm = x, .order = there, .n_col = 2};
    weir_permute odd[9];
    for (int i = 0; i < 9; i++) odd[i] = columns, odd[i].norm_dst = x + 2, odd[i].n_row = i < 8;
    odd[0].dst = NULL, odd[1].src = NULL, odd[2].order = NULL, odd[3].n_row = -1, odd[4].n_col = -1;
    odd[5].ld_dst = 1, odd[6].ld_src = 1, odd[7].norm_dst = NULL;
    for (int i = 0; i < 9; i++)
        cr_assert_eq(be->op.permute(be, &odd[i]), i < 8 ? WEIR_EINVAL : WEIR_OK, "case %d", i);
    weir__backend_free(be, there), weir__backend_free(be, x);
}

void gather_case_biases(weir_backend *be) {
    uint64_t rng = 9;
    static const int64_t dims[] = {1, 255, 256, 517};
    for (int c = 0; c < 4; c++) {
        const int64_t dim = dims[c], ld = dim + 3, n = 5;
        float *x = guarded_new((size_t)(n * ld)), *bias = guarded_new((size_t)dim),
              *got = guarded_new((size_t)(n * ld));
        for (int64_t i = 0; i < n * ld; i++) x[i] = rng_normal(&rng);
        for (int64_t i = 0; i < dim; i++) bias[i] = rng_normal(&rng);
        float *x_there = device_put(be, x, (size_t)(n * ld) * 4),
              *bias_there = device_put(be, bias, (size_t)dim * 4);
        weir_bias a = {.x = x_there, .ld = ld, .bias = bias_there, .n_row = n - 1, .dim = dim};
        cr_assert_eq(be->op.bias(be, &a), WEIR_OK);
        device_get(be, got, x_there, (size_t)(n * ld) * 4);
        for (int64_t i = 0; i < n * ld; i++) {
            const bool its = i % ld < dim && i / ld < n - 1;
            cr_assert_eq(got[i], its ? x[i] + bias[i % ld] : x[i], "dim %ld element %ld", (long)dim, (long)i);
        }
        weir_bias bad[5] = {a, a, a, a, a};
        bad[0].x = NULL, bad[1].bias = NULL, bad[2].n_row = -1, bad[3].dim = -1, bad[4].ld = dim - 1;
        for (int i = 0; i < 5; i++) cr_assert_eq(be->op.bias(be, &bad[i]), WEIR_EINVAL, "case %d", i);
        weir__backend_free(be, x_there), weir__backend_free(be, bias_there);
        guarded_free(x), guarded_free(bias), guarded_free(got);
    }
}
