#include "tests/host/pairs/damaged_gguf.h"

#include <criterion/criterion.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "host/formats/gguf/gguf.h"
#include "tests/support/files.h"
#include "tests/support/gguf_write.h"

#define KEY "tokenizer.ggml."

typedef struct reader {
    const uint8_t *p, *end;
} reader;

/* 8 bytes, little endian; one that was filtered out counts as 0x80 and sets *damaged. */
static uint64_t number(reader *r, bool *damaged) {
    uint64_t v = 0;
    *damaged = false;
    for (int i = 0; i < 8; i++) {
        if (r->end - r->p >= 3 && memcmp(r->p, "\xef\xbf\xbd", 3) == 0) {
            *damaged = true;
            v |= (uint64_t)0x80 << 8 * i;
            r->p += 3;
        } else {
            cr_assert(r->p < r->end);
            v |= (uint64_t)*r->p++ << 8 * i;
        }
    }
    return v;
}

static bool sound_length(reader r, uint64_t least, uint64_t most, uint64_t *n) {
    bool damaged;
    if (r.end - r.p < 32) return false;
    *n = number(&r, &damaged);
    return !damaged && *n >= least && *n <= most;
}

/* A length of 128 … 255 is the first after which two more strings have lengths. */
static uint64_t guess_length(reader r) {
    for (uint64_t n = 128; n < 256; n++) {
        uint64_t a, b;
        const reader next = {r.p + n, r.end};
        if (!sound_length(next, 1, 127, &a)) continue;
        const reader after = {next.p + 8 + a, r.end};
        if (sound_length(after, 1, 255, &b)) return n;
    }
    cr_assert(false, "no length fits");
    return 0;
}

/* Finds the value of a key; false if there is none. */
static bool find(const uint8_t *file, size_t n, const char *key, reader *r) {
    const uint8_t *at = memmem(file, n, key, strlen(key));
    if (!at) return false;
    *r = (reader){at + strlen(key), file + n};
    return true;
}

/* Copies an array of strings up to the string that is the next key; returns how many. */
static uint64_t copy_strings(const uint8_t *file, size_t n, const char *key, gguf_blob *b) {
    reader r;
    bool damaged;
    uint64_t count = 0;
    if (!find(file, n, key, &r)) return 0;
    r.p += 8; /* two kinds */
    number(&r, &damaged);
    gguf_key(b, key, KV_ARRAY);
    gguf_raw_int(b, KV_STRING, 4);
    const size_t place = b->n;
    gguf_raw_int(b, 0, 8);
    for (;; count++) {
        uint64_t len = number(&r, &damaged);
        if (damaged) len = guess_length(r);
        cr_assert_leq(len, (uint64_t)(r.end - r.p));
        if (len > strlen(KEY) && memcmp(r.p, KEY, strlen(KEY)) == 0) break;
        gguf_raw_int(b, len, 8);
        gguf_raw(b, r.p, len);
        r.p += len;
    }
    gguf_poke(b, place, count, 8);
    return count;
}

static void copy_types(const uint8_t *file, size_t n, uint64_t count, gguf_blob *b) {
    reader r;
    bool damaged;
    cr_assert(find(file, n, KEY "token_type", &r));
    r.p += 8;
    number(&r, &damaged);
    gguf_key(b, KEY "token_type", KV_ARRAY);
    gguf_raw_int(b, KV_I32, 4);
    gguf_raw_int(b, count, 8);
    cr_assert_geq((uint64_t)(r.end - r.p), 4 * count);
    gguf_raw(b, r.p, 4 * count); /* small numbers: no byte of them was filtered */
}

/* Of the shared folder's llama2/tokenizer.model: pieces after the bytes fall by one each, runs of spaces have
 * -1e9. */
static void llama2_scores(const gguf_blob *from, size_t strings_at, uint64_t count, gguf_blob *b) {
    const uint8_t *p = from->p + strings_at;
    gguf_key(b, KEY "scores", KV_ARRAY);
    gguf_raw_int(b, KV_F32, 4);
    gguf_raw_int(b, count, 8);
    for (uint64_t i = 0; i < count; i++) {
        uint64_t len;
        memcpy(&len, p, 8);
        bool spaces = len % 3 == 0;
        for (uint64_t k = 0; k < len && spaces; k += 3) spaces = memcmp(p + 8 + k, "\xe2\x96\x81", 3) == 0;
        const float score = i < 259 ? 0 : spaces ? -1e9f : -(float)(i - 259);
        gguf_raw(b, &score, 4);
        p += 8 + len;
    }
}

weir_tokenizer *damaged_gguf_open(const char *path, bool scored) {
    size_t n;
    uint8_t *file = files_read(path, &n);
    cr_assert(file, "%s", path);
    gguf_blob b = gguf_begin(3);
    gguf_text(&b, KEY "model", scored ? "llama" : "gpt2");
    reader r;
    if (!scored) {
        cr_assert(find(file, n, KEY "pre", &r));
        char name[32] = "";
        cr_assert_lt(r.p[4], sizeof name);
        memcpy(name, r.p + 12, r.p[4]);
        gguf_text(&b, KEY "pre", name);
    }
    const size_t strings = b.n + 8 + strlen(KEY "tokens") + 4 + 4 + 8;
    const uint64_t count = copy_strings(file, n, KEY "tokens", &b);
    copy_types(file, n, count, &b);
    if (scored)
        llama2_scores(&b, strings, count, &b);
    else
        cr_assert_gt(copy_strings(file, n, KEY "merges", &b), 0);
    gguf_finish(&b);
    weir_gguf *g = NULL;
    weir_tokenizer *t = NULL;
    weir_err err = {""};
    cr_assert_eq(weir__gguf_open_bytes(&g, b.p, b.n, path, &err), WEIR_OK, "%s", err.text);
    cr_assert_eq(weir__tokenizer_open_gguf(&t, g, &err), WEIR_OK, "%s", err.text);
    weir__gguf_close(g);
    gguf_free(&b);
    free(file);
    return t;
}
