#ifndef WEIR_TESTS_SERVE_WATCH_EXPOSITION_H
#define WEIR_TESTS_SERVE_WATCH_EXPOSITION_H

#include <stddef.h>

/* Prometheus' text format, read back: what a scraper does, and what promtool complains of. */

typedef struct sample {
    char name[96];   /* with _bucket, _sum, _count */
    char family[96]; /* of the TYPE line above it */
    char type[16];
    char labels[640]; /* name="value",… as written */
    double value;
} sample;

typedef struct exposition {
    sample *samples; /* (n) */
    size_t n;
} exposition;

/* NULL, or the first line that is wrong and why (static storage). Checked: HELP and TYPE once for each family
 * and before its samples, names, escapes, numbers, no series twice, the families not mixed; of a histogram:
 * edges ascending, counts not falling, "+Inf" last and equal to _count, a _sum. */
const char *exposition_read(exposition *e, const char *text);
void exposition_free(exposition *e);

/* The value of the one series of this name whose labels, as written, contain this text ("" = any); NaN if
 * there is none or more than one. */
double exposition_value(const exposition *e, const char *name, const char *labels);

#endif /* WEIR_TESTS_SERVE_WATCH_EXPOSITION_H */
