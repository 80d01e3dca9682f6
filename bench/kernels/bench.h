#ifndef WEIR_BENCH_KERNELS_BENCH_H
#define WEIR_BENCH_KERNELS_BENCH_H

#include <stdio.h>

#include "kernels/backend.h"

/* Timings of single ops on one backend.
 *
 * A case is an op on one shape. Its sample is a recorded graph of `inner` such ops (plain calls where the
 * backend records nothing) that walks through copies of its data, more than the L2 cache holds; the sample's
 * time over `inner` is one value, so launch gaps inside a graph are counted and a host's are not, unless the
 * case says `called`. Cases that are measured together take turns. */
typedef struct kb {
    weir_backend *be;    /* what is timed */
    weir_backend *truth; /* portable CPU ops */
    FILE *csv;           /* NULL: table only */
    bool tiny;           /* shapes for a smoke test */
    const char *rows;    /* of products: a list with commas; NULL: all that a group has */
    int samples;
    size_t rotate; /* bytes that the copies of one case have together */
    double copy;   /* copy bandwidth, bytes read and written a second */
    uint64_t rng;
    int n_row, n_wrong, n_failed;
} kb;

enum { KB_SAMPLES = 1000 };

typedef struct kb_case {
    char op[24], shape[88];
    double bytes;            /* that one op must move */
    double error, tolerance; /* of its result against the CPU truth; wrong unless error <= tolerance */
    int inner;
    int steps;   /* of one op, or of its loop: the row's time is that of one step; 0: 1 */
    bool called; /* op after op from the host, in no graph */
    bool looped; /* the graph is a loop, which the last op of a sample ends (backend.h, capture) */
    weir_status (*run)(kb *k, void *ctx, int i); /* queues op i of a sample */
    void *ctx;
    /* of the measurement */
    weir_graph *graph;
    double *seconds;
    weir_status status;
} kb_case;

/* Times n cases in turns and prints their rows; a failed case has a row with the failure. */
void kb_measure(kb *k, kb_case *c, int n);

/* A group that could not be set up: one row for all of it. */
void kb_give_up(kb *k, const char *op, const char *shape, weir_status s);

/* Copy bandwidth of the device: `bytes` from one buffer to another. Fills k->copy. */
weir_status kb_measure_copy(kb *k);

/* Copies of `bytes` so that together they exceed what caches hold; calls in a sample that walks through n of
 * them. */
int kb_copies(const kb *k, double bytes);
int kb_inner(const kb *k, int n);

/* Whether a list of words, with commas, has this one. */
bool kb_lists(const char *list, const char *word);

/* Of n row counts those that are wanted, into out; how many. */
int kb_rows(const kb *k, const int *counts, int n, int *out);

/* ||got - want|| / ||want||; INFINITY where either has something that is no number. */
double kb_error(const float *got, const float *want, size_t n);

void kb_print_header(const kb *k);

/* ---- data ---- */

void kb_random_bf16(kb *k, uint16_t *dst, size_t n);          /* zero mean, |x| in [2^-7, 2^-3) */
void kb_random_f32(kb *k, float *dst, size_t n, float scale); /* about normal */

/* Backend memory with these bytes; NULL on failure. */
void *kb_to_device(kb *k, const void *src, size_t bytes);

/* ---- groups of cases ---- */

void kb_linear(kb *k);
void kb_quant(kb *k); /* linear with quantised weights, and packing them */
void kb_small(kb *k); /* embed, rmsnorm, rope, kv_append */
void kb_attention(kb *k);
void kb_accept(kb *k);
void kb_loop(kb *k);
void kb_latencies(kb *k); /* of a device: launches, barriers, trips to memory */

/* What accept.c and loop.c time: a law and its name. */
typedef struct kb_law {
    const char *name;
    weir_law law;
} kb_law;

enum { KB_LAWS = 5 };
void kb_laws(kb_law law[KB_LAWS]);
void kb_random_logits(kb *k, float *q, float *p, int32_t n_vocab); /* two rows that mostly agree */

#endif /* WEIR_BENCH_KERNELS_BENCH_H */
