#ifndef WEIR_HOST_DEVICE_LOOP_H
#define WEIR_HOST_DEVICE_LOOP_H

#include "host/engine.h"

/* The block loop on the backend (kernels/loop/loop.h): whole blocks of several sessions with no host between
 * them.
 *
 * Sessions sit on the seats of a bucket: a number of seats (a power of two, or n_parallel), a gamma, and
 * whether blocks have the drafter step behind the last draft. A bucket's block is recorded once and replayed
 * as a loop; the host meanwhile takes the blocks' records out of a mapped ring, appends tokens and calls
 * back. The device ends a session at end of text and at its limit; stop strings, callbacks and cancels end it
 * on the host, which then stops the loop behind the current block and drops what the device decided for that
 * session since. Serves the speculative method and the verifier alone. Tokens, sources, log-probabilities and
 * books are those of host-driven blocks; a row counts as the block's need has it, not as the bucket's shape
 * (a bucket always runs the row behind the last draft), and seconds are known for whole blocks only:
 * seconds_draft, _verify and _accept stay as they were.
 *
 * On a backend that records nothing, or with graphs = false, the host calls block after block: the same
 * tokens. */

enum { WEIR_LOOP_DEPTH = 64 }; /* blocks of a launch, and of the ring */

/* What a loop of e's shape takes besides the engine's logits and extents, for the memory plan. e->be is
 * open. */
weir_bytes weir__device_loop_bytes(const weir_engine *e);

/* e: loaded. Uses the engine's logits and extents, so a loop and host-driven blocks of one engine take turns.
 * EDEVMEM, ENOMEM, ECUDA. */
weir_status weir__device_loop_open(weir_device_loop **out, weir_engine *e, bool graphs);
void weir__device_loop_close(weir_device_loop *l); /* NULL allowed; before the backend is closed */

bool weir__device_loop_serves(const weir_session *s);

/* Up to max_blocks blocks of n admitted, running sessions that the loop serves. *ran: blocks run; fewer than
 * max_blocks when all have ended or one was ended by the host. EINVAL: as weir_step. */
weir_status weir__device_loop_run(weir_device_loop *l, weir_session *const *s, int n, int max_blocks,
                                  int *ran, weir_err *err);

#endif /* WEIR_HOST_DEVICE_LOOP_H */
