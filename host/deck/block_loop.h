#ifndef WEIR_HOST_DECK_BLOCK_LOOP_H
#define WEIR_HOST_DECK_BLOCK_LOOP_H

#include "host/state.h"

/* The block loop (kernels/loop/loop.h) under sessions: the one program that runs the speculative method and
 * the verifier alone, on every backend.
 *
 * Sessions sit on the seats of a bucket: a number of seats, a gamma, and whether blocks have the drafter step
 * after the last draft. A device captures a bucket's block once and replays it as a loop, many blocks a
 * launch; its buckets have the seats that block_program.h says, or n_parallel. The host meanwhile takes the
 * blocks' outcomes out of a mapped ring, appends tokens and calls back. The device ends a session at end of
 * text and at its limit; stop strings, callbacks and cancels end it on the host, which then stops the loop
 * after the current block and drops what the device decided for that session since. Without capturing (the
 * CPU, graphs = false) the host calls block after block. With a session that asks for likeliest tokens a
 * launch has one block, from whose logits the host has them selected before the next one.
 *
 * The CPU takes seats anew for each block, with no seat to spare, and leaves out rows that no seat needs.
 * Statistics are the same everywhere: rows that the block needed, not those that a bucket's shape runs. Only
 * the CPU knows seconds_draft, _verify and _accept: a device's block is timed as a whole. */

enum { WEIR_LOOP_DEPTH = 64 }; /* blocks of a launch, and of the ring */

/* What a loop of e's shape takes besides the engine's logits and minmax, for the memory plan. e->pair.be is
 * open. */
weir_bytes weir__block_loop_bytes(const weir_engine *e);

/* e: loaded. The loop uses the engine's logits and minmax. EDEVMEM, ENOMEM, ECUDA. */
weir_status weir__block_loop_open(weir_block_loop **out, weir_engine *e, bool graphs);
void weir__block_loop_close(weir_block_loop *l);            /* NULL allowed; before the backend is closed */
weir_status weir__block_loop_set_costs(weir_block_loop *l); /* to the engine's; no block runs */

bool weir__block_loop_serves(const weir_session *s);
/* Of one launch; n_top: weir__tops_asked. */
int weir__block_loop_blocks(const weir_block_loop *l, int n_top, int max_blocks);

/* Up to max_blocks blocks of n admitted, running sessions that the loop serves. *ran: blocks run; fewer than
 * max_blocks when all have ended or one was ended by the host. EINVAL: as weir_step. */
weir_status weir__block_loop_run(weir_block_loop *l, weir_session *const *s, int n, int max_blocks, int *ran,
                                 weir_err *err);

/* For timings. A block of s up to its accept step, with drafts that will all be accepted, since both models
 * have the verifier's rows. Then, as often as they are called: a drafter step, after the first where gamma
 * has one; and the accept step, from statistics to the outcome, once for each time that the seat is put back.
 * draft and accept issue ops only, so that they can be captured. */
weir_status weir__block_loop_stage(weir_block_loop *l, weir_session *s);
weir_status weir__block_loop_draft(const weir_block_loop *l);
weir_status weir__block_loop_put_back(const weir_block_loop *l);
weir_status weir__block_loop_accept(weir_block_loop *l);

#endif /* WEIR_HOST_DECK_BLOCK_LOOP_H */
