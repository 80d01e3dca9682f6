#include "tests/fuzz/gguf_tensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/target.h"

void fuzz_inside(const void *p, size_t bytes, const uint8_t *data, size_t n) {
    FUZZ_CHECK((const uint8_t *)p >= data && (const uint8_t *)p <= data + n &&
               bytes <= (size_t)(data + n - (const uint8_t *)p));
}

void fuzz_gguf_tensors(const weir_gguf *g, const uint8_t *data, size_t n) {
    size_t total = 0;
    char last[128] = "";
    for (size_t i = 0; i < weir__gguf_count(g); i++) {
        weir_entry e, found;
        weir__gguf_at(g, i, &e);
        FUZZ_CHECK(e.n_dim >= 1 && e.n_dim <= 4 && e.bytes > 0);
        for (int d = 0; d < e.n_dim; d++) FUZZ_CHECK(e.shape[d] >= 1);
        fuzz_inside(e.data, e.bytes, data, n);
        FUZZ_CHECK(strcmp(last, e.name) < 0);
        FUZZ_CHECK(weir__gguf_find(g, e.name, &found) && found.data == e.data && found.bytes == e.bytes);
        snprintf(last, sizeof last, "%s", e.name);
        weir__gguf_release(g, e.name);
        total += e.bytes;
    }
    FUZZ_CHECK(total <= n);
}
