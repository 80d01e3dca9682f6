#ifndef WEIR_KERNELS_BASE_MEM_H
#define WEIR_KERNELS_BASE_MEM_H

#include <stddef.h>

/* All host memory of the project goes through one replaceable hook, so that a test can make the
 * n-th allocation fail and count what is still held. Not for libraries: they use malloc. */
typedef struct weir_allocator {
    void *(*alloc)(void *ud, size_t align, size_t bytes); /* NULL = out of memory */
    void (*free)(void *ud, void *p);                      /* p is not NULL */
    void *ud;
} weir_allocator;

/* Replaces the hook (NULL restores the default). Call while nothing is allocated: not thread-safe. */
void weir_set_allocator(const weir_allocator *a);

/* bytes == 0 gives a valid pointer that must not be dereferenced. Sizes are products: pass n and size,
 * checked for overflow. */
void *weir_alloc(size_t n, size_t size);  /* 64-byte aligned, contents undefined; NULL on failure */
void *weir_calloc(size_t n, size_t size); /* 64-byte aligned, zeroed */
void weir_free(void *p);                  /* NULL allowed */
char *weir_strdup(const char *s);         /* NULL on failure */

#endif /* WEIR_KERNELS_BASE_MEM_H */
