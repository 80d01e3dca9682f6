#ifndef WEIR_HOST_DECK_KV_H
#define WEIR_HOST_DECK_KV_H

#include "models/model.h"

/* The page pool of one cache group of one model, and one page table over n_slot sessions. Pages are taken as
 * lengths grow and are reference-counted; rollback is a smaller length and gives the pages past it back.
 * Where backend memory is not the host's, the table is kept twice: every change is made in the host's copy,
 * and sync brings the backend's up to date. */
typedef struct weir_kv_pool weir_kv_pool;

/* Layers with a sliding window read no further back than that, and so need no more pages than hold it: `keep`
 * > 0 gives a slot a ring of them. Its table never changes (page i of the sequence is page i modulo the
 * ring), so that a device may run any number of blocks on it. A rollback must end no further than keep below
 * the largest length, and the window must fit in what is left: keep = window + rows of the longest call or
 * chunk + rows that a rollback may take back. */

typedef struct weir_kv_shape {
    int32_t n_slot;
    int64_t n_page;  /* pages that the slots share; 0: every slot can be full. Rings are always whole */
    int64_t max_len; /* positions of a slot */
    int64_t keep;    /* positions that stay readable below a slot's largest length; 0: all */
    int32_t n_layer, n_head_kv, head_dim;
    weir_dtype dtype; /* F32 on the CPU */
} weir_kv_shape;

/* Bytes a pool of this shape takes (the memory plan asks the same function); SIZE_MAX in both for a shape
 * that cannot be. */
weir_bytes weir__kv_pool_bytes(const weir_kv_shape *shape, bool device);
int64_t weir__kv_shape_pages(const weir_kv_shape *shape); /* of the pool */
size_t weir__kv_page_bytes(const weir_kv_shape *shape);
int64_t weir__kv_pages_for(int64_t len); /* that hold so many positions */
bool weir__kv_is_ring(const weir_kv_shape *shape);

/* EINVAL: a shape that cannot be; ENOMEM, EDEVMEM, ECUDA. */
weir_status weir__kv_pool_create(weir_kv_pool **out, weir_backend *be, const weir_kv_shape *shape);
void weir__kv_pool_free(weir_kv_pool *p); /* NULL allowed */

/* Makes positions [0, len) of a slot addressable; grows or shrinks. EPAGES when too few pages are free
 * (nothing changed then). len in [0, max_len]; EINVAL for a ring that has overwritten what comes before len.
 * 0 begins anew. */
weir_status weir__kv_pool_resize(weir_kv_pool *p, int32_t slot, int64_t len);
/* The same room for a device that will write some of [len, upto) on its own: a ring has it, and counts
 * nothing as written before a resize says how far it came. */
weir_status weir__kv_pool_reserve(weir_kv_pool *p, int32_t slot, int64_t upto);
int64_t weir__kv_pool_len(const weir_kv_pool *p, int32_t slot);
/* Pages that a resize to len would take of the free ones; of an empty slot. */
int64_t weir__kv_pool_lacks(const weir_kv_pool *p, int32_t slot, int64_t len);
int64_t weir__kv_pool_lacks_all(const weir_kv_pool *p, int64_t len);

/* Pages may be kept beside slots, for prompts that begin alike (prefix.h). A page that is kept and in no slot
 * counts as free: when the others are used up, a resize has `reclaim` let go of at least one. Not of
 * rings. */
typedef void (*weir_kv_reclaim)(void *ud);
void weir__kv_pool_set_reclaim(weir_kv_pool *p, weir_kv_reclaim reclaim, void *ud);
int32_t weir__kv_pool_page(const weir_kv_pool *p, int32_t slot, int64_t i); /* that holds positions 64 i … */
void weir__kv_pool_keep(weir_kv_pool *p, int32_t page);                     /* one that a slot has */
void weir__kv_pool_let_go(weir_kv_pool *p, int32_t page);
bool weir__kv_pool_is_idle(const weir_kv_pool *p, int32_t page); /* kept, and in no slot */
/* Page i of a slot, i of those it has or one more, becomes `page`, which is kept; the slot's length is len at
 * least. It may be in any number of slots, and no slot may grow into it or write there. */
void weir__kv_pool_adopt(weir_kv_pool *p, int32_t slot, int64_t i, int32_t page, int64_t len);

/* Brings the backend's page table up to date: before any op that reads it. Free where nothing changed. */
weir_status weir__kv_pool_sync(weir_kv_pool *p);

/* The host's copy of a slot's row of the table, and how many entries it has. */
const int32_t *weir__kv_pool_row(const weir_kv_pool *p, int32_t slot);
int32_t weir__kv_pool_row_pages(const weir_kv_pool *p);

/* Pages that are held, and that a resize can take. A ring's are always held; free are those of empty slots.
 * Any thread may ask while another one moves pages: it gets a number that was true. */
int32_t weir__kv_pool_pages_used(const weir_kv_pool *p);
int32_t weir__kv_pool_free_pages(const weir_kv_pool *p);
int32_t weir__kv_pool_pages(const weir_kv_pool *p);            /* of all */
const weir_kv_view *weir__kv_pool_view(const weir_kv_pool *p); /* stable address until free */

#endif /* WEIR_HOST_DECK_KV_H */
