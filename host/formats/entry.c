#include "host/formats/entry.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "host/formats/json/json_file.h"

int weir__entry_by_name(const void *a, const void *b) {
    return strcmp(((const weir_entry *)a)->name, ((const weir_entry *)b)->name);
}

const weir_entry *weir__entry_find(const void *table, size_t n, size_t stride, const char *name) {
    size_t lo = 0, hi = n;
    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        const weir_entry *e = (const weir_entry *)(const void *)((const char *)table + mid * stride);
        const int order = strcmp(name, e->name);
        if (order == 0) return e;
        if (order < 0)
            hi = mid;
        else
            lo = mid + 1;
    }
    return NULL;
}

bool weir__entry_tensor(const weir_entry *e, weir_tensor *out) {
    if (e->dtype < 0 || e->n_dim < 1 || e->n_dim > 4) return false;
    *out = weir_tensor_of(e->data, (weir_dtype)e->dtype, e->shape, e->n_dim);
    return true;
}

bool weir__entry_renamed(const char *name, const char *end, const char *other,
                         char out[WEIR__ENTRY_NAME_CAP]) {
    const size_t n = strlen(name), m = strlen(end);
    if (n < m || strcmp(name + n - m, end) != 0 || n - m + strlen(other) >= WEIR__ENTRY_NAME_CAP)
        return false;
    snprintf(out, WEIR__ENTRY_NAME_CAP, "%.*s%s", (int)(n - m), name, other);
    return true;
}

weir_status weir__fail_tensor(weir_err *err, const char *label, const char *name, const char *fmt, ...) {
    char why[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(why, sizeof why, fmt, ap);
    va_end(ap);
    return weir_fail(err, WEIR_EFORMAT, "%s: tensor %.100s: %s", weir__label(label), name, why);
}
