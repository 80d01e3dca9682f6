#ifndef WEIR_HOST_SERVE_API_SCORED_H
#define WEIR_HOST_SERVE_API_SCORED_H

#include "host/weir.h"

/* Log-probabilities of a prompt's tokens after its first one, for echo. */
typedef struct api_scored {
    const float *logprobs; /* (n) */
    const weir_top *top;   /* (n, n_top), or NULL */
    size_t n;
} api_scored;

#endif /* WEIR_HOST_SERVE_API_SCORED_H */
