#include "host/tokenizers/text/ranges.h"

#include "kernels/base/mem.h"

/* The first range that ends after `at`. */
static size_t range_after(const weir__ranges *r, size_t at) {
    size_t lo = 0, hi = r->n;
    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        if (r->list[mid].end > at)
            hi = mid;
        else
            lo = mid + 1;
    }
    return lo;
}

bool weir__ranges_hold(const weir__ranges *r, size_t begin, size_t end) {
    const size_t i = range_after(r, begin);
    return i < r->n && r->list[i].begin <= begin && end <= r->list[i].end;
}

weir_status weir__ranges_clip(const weir__ranges *all, size_t from, size_t to, weir__ranges *out,
                              weir_err *err) {
    const size_t first = range_after(all, from);
    size_t last = first;
    while (last < all->n && all->list[last].begin < to) last++;
    *out = (weir__ranges){weir_alloc(last - first, sizeof *out->list), last - first};
    if (!out->list) return weir_fail(err, WEIR_ENOMEM, "no memory for %zu parts of a text", last - first);
    for (size_t i = first; i < last; i++) {
        const weir__range r = all->list[i];
        out->list[i - first] =
            (weir__range){r.begin > from ? r.begin - from : 0, (r.end < to ? r.end : to) - from};
    }
    return WEIR_OK;
}
