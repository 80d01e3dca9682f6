#ifndef WEIR_HOST_DECK_DRAFT_LOOKUP_H
#define WEIR_HOST_DECK_DRAFT_LOOKUP_H

#include "host/deck/block_program.h"

/* Prompt lookup (kernels/loop/loop.h): the histories of sessions in backend memory, by slot. The prompt is
 * uploaded when a session takes a seat on its slot for the first time; after that the loop appends what it
 * decides. */

/* Entries of a slot's history before output token 0: the prompt, and for an encoder–decoder a -1, since the
 * output does not continue the prompt. */
int64_t weir__lookup_before(const weir_session *s);
int64_t weir__lookup_ld(const weir_engine *e); /* room for a slot's history; 0: a model drafts, or nothing */

/* Where rows of q have one token every one is -inf; l->shape.lookup has its arrays. */
weir_status weir__lookup_open(weir_block_loop *l);
/* Row j of seat i has this token, from the host. */
weir_status weir__lookup_stage(const weir_bucket *b, int32_t i, int32_t j, int32_t token);
/* Brings the history of a session that has a slot up to date. */
weir_status weir__lookup_sync(weir_block_loop *l, weir_session *s);
/* After a launch: what the session has appended, the loop has too. */
void weir__lookup_took(weir_session *s);

#endif /* WEIR_HOST_DECK_DRAFT_LOOKUP_H */
