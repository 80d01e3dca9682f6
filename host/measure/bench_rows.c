/* Rows of a bench as others read them. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "host/bench.h"

double weir_bench_rate(const weir_bench_row *r) {
    return r->seconds_p50 > 0 ? r->bytes / r->seconds_p50 : (double)NAN;
}

double weir_bench_percent(const weir_bench_row *r, double copy) {
    return copy > 0 ? 100 * weir_bench_rate(r) / copy : (double)NAN;
}

void weir_bench_csv(const weir_bench_row *r, double copy, char *out, size_t cap) {
    const char *quote = strchr(r->name, ',') ? "\"" : ""; /* no part has a quotation mark in its name */
    snprintf(out, cap, "%s%s%s,%d,%.3f,%.3f,%.3f,%.2f,%.3f", quote, r->name, quote, r->rows,
             1e6 * r->seconds_p50, 1e6 * r->seconds_p99, 1e-9 * weir_bench_rate(r),
             weir_bench_percent(r, copy), 1e-9 * copy);
}
