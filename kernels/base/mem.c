#include "kernels/base/mem.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGN = 64 }; /* a cache line and the widest vector */

static void *default_alloc(void *ud, size_t align, size_t bytes) {
    (void)ud;
    return aligned_alloc(align, bytes);
}

static void default_free(void *ud, void *p) {
    (void)ud;
    free(p);
}

static const weir_allocator default_allocator = {default_alloc, default_free, NULL};
static weir_allocator current = {default_alloc, default_free, NULL};

void weir_set_allocator(const weir_allocator *a) { current = a ? *a : default_allocator; }

/* n * size rounded up to whole lines, at least one; 0 if that does not fit in a size_t. */
static size_t padded_bytes(size_t n, size_t size) {
    if (size != 0 && n > (SIZE_MAX - ALIGN) / size) return 0;
    const size_t bytes = n * size;
    return bytes == 0 ? ALIGN : (bytes + ALIGN - 1) / ALIGN * ALIGN;
}

void *weir_alloc(size_t n, size_t size) {
    const size_t bytes = padded_bytes(n, size);
    return bytes == 0 ? NULL : current.alloc(current.ud, ALIGN, bytes);
}

void *weir_calloc(size_t n, size_t size) {
    void *p = weir_alloc(n, size);
    if (p) memset(p, 0, padded_bytes(n, size));
    return p;
}

void weir_free(void *p) {
    if (p) current.free(current.ud, p);
}

char *weir_strdup(const char *s) {
    const size_t bytes = strlen(s) + 1;
    char *p = weir_alloc(bytes, 1);
    if (p) memcpy(p, s, bytes);
    return p;
}
