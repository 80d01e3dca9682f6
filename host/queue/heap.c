#include "host/queue/heap.h"

#include <string.h>

#include "kernels/base/mem.h"

static size_t *place_of(const weir_heap *h, void *item) {
    return (size_t *)(void *)((char *)item + h->place);
}

static void put(weir_heap *h, size_t at, void *item) {
    h->item[at] = item;
    *place_of(h, item) = at;
}

bool weir__heap_reserve(weir_heap *h, size_t n) {
    if (n <= h->cap) return true;
    const size_t cap = n > 2 * h->cap ? n : 2 * h->cap;
    void **item = weir_alloc(cap, sizeof *item);
    if (!item) return false;
    if (h->n > 0) memcpy(item, h->item, h->n * sizeof *item);
    weir_free(h->item);
    h->item = item;
    h->cap = cap;
    return true;
}

void weir__heap_free(weir_heap *h) { weir_free(h->item); }

static void rise(weir_heap *h, size_t at) {
    void *item = h->item[at];
    for (; at > 0 && h->before(item, h->item[(at - 1) / 2]); at = (at - 1) / 2)
        put(h, at, h->item[(at - 1) / 2]);
    put(h, at, item);
}

static void sink(weir_heap *h, size_t at) {
    void *item = h->item[at];
    for (size_t next; (next = 2 * at + 1) < h->n; at = next) {
        if (next + 1 < h->n && h->before(h->item[next + 1], h->item[next])) next++;
        if (!h->before(h->item[next], item)) break;
        put(h, at, h->item[next]);
    }
    put(h, at, item);
}

void weir__heap_add(weir_heap *h, void *item) {
    put(h, h->n++, item);
    rise(h, h->n - 1);
}

void weir__heap_move(weir_heap *h, void *item) {
    rise(h, *place_of(h, item));
    sink(h, *place_of(h, item));
}

void weir__heap_remove(weir_heap *h, void *item) {
    const size_t at = *place_of(h, item);
    void *last = h->item[--h->n];
    *place_of(h, item) = WEIR_HEAP_OUT;
    if (at == h->n) return;
    put(h, at, last);
    weir__heap_move(h, last);
}

void weir__heap_order(weir_heap *h) {
    for (size_t i = h->n / 2; i-- > 0;) sink(h, i);
}

void *weir__heap_first(const weir_heap *h) { return h->n > 0 ? h->item[0] : NULL; }
