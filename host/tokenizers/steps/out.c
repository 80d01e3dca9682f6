#include "host/tokenizers/steps/out.h"

#include <string.h>

#include "kernels/base/mem.h"

static bool grow(weir__out *o, size_t need) {
    const size_t cap = need + o->cap / 2 + 64;
    char *more = weir_alloc(cap, 1);
    if (!more) return false;
    if (o->n) memcpy(more, o->s, o->n);
    weir_free(o->s);
    o->s = more;
    o->cap = cap;
    return true;
}

bool weir__out_put(weir__out *o, const char *s, size_t n) {
    if (o->failed) return false;
    o->too_long = n > o->most - o->n;
    o->failed = o->too_long || (n > o->cap - o->n && !grow(o, o->n + n));
    if (o->failed) return false;
    if (n) memcpy(o->s + o->n, s, n);
    o->n += n;
    return true;
}
