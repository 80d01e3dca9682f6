#ifndef WEIR_TESTS_KERNELS_ATTENTION_EARLY_FIXTURE_H
#define WEIR_TESTS_KERNELS_ATTENTION_EARLY_FIXTURE_H

#include "tests/kernels/attention/attention_fixture.h"

/* A layer's way to attention on a device: rows' facts, the product of q (and of their keys and values, which
 * go to the cache), rotation, attention. */
typedef enum early_kind {
    EARLY_CROSS,   /* q alone: keys of a source */
    EARLY_PRODUCT, /* the product puts keys and values of the rows in the cache */
    EARLY_ROPE,    /* the rotation does */
    EARLY_APPEND,  /* kv_append does */
    EARLY_OTHER    /* the product, but attention's rows have positions in another array */
} early_kind;

enum { EARLY_SLOTS = 6 };

typedef struct early_case {
    early_kind kind;
    int32_t n_head, n_head_kv, head_dim, group, n_slot, window;
    int32_t n_key[EARLY_SLOTS]; /* the rows' own included; fewer than `group`: the first rows are dead */
    weir_dtype dtype;           /* of the pool */
} early_case;

/* Outputs (n_slot * group, n_head * head_dim), guarded, of the first time that it runs. paused: another call
 * comes between attention and the op that it follows. Its bits are asserted to be those of a paused run. */
float *early_run(weir_backend *be, const early_case *c, uint64_t seed, bool paused);

#endif
