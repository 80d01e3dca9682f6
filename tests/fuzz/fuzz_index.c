#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/formats/safetensors/safetensors.h"
#include "tests/fuzz/target.h"
#include "tests/support/files.h"

/* Two shards, a.safetensors with "x" and b.safetensors with "x" and "y", in a directory of this process. */
static char *dir;

static void remove_shards(void) { files_remove_dir(dir); }

static void write_shard(const char *name, const char *header, size_t n_data) {
    uint8_t bytes[256] = {(uint8_t)strlen(header)};
    memcpy(bytes + 8, header, strlen(header));
    files_write(dir, name, bytes, 8 + strlen(header) + n_data);
}

static void make_shards(void) {
    if (dir) return;
    dir = files_temp_dir();
    atexit(remove_shards);
    write_shard("a.safetensors", "{\"x\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1);
    write_shard("b.safetensors",
                "{\"x\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},"
                "\"y\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[2,5]}}",
                5);
}

FUZZ_TARGET(index) {
    make_shards();
    weir_safetensors *s = NULL;
    weir_err err = {""};
    weir_status st = weir__safetensors_open_index(&s, (const char *)data, n, "fuzz.index.json", dir, &err);
    if (st != WEIR_OK) {
        FUZZ_CHECK(s == NULL && err_is_line(&err, ""));
        return 0;
    }
    size_t count = weir__safetensors_count(s);
    FUZZ_CHECK(count >= 1 && count <= 2);
    for (size_t i = 0; i < count; i++) {
        weir_entry e;
        weir__safetensors_at(s, i, &e);
        FUZZ_CHECK(e.bytes >= 1 && e.bytes <= 3 && ((const uint8_t *)e.data)[e.bytes - 1] == 0);
    }
    weir__safetensors_close(s);
    return 0;
}
