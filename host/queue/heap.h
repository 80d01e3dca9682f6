#ifndef WEIR_HOST_QUEUE_HEAP_H
#define WEIR_HOST_QUEUE_HEAP_H

#include <stdbool.h>
#include <stddef.h>

/* A binary heap of things that know their place, so that one whose rank changed is moved, and any one removed,
 * in logarithmic time. */
#define WEIR_HEAP_OUT ((size_t)-1) /* the place of what is in no heap */

typedef struct weir_heap {
    void **item;
    size_t n, cap;
    bool (*before)(const void *a, const void *b);
    size_t place; /* offset of an item's place in it */
} weir_heap;

bool weir__heap_reserve(weir_heap *h, size_t n); /* room for n items; false: no memory */
void weir__heap_free(weir_heap *h);
void weir__heap_add(weir_heap *h, void *item); /* there is room */
void weir__heap_remove(weir_heap *h, void *item);
void weir__heap_move(weir_heap *h, void *item); /* its rank changed */
void weir__heap_order(weir_heap *h);            /* any ranks changed: linear time */
void *weir__heap_first(const weir_heap *h);     /* NULL: it is empty */

#endif /* WEIR_HOST_QUEUE_HEAP_H */
