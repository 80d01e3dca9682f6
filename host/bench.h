#ifndef WEIR_HOST_BENCH_H
#define WEIR_HOST_BENCH_H

#include <stddef.h>

#include "kernels/base/status.h"

/* How long the parts of a block take; part of weir.h. */

#ifdef __cplusplus
extern "C" {
#endif

struct weir_engine;

/* One timed part; seconds are quantiles over `repeat` runs after warm-up. */
typedef struct weir_bench_row {
    char name[48];
    int rows;
    double seconds_p50, seconds_p99;
    double bytes; /* what the part must move: weights and KV */
} weir_bench_row;

/* Fills up to cap rows, returns how many: prefill of n_prompt tokens, one draft step, verify of 1 …
 * max_rows rows, accept step, whole blocks at gamma (with a drafter), and exchanges between ranks. */
weir_status weir_bench(struct weir_engine *e, int n_prompt, int max_rows, int gamma, int repeat,
                       weir_bench_row *rows, int cap, int *n_rows, weir_err *err);

/* Bytes read and written a second by a copy of so many bytes, the median of `repeat`; 0: it failed. */
double weir_bench_copy(struct weir_engine *e, size_t bytes, int repeat);

/* Bytes a second that the part moves, and what percentage that is of copy, which is weir_bench_copy's of the
 * same run. NaN where they do not exist. */
double weir_bench_rate(const weir_bench_row *r);
double weir_bench_percent(const weir_bench_row *r, double copy);

/* The table as CSV (RFC 4180): its header, and a row of it; neither ends its line. out: cap bytes,
 * WEIR_BENCH_CSV_MAX are enough for every row. */
#define WEIR_BENCH_CSV "part,rows,us_p50,us_p99,gbps,percent_of_copy,copy_gbps"
enum { WEIR_BENCH_CSV_MAX = 2048 };
void weir_bench_csv(const weir_bench_row *r, double copy, char *out, size_t cap);

#ifdef __cplusplus
}
#endif

#endif /* WEIR_HOST_BENCH_H */
