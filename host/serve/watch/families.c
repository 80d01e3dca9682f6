#include "host/serve/watch/families.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "host/serve/watch/histogram.h"

const watch_family watch_counters[WATCH_N_COUNTER] = {
#define COUNTER(id, text, l, about) {.name = text, .help = about, .label = WATCH_LABEL_##l},
    WATCH_COUNTER_MAP(COUNTER)
#undef COUNTER
};

/* vLLM's buckets for what vLLM has; its queries ask for their edges by name. */
static const double first[] = {0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75,
                               1,     2.5,   5,    7.5,  10,   20,   40,   80,  160,  640, 2560};
static const double token[] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3,
                               0.4,   0.5,    0.75,  1,    2.5,   5,    7.5,   10,  20,   40,  80};
static const double request[] = {0.001, 0.01, 0.1, 0.3, 0.5, 0.8, 1,   1.5, 2,   2.5, 5,    10,
                                 15,    20,   30,  40,  50,  60,  120, 240, 480, 960, 1920, 7680};
static const double size[] = {1,    2,    5,    10,    20,    50,    100,    200,   500,
                              1000, 2000, 5000, 10000, 20000, 50000, 100000, 200000};
static const double step[] = {0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05,
                              0.1,     0.2,    0.5,    1,      2,     5,     10,    20,   60,   120};
static const double share[] = {0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1};

const watch_family watch_histograms[WATCH_N_HISTOGRAM] = {
#define HISTOGRAM(id, text, edges, about) {.name = text, .help = about, .label = WATCH_LABEL_NONE},
    WATCH_HISTOGRAM_MAP(HISTOGRAM)
#undef HISTOGRAM
};

#define FITS(id, text, list, about) \
    static_assert(sizeof(list) / sizeof *(list) <= WATCH_EDGES_MAX, "too many edges");
WATCH_HISTOGRAM_MAP(FITS)
#undef FITS

const double *watch_edges(int histogram, int *n) {
#define EDGES(id, text, list, about) [WATCH_##id] = {list, (int)(sizeof(list) / sizeof *(list))},
    static const struct {
        const double *edges;
        int n;
    } all[WATCH_N_HISTOGRAM] = {WATCH_HISTOGRAM_MAP(EDGES)};
#undef EDGES
    *n = all[histogram].n;
    return all[histogram].edges;
}

/* 499: the client left first. */
const int watch_statuses[WATCH_N_STATUS] = {200, 204, 304, 400, 401, 403, 404, 405, 408, 411,
                                            413, 414, 415, 417, 431, 499, 500, 503, 504, 0};

static const char *const finishes[WATCH_N_FINISH] = {"stop", "length", "abort", "error"};
static const char *const phases[WATCH_N_PHASE] = {"queued", "prefill", "running"};
/* Codes of the errors that say so (host/serve/error.h). */
static const char *const reasons[] = {"queue_full", "deadline_exceeded", "loading",
                                      "draining",   "server_shutdown",   "other"};
enum { N_REASON = sizeof reasons / sizeof *reasons, N_SOURCE = 6 };

static const struct {
    const char *name;
    int n;
    const char *const *values;
} labels[WATCH_N_LABEL] = {
    [WATCH_LABEL_NONE] = {NULL, 1, NULL},
    [WATCH_LABEL_FINISH] = {"finished_reason", WATCH_N_FINISH, finishes},
    [WATCH_LABEL_REASON] = {"reason", N_REASON, reasons},
    [WATCH_LABEL_PHASE] = {"phase", WATCH_N_PHASE, phases},
    [WATCH_LABEL_POSITION] = {"position", WEIR_GAMMA_MAX, NULL},
    [WATCH_LABEL_RULE] = {"rule", WEIR_RULE_COUNT, NULL},
    [WATCH_LABEL_SOURCE] = {"source", N_SOURCE, NULL},
};
static_assert((int)WEIR_GAMMA_MAX <= (int)WATCH_CELLS_MAX && (int)WEIR_RULE_COUNT <= (int)WATCH_CELLS_MAX,
              "a label has more values than a counter has cells");

const char *watch_label_name(watch_label l) { return labels[l].name; }
int watch_label_size(watch_label l) { return labels[l].n; }

const char *watch_label_value(watch_label l, int i, char buf[12]) {
    if (labels[l].values) return labels[l].values[i];
    if (l == WATCH_LABEL_RULE) return weir_rule_facts((weir_rule)i)->name;
    if (l == WATCH_LABEL_SOURCE) return weir_source_name(i);
    snprintf(buf, 12, "%d", i);
    return buf;
}

int watch_reason(const char *code) {
    for (int i = 0; code && i < N_REASON; i++)
        if (strcmp(reasons[i], code) == 0) return i;
    return N_REASON - 1;
}
