#ifndef WEIR_TESTS_KERNELS_ATTENTION_ATTENTION_FIXTURE_H
#define WEIR_TESTS_KERNELS_ATTENTION_ATTENTION_FIXTURE_H

#include "kernels/backend.h"

/* Attention over a cache in backend memory, whatever the backend, and the formula over plain arrays beside
 * it. */

typedef struct att_case {
    int32_t n_head, n_head_kv, head_dim;
    int32_t n_slot, max_key;
    bool bias;
    int32_t bias_left, bias_right;
    bool sinks; /* one of each head, normal around `sink` */
    float sink;
    float softcap;
    int32_t window, ahead;
    weir_dtype dtype; /* of the pool */
} att_case;

enum { ATT_LAYERS = 2, ATT_LAYER = 1 };
/* Lengths at the edges of pages and splits, and slots that are full. */
enum { ATT_KEYS = 14, ATT_MAX_KEY = 200 };
extern const int32_t att_keys[ATT_KEYS], att_full[4];
#define ATT_SCALE 0.3f

/* Pages are in scattered order and hold NaN wherever nothing was appended; entries of the table for positions
 * that a slot has not reached name no page of the pool. */
typedef struct att_cache {
    att_case c;
    weir_backend *be;
    weir_kv_view view;
    float *k, *v; /* host (n_slot, max_key, n_head_kv * head_dim), as the pool holds them */
    float *bias;  /* host (n_head, bias_left + 1 + bias_right) */
    float *device_bias;
    float *sinks; /* host (n_head) */
    float *device_sinks;
    int32_t *table; /* host (n_slot, table_stride) */
    int32_t *n_key; /* (n_slot) positions appended */
    size_t pool_bytes;
} att_cache;

/* n_key (n_slot): how many positions of each slot hold something. */
att_cache *att_cache_new(weir_backend *be, const att_case *c, const int32_t *n_key, uint64_t *rng);
void att_cache_free(att_cache *c);
/* Entries of a slot's table before position `first` name no page any more. */
void att_cache_release(att_cache *c, int32_t slot, int32_t first);

enum { ATT_ROWS = 160 };

typedef struct att_rows {
    int32_t n, group;
    int32_t slot[ATT_ROWS], pos[ATT_ROWS], n_key[ATT_ROWS];
    float *q; /* (n, ld) */
    int64_t ld;
    bool prefill;
} att_rows;

/* Allocates q, random; the caller sets the rest. */
att_rows att_rows_new(const att_cache *c, int32_t n, uint64_t *rng);
/* A row for each of att_keys, at the last of so many positions of some slot. */
att_rows att_rows_causal(const att_cache *c, uint64_t *rng);
/* Rows of `group` consecutive positions, the last of them the slot's last; one group a slot. */
att_rows att_rows_groups(const att_cache *c, int32_t group, uint64_t *rng);
void att_rows_free(att_rows *r);

/* Rows [first, first + n) into o (n, n_head * head_dim), host; asserts that nothing beside the rows' outputs
 * was written. */
void att_run(const att_cache *c, const att_rows *r, int32_t first, int32_t n, float *o);
weir_status att_try(const att_cache *c, const att_rows *r, int32_t first, int32_t n, float *o);

/* The formula for row r in double, and the contract's bound of its kind. */
void att_expect(const att_cache *c, const att_rows *r, int32_t row, bool tensor_cores, double *want,
                double *bound);

/* Runs all rows and compares each with its bound; `what` goes into the message. */
void att_check(const att_cache *c, const att_rows *r, bool tensor_cores, const char *what);

#endif
