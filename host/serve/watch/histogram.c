#include "host/serve/watch/histogram.h"

#include <math.h>
#include <string.h>

static double as_double(uint64_t bits) {
    double x = 0;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static uint64_t as_bits(double x) {
    uint64_t bits = 0;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* C11 has no atomic addition of doubles. */
static void add_to_sum(_Atomic uint64_t *sum, double x) {
    uint64_t old = atomic_load_explicit(sum, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(sum, &old, as_bits(as_double(old) + x),
                                                  memory_order_relaxed, memory_order_relaxed)) {}
}

void watch_histogram_add(watch_histogram *h, double x, uint64_t n) {
    if (isnan(x) || n == 0) return;
    if (x < 0) x = 0;
    int i = 0;
    while (i < h->n_edge && x > h->edges[i]) i++;
    atomic_fetch_add_explicit(&h->bucket[i], n, memory_order_relaxed);
    add_to_sum(&h->sum, x * (double)n);
}

double watch_histogram_sum(const watch_histogram *h) {
    return as_double(atomic_load_explicit(&h->sum, memory_order_relaxed));
}
