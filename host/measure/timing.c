/* Timings of memory, of any backend. */
#include "host/measure/timing.h"

#include <stdlib.h>
#include <string.h>

#include "kernels/base/clock.h"
#include "kernels/base/mem.h"

typedef struct copy_job {
    char *to;
    const char *from;
    size_t bytes;
} copy_job;

static void copy_part(void *arg, int worker, int n_worker) {
    const copy_job *j = arg;
    long begin, end;
    weir__pool_split((long)j->bytes, 4096, worker, n_worker, &begin, &end);
    memcpy(j->to + begin, j->from + begin, (size_t)(end - begin));
}

static int by_value(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

double weir__quantile(double *v, int n, double at) {
    qsort(v, (size_t)n, sizeof *v, by_value);
    return v[(int)(at * (n - 1) + 0.5)];
}

/* One copy, done when it returns. */
static weir_status copy_once(weir_backend *be, copy_job *job) {
    if (!be->device) {
        weir__pool_run(be->pool, copy_part, job);
        return WEIR_OK;
    }
    WEIR_TRY(be->stream->copy(be, job->to, job->from, job->bytes));
    return be->stream->wait(be);
}

/* Bytes that are not all alike, so that no memory controller finds a short cut. */
static weir_status fill(weir_backend *be, char *p, size_t bytes) {
    uint32_t block[16 << 10], x = 1;
    for (size_t i = 0; i < sizeof block / sizeof *block; i++) block[i] = x = x * 1664525u + 1013904223u;
    for (size_t at = 0; at < bytes; at += sizeof block)
        WEIR_TRY(
            weir__backend_upload(be, p + at, block, bytes - at < sizeof block ? bytes - at : sizeof block));
    return WEIR_OK;
}

double weir__copy_rate(weir_backend *be, size_t bytes, int repeat, const weir_interrupt *interrupt) {
    double *seconds = weir_alloc((size_t)repeat, sizeof *seconds);
    char *from = weir__backend_alloc(be, bytes), *to = weir__backend_alloc(be, bytes);
    weir_status st = seconds && from && to ? WEIR_OK : WEIR_ENOMEM;
    if (st == WEIR_OK) st = fill(be, from, bytes);
    if (st == WEIR_OK) st = fill(be, to, bytes);
    copy_job job = {.to = to, .from = from, .bytes = bytes};
    for (int i = -1; i < repeat && st == WEIR_OK; i++) {
        const double t0 = weir_seconds();
        st = weir_interrupted(interrupt) ? WEIR_ECANCELED : copy_once(be, &job);
        if (i >= 0) seconds[i] = weir_seconds() - t0;
    }
    const double rate = st == WEIR_OK ? 2.0 * (double)bytes / weir__quantile(seconds, repeat, 0.5) : 0.0;
    weir_free(seconds);
    if (from) weir__backend_free(be, from);
    if (to) weir__backend_free(be, to);
    return rate;
}
