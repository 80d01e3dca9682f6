#ifndef WEIR_TESTS_KERNELS_ATTENTION_CACHE_FIXTURE_H
#define WEIR_TESTS_KERNELS_ATTENTION_CACHE_FIXTURE_H

#include "kernels/backend.h"

/* What other ops than kv_append put into a cache, byte by byte: a cache with a page for each that some rows
 * have positions in, and no other, in any backend's memory. Every helper fails the running test on error. */
enum { CACHE_LAYERS = 2, CACHE_LAYER = 1, CACHE_SLOTS = 3 /* of rows: 0 … 2, or dead */ };

typedef struct cache {
    weir_backend *be;
    weir_kv_view kv;
    size_t bytes; /* of the pool */
    int32_t *slot, *pos;
} cache;

cache cache_new(weir_backend *be, const int32_t *slot, const int32_t *pos, int64_t n_row, int32_t n_head_kv,
                int32_t head_dim, weir_dtype dtype);
void cache_free(cache *c);
/* What c's rows take to it from k and v, rows of stride ld. */
weir_kv_append cache_append(const cache *c, const float *k, const float *v, int64_t ld, int64_t n_row);
/* The pool, malloc'ed; the cache is empty (bytes 0xff) then. */
unsigned char *cache_take(cache *c);
/* Two pools are the same, and not empty. */
void cache_assert_same(const cache *c, const unsigned char *got, const unsigned char *want, const char *what);

#endif
