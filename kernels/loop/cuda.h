#ifndef WEIR_KERNELS_LOOP_CUDA_H
#define WEIR_KERNELS_LOOP_CUDA_H

#include "kernels/backend.h"

/* The block loop's ops of the CUDA backend; contracts in loop.h, bits of the CPU's for equal logits. One
 * kernel each; close is three where the rows are more than the blocks that fit, and two without stats.
 * Scratch: weir__accept_cuda_scratch_floats for n_seat rows, else WEIR_ENOMEM. EINVAL also where note or
 * arrived is NULL.
 *
 *   rows    128 threads a block, one thread per seat (drafter) or per row of a seat (verifier);
 *           latency-bound: one round trip to the seats, some 100 bytes a row. Programmatic dependent launch;
 *           plain beside branches, where one block makes all rows and sets the branch's condition.
 *   sample  teams (accept/sweep/team.cuh), a seat each: statistics and draw of a row, passes over 4 n_vocab
 *           bytes that are in L2 because the head just wrote them: with minima and maxima one for the sums,
 *           one for the race.
 *   lookup  a block of 256 threads a seat: each scans every 256th entry of the history, which is in L2 but
 *           for the first time; a barrier a scan, and one a draft.
 *   close   teams, a seat each, and in the one kernel of few rows a part of the team for each of a
 *           seat's rows: statistics and what the rule says of the draft, then a barrier of the team. The
 *           first round trip brings seat, rows, notes and drafts into shared memory (about 3 KB a block), the
 *           decision and the books are made there by one thread, a residual or bonus is one pass over the
 *           rejected rows; the outcome (about 460 bytes a seat) goes to mapped memory in coalesced words. The
 *           last seat to arrive ends the block: one word read from the host early on, which nobody waits for,
 *           three written, and one release at the scope of the system. By prediction, not measured: a fence
 *           of that scope by every writer would cost 1.5 to 2 µs more, a wait for the word 1 µs. */
#ifdef __cplusplus
extern "C" {
#endif

weir_status weir__loop_rows_cuda(weir_backend *be, weir_loop_rows *a);
weir_status weir__loop_sample_cuda(weir_backend *be, weir_loop_sample *a);
weir_status weir__loop_lookup_cuda(weir_backend *be, weir_loop_lookup *a);
weir_status weir__loop_close_cuda(weir_backend *be, weir_loop_close *a);

#ifdef __cplusplus
}
#endif

#endif /* WEIR_KERNELS_LOOP_CUDA_H */
