#ifndef WEIR_HOST_SERVE_WATCH_HISTOGRAM_H
#define WEIR_HOST_SERVE_WATCH_HISTOGRAM_H

#include <stdatomic.h>
#include <stdint.h>

enum { WATCH_EDGES_MAX = 24 };

/* Observations by size, without a lock. Bucket i holds those above edge i - 1 and up to edge i; the last one
 * holds the rest. */
typedef struct watch_histogram {
    const double *edges; /* ascending */
    int n_edge;          /* … WATCH_EDGES_MAX */
    _Atomic uint64_t bucket[WATCH_EDGES_MAX + 1];
    _Atomic uint64_t sum; /* bits of a double */
} watch_histogram;

/* n observations of x; NaN is none, what is below 0 counts as 0. */
void watch_histogram_add(watch_histogram *h, double x, uint64_t n);
double watch_histogram_sum(const watch_histogram *h);

#endif /* WEIR_HOST_SERVE_WATCH_HISTOGRAM_H */
