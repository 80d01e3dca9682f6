#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/target.h"
#include "tests/support/build.h"
#include "tests/support/compare.h"
#include "tests/support/files.h"

/* The fuzz targets in an ordinary build: every seed, then a fixed series of mutations of them. The same
 * inputs each time, so that a failure here is a failure everywhere; finding others is libFuzzer's work. */

enum { MAX_SEEDS = 32, INPUT_CAP = 1 << 16 };

typedef struct seeds {
    uint8_t *bytes[MAX_SEEDS];
    size_t n[MAX_SEEDS];
    int count;
} seeds;

static int by_name(const struct dirent **a, const struct dirent **b) {
    return strcmp((*a)->d_name, (*b)->d_name);
}

static seeds load(const char *name) {
    seeds s = {0};
    struct dirent **list;
    char *dir = files_path(WEIR_SOURCE_DIR "/tests/fuzz/seeds", name);
    int n = scandir(dir, &list, NULL, by_name);
    cr_assert_geq(n, 0, "%s", dir);
    for (int i = 0; i < n; i++) {
        if (list[i]->d_name[0] != '.') {
            char *path = files_path(dir, list[i]->d_name);
            cr_assert_lt(s.count, MAX_SEEDS);
            s.bytes[s.count] = files_read(path, &s.n[s.count]);
            cr_assert_leq(s.n[s.count], INPUT_CAP, "%s", path);
            s.count++;
            free(path);
        }
        free(list[i]);
    }
    free(list);
    free(dir);
    cr_assert_gt(s.count, 0);
    return s;
}

static size_t below(uint64_t *rng, size_t n) { return n ? (size_t)(rng_u64(rng) % n) : 0; }

/* One step: a byte, a bit, a number's edge, a piece out, a piece twice, a piece of another seed, a shorter
 * file. */
static size_t mutate(uint8_t *p, size_t n, const seeds *s, uint64_t *rng) {
    static const uint8_t edges[] = {0,   1,   0x7f, 0x80, 0xff, '"', '{', '}',
                                    '[', ']', ',',  ':',  '-',  '9', '.', '/'};
    size_t at = below(rng, n), len = 1 + below(rng, 16);
    if (len > n - at) len = n - at;
    switch (below(rng, 8)) {
    case 0:
        if (n) p[at] = (uint8_t)rng_u64(rng);
        return n;
    case 1:
        if (n) p[at] ^= (uint8_t)(1u << below(rng, 8));
        return n;
    case 2:
        if (n) p[at] = edges[below(rng, sizeof edges)];
        return n;
    case 3: memset(p + at, edges[below(rng, sizeof edges)], len); return n;
    case 4: memmove(p + at, p + at + len, n - at - len); return n - len;
    case 5:
        if (n + len > INPUT_CAP) return n;
        memmove(p + at + len, p + at, n - at);
        return n + len;
    case 6: {
        size_t k = below(rng, (size_t)s->count), from = below(rng, s->n[k]);
        if (len > s->n[k] - from) len = s->n[k] - from;
        memcpy(p + at, s->bytes[k] + from, len);
        return n;
    }
    default: return below(rng, 4) ? n : at;
    }
}

static void run(const char *name, int (*target)(const uint8_t *, size_t), long rounds) {
    seeds s = load(name);
    uint64_t rng = 20240611;
    uint8_t *work = malloc(INPUT_CAP);
    for (int i = 0; i < s.count; i++) target(s.bytes[i], s.n[i]);
    for (long r = 0; r < rounds; r++) {
        int i = (int)(r % s.count);
        size_t n = s.n[i];
        memcpy(work, s.bytes[i], n);
        for (size_t k = 1 + below(&rng, 4); k > 0; k--) n = mutate(work, n, &s, &rng);
        uint8_t *exact = files_exact(work, n); /* a read past the end is an error under ASan */
        target(exact, n);
        free(exact);
    }
    printf("fuzz_%s: %d seeds, %ld mutations\n", name, s.count, rounds);
    for (int i = 0; i < s.count; i++) free(s.bytes[i]);
    free(work);
}

Test(mutations, safetensors) { run("safetensors", fuzz_safetensors, 20000); }
Test(mutations, stacks) { run("stacks", fuzz_stacks, 20000); }
Test(mutations, index) { run("index", fuzz_index, 5000); }
Test(mutations, request) { run("request", fuzz_request, 20000); }
Test(mutations, ask) { run("ask", fuzz_ask, 20000); }
Test(mutations, gate) { run("gate", fuzz_gate, 20000); }
Test(mutations, connection) { run("connection", fuzz_connection, 5000); }
Test(mutations, config) { run("config", fuzz_config, 20000); }
Test(mutations, gguf) { run("gguf", fuzz_gguf, 50000); }
Test(mutations, gguf_parts) { run("gguf_parts", fuzz_gguf_parts, 50000); }
Test(mutations, spm) { run("spm", fuzz_spm, 5000); }
Test(mutations, tokenizer_json) { run("tokenizer_json", fuzz_tokenizer_json, 10000); }
Test(mutations, tokenizer_gguf) { run("tokenizer_gguf", fuzz_tokenizer_gguf, 10000); }
/* Long texts: ./make.sh fuzz, which has ASan too, takes others every time. */
Test(mutations, text) { run("text", fuzz_text, build_is_sanitized() ? 200 : 1000); }
Test(mutations, chat) { run("chat", fuzz_chat, 50000); }
Test(mutations, jinja) { run("jinja", fuzz_jinja, 20000); }
