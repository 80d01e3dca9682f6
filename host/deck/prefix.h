#ifndef WEIR_HOST_DECK_PREFIX_H
#define WEIR_HOST_DECK_PREFIX_H

#include "host/deck/kv.h"
#include "host/state.h"

/* Prompts that begin alike share pages. What a model has read is kept in units: of a decoder each whole chunk
 * of the backend, counted from position 0; of an encoder the whole prompt, since each position sees all
 * others. A unit's pages hold what a prefill of that chunk after those tokens writes, bit for bit, so whoever
 * adopts them has the bits of its own prefill. Pages that rows of an answer wrote are never kept: their bits
 * may differ from a prefill's.
 *
 * Units form trees: a child follows its parent's tokens. A tree has a salt, and sessions with another salt do
 * not see it. Tokens and salts are compared one by one, hashes only find them.
 *
 * One cache per side, over its pool self; none where layers slide, whose rings are not shared. Everything is
 * the stepping thread's. After the open nothing takes memory. */
typedef struct weir_prefix_cache weir_prefix_cache;

weir_bytes weir__prefix_bytes(const weir_kv_shape *shape, bool device);
/* unit: positions of one, whole pages; 0: whole prompts. ENOMEM. The pool outlives it. */
weir_status weir__prefix_open(weir_prefix_cache **out, weir_kv_pool *pool, int64_t unit);
void weir__prefix_close(weir_prefix_cache *c); /* NULL allowed */

/* The units that go on where a session has read to (s->prefilled), from now on its own; prefilled is what it
 * has afterwards. The session holds a slot. Nothing without a cache. */
weir_status weir__prefix_adopt(weir_session *s, int side);
/* Keeps the units of the prompt that the session has read since, or swaps its pages for those of a unit that
 * another session was faster with. */
void weir__prefix_publish(weir_session *s, int side);
/* A session within the unit that s would read next, of the same tokens: s can run that one's steps and adopt
 * the unit, and neither reads it twice. NULL: none. */
weir_session *weir__prefix_twin(const weir_session *s, int side);

#endif /* WEIR_HOST_DECK_PREFIX_H */
