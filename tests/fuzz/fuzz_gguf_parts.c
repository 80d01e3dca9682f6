#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/formats/gguf/gguf.h"
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

/* Sorted by name, no name twice, each inside the input. */
static void check_joined(const weir_gguf *g, const uint8_t *data, size_t n) {
    char last[128] = "";
    for (size_t i = 0; i < weir__gguf_count(g); i++) {
        weir_entry e, found;
        weir__gguf_at(g, i, &e);
        FUZZ_CHECK(strcmp(last, e.name) < 0);
        FUZZ_CHECK((const uint8_t *)e.data >= data &&
                   e.bytes <= (size_t)(data + n - (const uint8_t *)e.data));
        FUZZ_CHECK(weir__gguf_find(g, e.name, &found) && found.data == e.data);
        snprintf(last, sizeof last, "%s", e.name);
    }
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
        check_joined(g, data, n);
    else
        FUZZ_CHECK(g == NULL && err_is_line(&err, "fuzz.gguf"));
    weir__gguf_close(g);
    return 0;
}
