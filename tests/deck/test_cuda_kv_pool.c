/* The page pool on a device: the table that ops see is the host's after every sync, and pages carry their
 * contents along. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "host/deck/kv.h"
#include "tests/support/compare.h"
#include "tests/support/device.h"

enum { SLOTS = 4, MAX_LEN = 200, PER_SLOT = 4 };

/* One element of a position stands for all of it: K of layer 0, head 0, dimension 0. */
static weir_kv_shape shape_of(weir_dtype dtype) {
    return (weir_kv_shape){
        .n_slot = SLOTS, .max_len = MAX_LEN, .n_layer = 2, .n_head_kv = 1, .head_dim = 3, .dtype = dtype};
}

typedef struct bed {
    weir_backend *be;
    weir_kv_pool *p;
    const weir_kv_view *v;
    int32_t table[SLOTS * PER_SLOT]; /* as downloaded */
    int64_t len[SLOTS];
    uint16_t value[SLOTS][MAX_LEN];
} bed;

static uint16_t *place(const bed *b, int32_t slot, int64_t t) {
    const int64_t page = b->table[slot * b->v->table_stride + t / WEIR_PAGE];
    return (uint16_t *)b->v->pool + page * b->v->page_elems + t % WEIR_PAGE;
}

static void look(bed *b) {
    cr_assert_eq(weir__kv_pool_sync(b->p), WEIR_OK);
    device_get(b->be, b->table, b->v->table, sizeof b->table);
    for (int i = 0; i < SLOTS * PER_SLOT; i++) cr_assert(b->table[i] >= 0 && b->table[i] < SLOTS * PER_SLOT);
}

static void check(bed *b, int step) {
    look(b);
    for (int32_t s = 0; s < SLOTS; s++) {
        cr_assert_eq(weir__kv_pool_len(b->p, s), b->len[s]);
        for (int64_t t = 0; t < b->len[s]; t += 13) {
            uint16_t got = 0;
            device_get(b->be, &got, place(b, s, t), sizeof got);
            cr_assert_eq(got, b->value[s][t], "step %d, slot %d, position %d: %d", step, (int)s, (int)t, got);
        }
    }
}

static void resize(bed *b, int32_t s, int64_t len, uint16_t *next) {
    const int64_t old = b->len[s];
    cr_assert_eq(weir__kv_pool_resize(b->p, s, len), WEIR_OK);
    b->len[s] = len;
    look(b);
    for (int64_t t = old; t < len; t++) {
        b->value[s][t] = (*next)++;
        cr_assert_eq(weir__backend_upload(b->be, place(b, s, t), &b->value[s][t], 2), WEIR_OK);
    }
}

/* Hands whole pages over from one slot to another. */
static void hand_over(bed *b, int32_t from, int32_t to, int64_t len, uint16_t *next) {
    resize(b, to, 0, next);
    for (int64_t i = 0; i < len / WEIR_PAGE; i++) {
        const int32_t page = weir__kv_pool_page(b->p, from, i);
        weir__kv_pool_keep(b->p, page);
        weir__kv_pool_adopt(b->p, to, i, page, (i + 1) * WEIR_PAGE);
        weir__kv_pool_let_go(b->p, page);
    }
    memcpy(b->value[to], b->value[from], (size_t)len * sizeof b->value[0][0]);
    b->len[to] = len;
    resize(b, from, 0, next);
}

Test(cuda_kv_pool, random_operations_equal_a_plain_array) {
    static bed b;
    const weir_kv_shape shape = shape_of(WEIR_DTYPE_BF16);
    uint64_t seed = 91; /* fixed: a failure repeats */
    uint16_t next = 1;
    b.be = device_open();
    cr_assert_eq(weir__kv_pool_create(&b.p, b.be, &shape), WEIR_OK);
    b.v = weir__kv_pool_view(b.p);
    cr_assert_eq(b.v->dtype, WEIR_DTYPE_BF16);
    for (int step = 0; step < 150; step++) {
        const int32_t s = (int32_t)(rng_u64(&seed) % SLOTS), other = (s + 1) % SLOTS;
        switch (rng_u64(&seed) % 4) {
        case 0: resize(&b, s, (int64_t)(rng_u64(&seed) % (MAX_LEN + 1)), &next); break;
        case 1: resize(&b, s, b.len[s] + 9 < MAX_LEN ? b.len[s] + 9 : MAX_LEN, &next); break;
        case 2: resize(&b, s, b.len[s] > 7 ? b.len[s] - 7 : 0, &next); break;
        default: hand_over(&b, s, other, b.len[s] / WEIR_PAGE * WEIR_PAGE, &next); break;
        }
        check(&b, step);
    }
    weir__kv_pool_free(b.p);
    weir__backend_close(b.be);
}

/* Slots in any order between two looks: every one's pages arrive, and no page is two slots'. */
Test(cuda_kv_pool, tables_of_several_slots_are_sent_at_once) {
    static const int32_t order[][SLOTS] = {{0, 1, 2, 3}, {3, 1, 2, 0}, {1, 3, 0, 2}};
    static bed b;
    const weir_kv_shape shape = shape_of(WEIR_DTYPE_BF16);
    b.be = device_open();
    for (size_t k = 0; k < sizeof order / sizeof *order; k++) {
        cr_assert_eq(weir__kv_pool_create(&b.p, b.be, &shape), WEIR_OK);
        b.v = weir__kv_pool_view(b.p);
        for (int i = 0; i < SLOTS; i++)
            cr_assert_eq(weir__kv_pool_resize(b.p, order[k][i], 2 * WEIR_PAGE), WEIR_OK);
        look(&b);
        int times[SLOTS * PER_SLOT] = {0};
        for (int32_t s = 0; s < SLOTS; s++)
            for (int i = 0; i < 2; i++) times[b.table[s * b.v->table_stride + i]]++;
        for (int i = 0; i < SLOTS * PER_SLOT; i++)
            cr_expect(times[i] <= 1, "order %zu: page %d %d times", k, i, times[i]);
        weir__kv_pool_free(b.p);
    }
    weir__backend_close(b.be);
}

Test(cuda_kv_pool, pages_start_at_zero) {
    weir_backend *be = device_open();
    for (int d = 0; d < 2; d++) {
        const weir_kv_shape shape = shape_of(d ? WEIR_DTYPE_BF16 : WEIR_DTYPE_F32);
        weir_kv_pool *p = NULL;
        cr_assert_eq(weir__kv_pool_create(&p, be, &shape), WEIR_OK);
        const size_t bytes = (size_t)weir__kv_pool_view(p)->page_elems * SLOTS * PER_SLOT *
                             (size_t)weir_dtype_bytes(shape.dtype);
        unsigned char *host = malloc(bytes);
        cr_assert_not_null(host);
        device_get(be, host, weir__kv_pool_view(p)->pool, bytes);
        for (size_t i = 0; i < bytes; i++) cr_assert_eq(host[i], 0);
        free(host);
        weir__kv_pool_free(p);
    }
    weir__backend_close(be);
}
