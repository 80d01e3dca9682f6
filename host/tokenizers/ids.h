#ifndef WEIR_HOST_TOKENIZERS_IDS_H
#define WEIR_HOST_TOKENIZERS_IDS_H

#include "kernels/base/status.h"
#include "kernels/base/types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A list of ids that grows. Every step of encoding appends to the list of its caller, so that ids are written
 * once. Zero-initialised is empty; release `at` with weir_free. */
typedef struct weir__ids {
    int32_t *at; /* weir_alloc, or NULL while nothing was added */
    size_t n, cap;
} weir__ids;

weir_status weir__ids_reserve(weir__ids *l, size_t more, weir_err *err); /* room for that many; ENOMEM */
weir_status weir__ids_add(weir__ids *l, const int32_t *ids, size_t n, weir_err *err);

static inline weir_status weir__ids_push(weir__ids *l, int32_t id, weir_err *err) {
    if (l->n == l->cap) WEIR_TRY(weir__ids_reserve(l, 1, err));
    l->at[l->n++] = id;
    return WEIR_OK;
}

/* Hands the array over, even an empty one. On failure (s, or ENOMEM) frees it. Empties the list. */
weir_status weir__ids_take(weir__ids *l, weir_status s, int32_t **ids, size_t *n, weir_err *err);

#ifdef __cplusplus
}
#endif

#endif /* WEIR_HOST_TOKENIZERS_IDS_H */
