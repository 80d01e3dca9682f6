#ifndef WEIR_TESTS_FUZZ_GGUF_TENSORS_H
#define WEIR_TESTS_FUZZ_GGUF_TENSORS_H

#include "host/formats/gguf/gguf.h"

void fuzz_inside(const void *p, size_t bytes, const uint8_t *data, size_t n); /* bytes at p are in data (n) */

/* All of a file, or of parts that were joined: sorted by name, inside the bytes, no byte twice, found under
 * their names. */
void fuzz_gguf_tensors(const weir_gguf *g, const uint8_t *data, size_t n);

#endif
