#ifndef WEIR_HOST_SERVE_API_IDS_H
#define WEIR_HOST_SERVE_API_IDS_H

#include <stddef.h>
#include <stdint.h>

/* The tokens of a prompt. */
typedef struct api_prompt {
    int32_t *ids; /* weir_ids_free */
    size_t n;
} api_prompt;

#endif /* WEIR_HOST_SERVE_API_IDS_H */
