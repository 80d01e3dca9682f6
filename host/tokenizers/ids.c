#include "host/tokenizers/ids.h"

#include <string.h>

#include "kernels/base/mem.h"

weir_status weir__ids_reserve(weir__ids *l, size_t more, weir_err *err) {
    if (l->at && more <= l->cap - l->n) return WEIR_OK;
    size_t cap = 0;
    if (__builtin_add_overflow(l->cap / 2 + 64, l->n, &cap) || __builtin_add_overflow(cap, more, &cap))
        return weir_fail(err, WEIR_ENOMEM, "no memory for %zu more ids", more);
    int32_t *at = weir_alloc(cap, sizeof *at);
    if (!at) return weir_fail(err, WEIR_ENOMEM, "no memory for %zu ids", cap);
    if (l->n > 0) memcpy(at, l->at, l->n * sizeof *at);
    weir_free(l->at);
    l->at = at;
    l->cap = cap;
    return WEIR_OK;
}

weir_status weir__ids_add(weir__ids *l, const int32_t *ids, size_t n, weir_err *err) {
    WEIR_TRY(weir__ids_reserve(l, n, err));
    if (n > 0) memcpy(l->at + l->n, ids, n * sizeof *ids);
    l->n += n;
    return WEIR_OK;
}

weir_status weir__ids_take(weir__ids *l, weir_status s, int32_t **ids, size_t *n, weir_err *err) {
    if (s == WEIR_OK) s = weir__ids_reserve(l, 0, err);
    if (s == WEIR_OK) {
        *ids = l->at;
        *n = l->n;
    } else {
        weir_free(l->at);
    }
    *l = (weir__ids){NULL, 0, 0};
    return s;
}
