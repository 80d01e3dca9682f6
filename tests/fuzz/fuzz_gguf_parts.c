#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/gguf_tensors.h"
#include "tests/fuzz/target.h"
#include "tests/support/files.h"

/* The parts of a split file, each after its length in 4 bytes, little endian; what follows the last whole
 * length is the last part. */
enum { MOST = 4 };

static size_t cut(const uint8_t *data, size_t n, const uint8_t **at, size_t *bytes) {
    size_t count = 0, from = 0;
    while (count < MOST && n - from >= 4) {
        uint32_t length;
        memcpy(&length, data + from, sizeof length);
        from += 4;
        at[count] = data + from;
        bytes[count] = length < n - from ? length : n - from;
        from += bytes[count++];
    }
    return count;
}

FUZZ_TARGET(gguf_parts) {
    weir_gguf *part[MOST], *g = NULL;
    const uint8_t *at[MOST];
    size_t bytes[MOST], opened = 0;
    weir_err err = {""};
    const size_t count = cut(data, n, at, bytes);
    while (opened < count &&
           weir__gguf_open_bytes(&part[opened], at[opened], bytes[opened], "fuzz.gguf", &err) == WEIR_OK)
        opened++;
    if (opened < count || count == 0) {
        for (size_t i = 0; i < opened; i++) weir__gguf_close(part[i]);
        return 0;
    }
    if (weir__gguf_join(&g, part, count, &err) == WEIR_OK)
        fuzz_gguf_tensors(g, data, n);
    else
        FUZZ_CHECK(g == NULL && err_is_line(&err, "fuzz.gguf"));
    weir__gguf_close(g);
    return 0;
}
