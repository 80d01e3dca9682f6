#ifndef WEIR_BENCH_KERNELS_LATENCY_H
#define WEIR_BENCH_KERNELS_LATENCY_H

#include "kernels/backend.h"

/* Kernels that do one thing only, so that its time can be read: what a launch, a barrier, a trip to memory or
 * an instruction costs on a device. The constants of bench/model/ are such times. */
typedef enum kb_probe {
    KB_EMPTY,        /* nothing: a chain of them is a chain of gaps between dependent kernels */
    KB_TEAM_BARRIER, /* `steps` barriers of the accept path's teams, over all blocks */
    KB_CLUSTER,      /* `steps` barriers of clusters of n_block blocks (sm_90), as many as fill the device */
    KB_FLAG,         /* one thread reads words[0] `steps` times, each read after the one before */
    KB_FLAG_ACQUIRE, /* the same with acquire at system scope */
    KB_FENCE,        /* one thread stores to words[0], then a fence at system scope, `steps` times */
    KB_CHASE,        /* one thread loads `steps` words, each address from the load before; all words are 0 */
    KB_READ,         /* all blocks read all words, `steps` times */
    KB_FMA           /* one warp, a chain of `steps` multiply-adds */
} kb_probe;

typedef enum kb_how { KB_PLAIN, KB_PDL, KB_COOPERATIVE } kb_how;

enum { KB_CHASE_STRIDE = 2083 * 32 }; /* words: other lines and other pages for a long time */

typedef struct kb_latency {
    kb_probe probe;
    kb_how how;
    int32_t n_block; /* 0: as many as are resident at once, two a multiprocessor */
    int32_t steps;
    uint32_t *words; /* backend or mapped memory, [n_word] */
    int64_t n_word;  /* KB_READ: a multiple of 4 */
    uint32_t *out;   /* backend memory, two words: a result, and the word where a chase goes on */
    /* NULL in timings. Else it counts: launches of KB_EMPTY, steps of barriers (each by another block, with a
     * plain store, so that a barrier that does not hold loses some), the sum of what KB_READ has read. */
    uint32_t *tally;
} kb_latency;

/* Queues one launch. ENOTSUP: this device, or the CPU runner, has no clusters. */
weir_status kb_latency_launch(weir_backend *be, const kb_latency *a);

/* The last kernel of a looped recording's body: after `turns` of them the loop ends. left: one word of
 * backend memory, 0 before and after. Outside of such a recording it does nothing. */
weir_status kb_latency_turn(weir_backend *be, uint32_t *left, int32_t turns);

#endif /* WEIR_BENCH_KERNELS_LATENCY_H */
