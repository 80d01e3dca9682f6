#include "tests/kernels/attention/cache_fixture.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

enum { NOWHERE = 0x3fffffff };

static void *put(weir_backend *be, const void *from, size_t bytes) {
    void *p = weir__backend_alloc(be, bytes);
    cr_assert(p && weir__backend_upload(be, p, from, bytes) == WEIR_OK, "%s", be->err.text);
    return p;
}

static void empty(cache *c) {
    unsigned char *none = malloc(c->bytes);
    cr_assert(none);
    memset(none, 0xff, c->bytes);
    cr_assert_eq(weir__backend_upload(c->be, c->kv.pool, none, c->bytes), WEIR_OK);
    free(none);
}

cache cache_new(weir_backend *be, const int32_t *slot, const int32_t *pos, int64_t n_row, int32_t n_head_kv,
                int32_t head_dim, weir_dtype dtype) {
    int64_t stride = 1, n_page = 0;
    for (int64_t r = 0; r < n_row; r++)
        if (slot[r] >= 0 && pos[r] / WEIR_PAGE >= stride) stride = pos[r] / WEIR_PAGE + 1;
    int32_t *table = malloc((size_t)(CACHE_SLOTS * stride) * sizeof *table);
    cr_assert(table);
    for (int64_t i = 0; i < CACHE_SLOTS * stride; i++) table[i] = NOWHERE;
    for (int64_t r = n_row; r-- > 0;) { /* pages of neighbours do not follow each other */
        if (slot[r] < 0) continue;
        int32_t *page = &table[slot[r] * stride + pos[r] / WEIR_PAGE];
        if (*page == NOWHERE) *page = (int32_t)n_page++;
    }
    cache c = {.be = be,
               .kv = {.page_elems = weir__kv_page_elems(CACHE_LAYERS, n_head_kv, head_dim),
                      .table = put(be, table, (size_t)(CACHE_SLOTS * stride) * sizeof *table),
                      .table_stride = stride,
                      .n_layer = CACHE_LAYERS,
                      .n_head_kv = n_head_kv,
                      .head_dim = head_dim,
                      .dtype = dtype},
               .slot = put(be, slot, (size_t)n_row * sizeof *slot),
               .pos = put(be, pos, (size_t)n_row * sizeof *pos)};
    free(table);
    c.bytes = (size_t)(n_page * c.kv.page_elems) * (size_t)weir_dtype_bytes(dtype);
    c.kv.pool = weir__backend_alloc(be, c.bytes);
    cr_assert(c.kv.pool && n_page > 0);
    empty(&c);
    return c;
}

void cache_free(cache *c) {
    weir__backend_free(c->be, c->kv.pool), weir__backend_free(c->be, (void *)c->kv.table);
    weir__backend_free(c->be, c->slot), weir__backend_free(c->be, c->pos);
}

weir_kv_append cache_append(const cache *c, const float *k, const float *v, int64_t ld, int64_t n_row) {
    return (weir_kv_append){&c->kv, k, v, ld, c->slot, c->pos, n_row, CACHE_LAYER};
}

unsigned char *cache_take(cache *c) {
    unsigned char *pool = malloc(c->bytes);
    cr_assert(pool && weir__backend_download(c->be, pool, c->kv.pool, c->bytes) == WEIR_OK);
    empty(c);
    return pool;
}

void cache_assert_same(const cache *c, const unsigned char *got, const unsigned char *want,
                       const char *what) {
    bool some = false;
    for (size_t i = 0; i < c->bytes; i++) {
        cr_assert_eq(got[i], want[i], "%s: %s heads %d of %d: byte %zu", what, weir_dtype_name(c->kv.dtype),
                     c->kv.n_head_kv, c->kv.head_dim, i);
        some |= got[i] != 0xff;
    }
    cr_assert(some, "%s: nothing was kept", what);
}
