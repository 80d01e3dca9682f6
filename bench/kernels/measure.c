/* Samples in turns, quantiles, the table and the CSV. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench/kernels/bench.h"
#include "kernels/base/mem.h"

enum { WARM_UP = 3 };

/* ---- data ---- */

static uint64_t next(kb *k) {
    uint64_t z = k->rng += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

void kb_random_bf16(kb *k, uint16_t *dst, size_t n) {
    for (size_t i = 0; i < n; i += 4) {
        /* sign, two low bits of the exponent and the mantissa are random */
        const uint64_t v = (next(k) & 0x81ff81ff81ff81ffu) | 0x3c003c003c003c00u;
        memcpy(dst + i, &v, (n - i < 4 ? n - i : 4) * sizeof *dst);
    }
}

void kb_random_f32(kb *k, float *dst, size_t n, float scale) {
    for (size_t i = 0; i < n; i++) {
        const uint64_t r = next(k); /* four uniforms: variance 1/3 */
        const int sum =
            (int)(r & 0xffff) + (int)(r >> 16 & 0xffff) + (int)(r >> 32 & 0xffff) + (int)(r >> 48);
        dst[i] = scale * 1.7320508f * ((float)sum * 0x1p-16f - 2.0f);
    }
}

void kb_random_logits(kb *k, float *q, float *p, int32_t n_vocab) {
    kb_random_f32(k, p, (size_t)n_vocab, 2.5f);
    kb_random_f32(k, q, (size_t)n_vocab, 0.8f);
    for (int32_t v = 0; v < n_vocab; v++) q[v] += p[v];
}

void *kb_to_device(kb *k, const void *src, size_t bytes) {
    void *p = weir__backend_alloc(k->be, bytes);
    if (p && weir__backend_upload(k->be, p, src, bytes) == WEIR_OK) return p;
    weir__backend_free(k->be, p);
    return NULL;
}

int kb_copies(const kb *k, double bytes) {
    const double n = ceil((double)k->rotate / bytes);
    return n < 2 ? 2 : n > 256 ? 256 : (int)n;
}

int kb_inner(const kb *k, int n) {
    const int least = 16; /* a graph of so many hides what starting it costs */
    return k->tiny ? 2 : n > least ? n : least;
}

bool kb_lists(const char *list, const char *word) {
    const size_t n = strlen(word);
    for (const char *at = list; at; at = strchr(at, ','), at += at != NULL)
        if (strncmp(at, word, n) == 0 && (at[n] == ',' || at[n] == 0)) return true;
    return false;
}

int kb_rows(const kb *k, const int *counts, int n, int *out) {
    int kept = 0;
    for (int i = 0; i < n; i++) {
        char text[16];
        (void)snprintf(text, sizeof text, "%d", counts[i]);
        if (!k->rows || kb_lists(k->rows, text)) out[kept++] = counts[i];
    }
    return kept;
}

double kb_error(const float *got, const float *want, size_t n) {
    double diff = 0, all = 0;
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(got[i]) || !isfinite(want[i])) return (double)INFINITY;
        diff += ((double)got[i] - (double)want[i]) * ((double)got[i] - (double)want[i]);
        all += (double)want[i] * (double)want[i];
    }
    return all > 0 ? sqrt(diff / all) : diff > 0 ? (double)INFINITY : 0;
}

/* ---- samples ---- */

typedef struct body {
    kb *k;
    kb_case *c;
} body;

static weir_status run_all(void *ctx) {
    body *b = ctx;
    for (int i = 0; i < b->c->inner; i++) WEIR_TRY(b->c->run(b->k, b->c->ctx, i));
    return WEIR_OK;
}

static weir_status sample(kb *k, kb_case *c) {
    if (c->graph) return k->be->stream->launch(k->be, c->graph);
    return run_all(&(body){k, c});
}

/* First call and recording; the first call outside of a recording also loads the kernels. */
static weir_status prepare(kb *k, kb_case *c) {
    c->seconds = weir_calloc((size_t)k->samples, sizeof *c->seconds);
    if (!c->seconds) return WEIR_ENOMEM;
    WEIR_TRY(c->run(k, c->ctx, 0));
    if (k->be->stream->capture && !c->called)
        WEIR_TRY(k->be->stream->capture(k->be, run_all, &(body){k, c}, c->looped, &c->graph));
    for (int i = 0; i < (k->tiny ? 1 : WARM_UP); i++) WEIR_TRY(sample(k, c));
    return k->be->stream->wait(k->be);
}

static weir_status time_once(kb *k, kb_case *c, int at, int i) {
    WEIR_TRY(k->be->stream->stamp(k->be, 2 * i));
    WEIR_TRY(sample(k, c));
    WEIR_TRY(k->be->stream->stamp(k->be, 2 * i + 1));
    double s;
    WEIR_TRY(k->be->stream->elapsed(k->be, 2 * i, 2 * i + 1, &s));
    c->seconds[at] = s / c->inner / (c->steps ? c->steps : 1);
    return WEIR_OK;
}

