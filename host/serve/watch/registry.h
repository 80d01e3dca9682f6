#ifndef WEIR_HOST_SERVE_WATCH_REGISTRY_H
#define WEIR_HOST_SERVE_WATCH_REGISTRY_H

#include "host/serve/watch/families.h"
#include "host/serve/watch/histogram.h"

/* The inside of watch_metrics. */
struct watch_metrics {
    char *prefix, *model_name, *device; /* the latter two as they are written between quotes */
    const char *const *paths;
    size_t n_path;
    int max_draft;
    void (*gauges)(void *ud, watch_gauges *out);
    void *ud;
    _Atomic uint64_t counter[WATCH_N_COUNTER][WATCH_CELLS_MAX];
    watch_histogram histogram[WATCH_N_HISTOGRAM];
    _Atomic uint64_t *http; /* (n_path + 1, WATCH_N_STATUS): the last row is for other paths */
};

#endif /* WEIR_HOST_SERVE_WATCH_REGISTRY_H */
