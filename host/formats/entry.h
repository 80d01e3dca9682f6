#ifndef WEIR_HOST_FORMATS_ENTRY_H
#define WEIR_HOST_FORMATS_ENTRY_H

#include "kernels/base/status.h"
#include "kernels/base/types.h"

/* A tensor as a file lists it, in any format. */
typedef struct weir_entry {
    const char *name; /* zero-terminated, borrowed until close */
    const char *type; /* as the format spells it: "BF16", "Q4_K" */
    int dtype;        /* weir_dtype, or -1: listed only */
    int n_dim;        /* 0 … 8 */
    int64_t shape[8]; /* outermost first; 0 past n_dim */
    const void *data;
    size_t bytes;
} weir_entry;

/* Tables of structs that begin with a weir_entry: an order for qsort, and the entry of a name in a table of n
 * structs of `stride` bytes in that order; NULL if absent. */
int weir__entry_by_name(const void *a, const void *b);
const weir_entry *weir__entry_find(const void *table, size_t n, size_t stride, const char *name);

/* As a model takes it; false: of a dtype or rank that no model takes. */
bool weir__entry_tensor(const weir_entry *e, weir_tensor *out);

/* `name` with `other` in place of its `end`; false: it ends otherwise, or the result does not fit. */
enum { WEIR__ENTRY_NAME_CAP = 256 };
bool weir__entry_renamed(const char *name, const char *end, const char *other,
                         char out[WEIR__ENTRY_NAME_CAP]);

/* "FILE: tensor NAME: …", EFORMAT. */
__attribute__((format(printf, 4, 5))) weir_status weir__fail_tensor(weir_err *err, const char *label,
                                                                    const char *name, const char *fmt, ...);

#endif /* WEIR_HOST_FORMATS_ENTRY_H */