static int by_value(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* ---- rows ---- */

void kb_print_header(const kb *k) {
    printf("%-16s %-58s %9s %9s %9s %8s %7s %9s\n", "op", "shape", "us p50", "us p99", "MB", "GB/s", "% copy",
           "error");
    if (k->csv) fprintf(k->csv, "op,shape,us_p50,us_p99,bytes,gbps,percent_of_copy,error,result\n");
}

static void print_row(kb *k, const kb_case *c) {
    k->n_row++;
    if (c->status != WEIR_OK) {
        k->n_failed++;
        weir_err err = {{0}};
        (void)weir__backend_failure(k->be, &err);
        printf("%-16s %-58s failed: %s %s\n", c->op, c->shape, weir_status_str(c->status), err.text);
        if (k->csv) fprintf(k->csv, "%s,%s,,,,,,,failed\n", c->op, c->shape);
        return;
    }
    const bool ok = c->error <= c->tolerance; /* not for NaN */
    k->n_wrong += !ok;
    qsort(c->seconds, (size_t)k->samples, sizeof *c->seconds, by_value);
    const double p50 = c->seconds[k->samples / 2], p99 = c->seconds[(int)(0.99 * (k->samples - 1) + 0.5)];
    const double rate = p50 > 0 ? c->bytes / p50 : 0,
                 share = k->copy > 0 ? 100 * rate / k->copy : (double)NAN;
    printf("%-16s %-58s %9.2f %9.2f %9.3f %8.1f %7.1f %9.2g%s\n", c->op, c->shape, 1e6 * p50, 1e6 * p99,
           1e-6 * c->bytes, 1e-9 * rate, share, c->error, ok ? "" : " WRONG");
    if (k->csv)
        fprintf(k->csv, "%s,%s,%.3f,%.3f,%.0f,%.2f,%.2f,%.3g,%s\n", c->op, c->shape, 1e6 * p50, 1e6 * p99,
                c->bytes, 1e-9 * rate, share, c->error, ok ? "ok" : "wrong");
}

void kb_measure(kb *k, kb_case *c, int n) {
    for (int i = 0; i < n; i++) c[i].status = prepare(k, &c[i]);
    for (int at = 0; at < k->samples; at++)
        for (int i = 0; i < n; i++)
            if (c[i].status == WEIR_OK) c[i].status = time_once(k, &c[i], at, i);
    for (int i = 0; i < n; i++) {
        print_row(k, &c[i]);
        if (c[i].graph) k->be->stream->graph_free(k->be, c[i].graph);
        c[i].graph = NULL;
        weir_free(c[i].seconds);
        c[i].seconds = NULL;
    }
    fflush(stdout);
    if (k->csv) fflush(k->csv);
}

void kb_give_up(kb *k, const char *op, const char *shape, weir_status s) {
    kb_case c = {.status = s};
    (void)snprintf(c.op, sizeof c.op, "%s", op);
    (void)snprintf(c.shape, sizeof c.shape, "%s", shape);
    print_row(k, &c);
}

/* ---- copy ---- */

typedef struct copy_job {
    char *to, *from;
    size_t bytes;
} copy_job;

static weir_status run_copy(kb *k, void *ctx, int i) {
    const copy_job *j = ctx;
    (void)i;
    return k->be->stream->copy(k->be, j->to, j->from, j->bytes);
}

/* The queue's copy, outside of a graph. */
static weir_status time_copy(kb *k, copy_job *j, kb_case *c) {
    for (int at = -WARM_UP; at < k->samples; at++) {
        WEIR_TRY(k->be->stream->stamp(k->be, 0));
        WEIR_TRY(run_copy(k, j, 0));
        WEIR_TRY(k->be->stream->stamp(k->be, 1));
        double s;
        WEIR_TRY(k->be->stream->elapsed(k->be, 0, 1, &s));
        if (at >= 0) c->seconds[at] = s;
    }
    return WEIR_OK;
}

weir_status kb_measure_copy(kb *k) {
    const size_t block = (size_t)1 << 20;
    copy_job j = {.bytes = k->tiny ? block : k->be->device ? (size_t)1 << 30 : (size_t)1 << 28};
    kb_case c = {.op = "copy", .shape = "read and written, the denominator", .bytes = 2.0 * (double)j.bytes};
    uint16_t *random = weir_alloc(block, 1);
    c.seconds = weir_calloc((size_t)k->samples, sizeof *c.seconds);
    j.to = weir__backend_alloc(k->be, j.bytes);
    j.from = weir__backend_alloc(k->be, j.bytes);
    weir_status s = random && c.seconds && j.to && j.from ? WEIR_OK : WEIR_ENOMEM;
    if (s == WEIR_OK) kb_random_bf16(k, random, block / 2);
    for (size_t at = 0; s == WEIR_OK && at < j.bytes; at += block)
        s = weir__backend_upload(k->be, j.from + at, random, block);
    if (s == WEIR_OK) s = time_copy(k, &j, &c);
    if (s == WEIR_OK) {
        qsort(c.seconds, (size_t)k->samples, sizeof *c.seconds, by_value);
        const double p50 = c.seconds[k->samples / 2];
        k->copy = p50 > 0 ? c.bytes / p50 : 0;
    }
    c.status = s;
    print_row(k, &c);
    weir_free(random);
    weir_free(c.seconds);
    weir__backend_free(k->be, j.to);
    weir__backend_free(k->be, j.from);
    return s;
}
