#ifndef WEIR_HOST_DECK_BLOCK_PROGRAM_H
#define WEIR_HOST_DECK_BLOCK_PROGRAM_H

#include "host/state.h"
#include "kernels/loop/loop.h"

/* One block of a bucket as ops, in the order that a device captures: what block_loop.c launches. */

/* Seats of the buckets that blocks are captured for: 1, 2, 4, 8, 16, then 8 more each. Rows of seats that
 * stay empty are multiplied too: above 16 seats, where a pass takes longer with every tile of rows, few
 * are. */
enum { WEIR_LOOP_SIZES = 5 + (1024 - 16) / 8 };
static inline int32_t weir__bucket_seats(int size) { return size < 5 ? 1 << size : 8 * (size - 2); }
static inline int weir__bucket_size(int n) {
    int size = 0;
    while (weir__bucket_seats(size) < n) size++;
    return size;
}

/* Seats of a launch: their number, gamma, bonus, and where the arrays lie. */
typedef struct weir_bucket {
    weir_block_loop *l;
    weir_loop loop;
    int size;     /* weir__bucket_size of the sessions */
    bool chooses; /* some seat does: steps that nobody takes are left out of captured blocks */
} weir_bucket;

struct weir_block_loop {
    weir_engine *e;
    bool graphs;
    int n_seat_max;
    weir_loop shape; /* of the largest bucket: where the arrays lie */
    void *memory;    /* of the arrays */
    weir_status (*draft)(
        const weir_bucket *b); /* in place of the drafter's steps; NULL: those, or a lookup */
    int32_t *every, *second;   /* 0, 1, 2, …; 1, 3, 5, … */
    int32_t *bonus;            /* where rows are left out: seats of bonus rows */
    double spent[3]; /* seconds of the last block's drafts, verifier pass, accept step; on the CPU */
    void *mapped_ring, *mapped_flags;                             /* as the host sees them */
    weir_bucket staged;                                           /* of timings */
    weir_graph *graph[WEIR_LOOP_SIZES][WEIR_GAMMA_MAX + 1][2][2]; /* bonus, chooses */
};

weir_status weir__block_run(void *bucket); /* as weir_backend_stream.capture wants it */
weir_status weir__block_draft_step(const weir_bucket *b, int32_t step); /* for timings: one drafter step */
/* Its parts: the verifier's pass; the accept step, which begins with the statistics of that pass's rows; and
 * those alone, of one that left no row out. */
weir_status weir__block_verify(const weir_bucket *b);
weir_status weir__block_verifier_stats(const weir_bucket *b);
weir_status weir__block_close(weir_bucket *b);

#endif /* WEIR_HOST_DECK_BLOCK_PROGRAM_H */
