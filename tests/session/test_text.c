/* Text while tokens come: characters of several tokens, stop strings, views in between. Sessions are fed by
 * hand, on tokenizers alone: no model is run. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/formats/gguf/gguf.h"
#include "host/session/session.h"
#include "kernels/base/mem.h"
#include "tests/support/alloc.h"
#include "tests/support/files.h"

#define GOLDEN WEIR_SOURCE_DIR "/tests/golden/tokenizer/"

enum { MOST = 400 };

/* ---- a tokenizer of single bytes ----------------------------------------------------------------------- */

/* The character that stands for a byte in a byte-level vocabulary: the printable ones of Latin-1 themselves,
 * the others from U+0100 on (Radford et al. 2019, GPT-2's encoder). */
static int byte_char(int byte) {
    int other = 0x100;
    for (int b = 0; b < 256; b++) {
        const bool same = (b >= '!' && b <= '~') || (b >= 0xa1 && b <= 0xac) || b >= 0xae;
        if (b == byte) return same ? b : other;
        other += !same;
    }
    return 0;
}

/* Token b is byte b; further tokens are given as they stand. Token 256 + i is more[i], the one after them has
 * no text. */
static weir_tokenizer *byte_tokenizer(const char *const *more, int n_more) {
    char json[16384] = "{\"model\":{\"type\":\"BPE\",\"merges\":[],\"vocab\":{";
    size_t n = strlen(json);
    for (int b = 0; b < 256; b++)
        n += (size_t)snprintf(json + n, sizeof json - n, "%s\"\\u%04x\":%d", b ? "," : "",
                              (unsigned)byte_char(b), b);
    for (int i = 0; i < n_more; i++)
        n += (size_t)snprintf(json + n, sizeof json - n, ",\"%s\":%d", more[i], 256 + i);
    n += (size_t)snprintf(json + n, sizeof json - n,
                          "}},\"added_tokens\":[{\"id\":%d,\"content\":\"<none>\",\"special\":true}],",
                          256 + n_more);
    snprintf(json + n, sizeof json - n,
             "\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false},"
             "\"decoder\":{\"type\":\"ByteLevel\"}}");
    weir_tokenizer *t = NULL;
    weir_err err = {""};
    cr_assert(weir__tokenizer_open_json_bytes(&t, json, strlen(json), "bytes", &err) == WEIR_OK, "%s",
              err.text);
    return t;
}

static weir_engine engine_of(weir_tokenizer *t) {
    static weir_backend idle; /* an answer says its ways */
    weir_engine e;
    memset(&e, 0, sizeof e);
    e.pair.be = &idle;
    e.pair.tok = t;
    e.pair.n_vocab = weir__tokenizer_size(t);
    e.pair.ctx_size = 4096;
    return e;
}

/* ---- feeding ------------------------------------------------------------------------------------------- */

typedef struct heard {
    char text[MOST * 16];
    size_t bytes;
    int32_t ids[MOST];
    int n;
} heard;

static bool hear(void *ud, weir_session *s, const weir_token_event *ev) {
    heard *h = ud;
    (void)s;
    memcpy(h->text + h->bytes, ev->text, ev->bytes);
    h->bytes += ev->bytes;
    h->text[h->bytes] = '\0';
    h->ids[h->n++] = ev->id;
    return true;
}

static weir_session *begin(weir_engine *e, const char *const *stop, int n_stop, heard *h) {
    weir_session_options o = weir_session_options_default();
    o.method = WEIR_METHOD_VERIFIER;
    o.max_tokens = MOST;
    o.stop = stop;
    o.n_stop = n_stop;
    weir_session *s = NULL;
    weir_err err = {""};
    if (h) memset(h, 0, sizeof *h);
    cr_assert(weir_session_create(e, &o, (int32_t[]){1}, 1, h ? hear : NULL, h, &s, &err) == WEIR_OK, "%s",
              err.text);
    return s;
}

/* What a view of a running session may show: the beginning of what the end will, no character in pieces. */
typedef struct look {
    char text[MOST * 16];
    size_t bytes;
} look;

/* All tokens, a view after every `every`-th of them (0: none), then the end. Views are kept for a comparison
 * with the end. */
static weir_session_view feed(weir_session *s, const int32_t *ids, int n, int every) {
    look *seen = calloc((size_t)n + 1, sizeof *seen);
    int n_seen = 0;
    weir_session_view v;
    for (int i = 0; i < n; i++) {
        if (!weir__session_append(s, ids[i], WEIR_SOURCE_VERIFIER, 0, 0, NULL)) break;
        if (every == 0 || (i + 1) % every != 0) continue;
        weir_session_get(s, &v);
        cr_assert(v.finish == WEIR_RUNNING && v.n == (size_t)i + 1 && v.bytes < sizeof seen->text);
        memcpy(seen[n_seen].text, v.text, v.bytes);
        seen[n_seen++].bytes = v.bytes;
    }
    weir__session_end(s, WEIR_ENDED_EOS);
    weir_session_get(s, &v);
    for (int i = 0; i < n_seen; i++) {
        if (s->opt.n_stop > 0) break; /* a stop string may take back what a view has shown */
        cr_assert(seen[i].bytes <= v.bytes && memcmp(seen[i].text, v.text, seen[i].bytes) == 0,
                  "view %d: \"%.*s\", in the end \"%s\"", i, (int)seen[i].bytes, seen[i].text, v.text);
    }
    free(seen);
    return v;
}

static int bytes_as_ids(const char *text, size_t n, int32_t *ids) {
    for (size_t i = 0; i < n; i++) ids[i] = (unsigned char)text[i];
    return (int)n;
}

/* With and without a callback, views nowhere, everywhere and in between: always the text of the ids as a
 * whole. */
static void expect_whole(weir_engine *e, const int32_t *ids, int n, const char *what) {
    static heard h;
    char *text = NULL;
    size_t bytes = 0;
    cr_assert(weir__tokenizer_decode(e->pair.tok, ids, (size_t)n, &text, &bytes, NULL) == WEIR_OK);
    for (int every = 0; every <= 5; every++) {
        for (int streams = 0; streams < 2; streams++) {
            weir_session *s = begin(e, NULL, 0, streams ? &h : NULL);
            const weir_session_view v = feed(s, ids, n, every);
            cr_assert(v.n == (size_t)n && v.bytes == bytes && memcmp(v.text, text, bytes) == 0,
                      "%s, a view every %d, streams %d: \"%s\", want \"%s\"", what, every, streams, v.text,
                      text);
            cr_assert(!streams || (h.bytes == bytes && memcmp(h.text, text, bytes) == 0 && h.n == n),
                      "%s, a view every %d: \"%s\" told, want \"%s\"", what, every, h.text, text);
            weir_session_free(s);
        }
    }
    weir_free(text);
}

/* ---- characters ---------------------------------------------------------------------------------------- */

Test(text, a_character_of_several_tokens_after_any_lead_in) {
    weir_engine e = engine_of(byte_tokenizer(NULL, 0));
    static const char *const characters[] = {"\xf0\x9f\x91\x8d", "\xe1\x9e\x80", "\xc3\xa9",
                                             "\xf0\x9f\x91\x8d\xe1\x9e\x80\xe1\x9e\xb6"};
    for (int lead = 0; lead < 14; lead++) {
        for (size_t c = 0; c < 4; c++) {
            char text[64];
            int32_t ids[64];
            snprintf(text, sizeof text, "%.*s%sxyz", lead, "abcdefghijklmn", characters[c]);
            char what[80];
            snprintf(what, sizeof what, "lead-in %d, character %zu", lead, c);
            expect_whole(&e, ids, bytes_as_ids(text, strlen(text), ids), what);
        }
    }
    weir__tokenizer_free(e.pair.tok);
}

Test(text, bytes_that_are_no_character) {
    weir_engine e = engine_of(byte_tokenizer(NULL, 0));
    static const char *const texts[] = {"ab\xf0\x9f",
                                        "\xf0",
                                        "a\xf0\x9fz",
                                        "\xff\xff\xff\xff\xff\xff"
                                        "a",
                                        "\x80\x80\x80\x80\xe1\x9e\x80",
                                        "\xef\xbf\xbd\xef\xbf\xbd x",
                                        "\xf0\x9f\x91\xf0\x9f\x91\x8d",
                                        "a\xe1\x9e\xe1\x9e\x80\xe1",
                                        "\xed\xa0\x80 b"};
    int32_t ids[MOST];
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        expect_whole(&e, ids, bytes_as_ids(texts[i], strlen(texts[i]), ids), texts[i]);
    /* longer than any window: what cannot be a character's beginning any more is reported, and the window
     * stays short */
    for (int i = 0; i < MOST - 8; i++) ids[i] = i % 7 == 6 ? 0xe1 : 0xff;
    memcpy(ids + MOST - 8, (int32_t[]){0xf0, 0x9f, 0x91, 0x8d, 'e', 'n', 'd', 0xf0}, 8 * sizeof *ids);
    expect_whole(&e, ids, MOST, "no character for long");
    /* a character whose bytes have tokens without a text between them: a window that is made anew would begin
     * inside */
    static const int32_t gap[19] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xf0, 256,
                                    256,  0x9f, 0x91, 256,  256,  256,  256,  0x8d, 'z'};
    expect_whole(&e, gap, 19, "a character over tokens without a text");
    heard h;
    weir_session *s = begin(&e, NULL, 0, &h);
    for (int i = 0; i < MOST - 8; i++) {
        cr_assert(weir__session_append(s, ids[i], WEIR_SOURCE_VERIFIER, 0, 0, NULL));
        cr_assert(h.bytes + 3 * 18 >= 3 * (size_t)i && s->n - s->win.read <= 17,
                  "token %d: %zu bytes told, %d decoded", i, h.bytes, (int)(s->n - s->win.read));
    }
    weir_session_free(s);
    weir__tokenizer_free(e.pair.tok);
}

Test(text, a_view_shows_no_half_character) {
    weir_engine e = engine_of(byte_tokenizer(NULL, 0));
    for (int streams = 0; streams < 2; streams++) {
        heard h;
        weir_session *s = begin(&e, NULL, 0, streams ? &h : NULL);
        static const char *const want[] = {"a",
                                           "a",
                                           "a",
                                           "a",
                                           "a\xf0\x9f\x91\x8d",
                                           "a\xf0\x9f\x91\x8d"
                                           "b"};
        for (int i = 0; i < 6; i++) {
            weir__session_append(s,
                                 (unsigned char)"a\xf0\x9f\x91\x8d"
                                                "b"[i],
                                 WEIR_SOURCE_VERIFIER, 0, 0, NULL);
            for (int again = 0; again < 2; again++) {
                weir_session_view v;
                weir_session_get(s, &v);
                cr_expect(strcmp(v.text, want[i]) == 0 && v.bytes == strlen(want[i]), "token %d: \"%s\"", i,
                          v.text);
            }
        }
        weir_session_free(s);
    }
    weir__tokenizer_free(e.pair.tok);
}

/* ---- every tokenizer ----------------------------------------------------------------------------------- */

static weir_tokenizer *open_golden(const char *name) {
    char path[300];
    weir_tokenizer *t = NULL;
    weir_err err = {""};
    snprintf(path, sizeof path, GOLDEN "%s", name);
    if (strstr(name, ".json"))
        cr_assert(weir__tokenizer_open_json(&t, path, &err) == WEIR_OK, "%s", err.text);
    if (strstr(name, ".model"))
        cr_assert(weir__tokenizer_open_spm_plain(&t, path, &err) == WEIR_OK, "%s", err.text);
    if (strstr(name, ".gguf")) {
        weir_gguf *g = NULL;
        cr_assert(weir__gguf_open(&g, path, &err) == WEIR_OK &&
                      weir__tokenizer_open_gguf(&t, g, &err) == WEIR_OK,
                  "%s", err.text);
        weir__gguf_close(g);
    }
    cr_assert(t, "%s", name);
    return t;
}

Test(text, any_ids_of_any_tokenizer) {
    static const char *const names[] = {"tiny_bpe.model",      "tiny_deepseek.gguf", "tiny_deepseek.json",
                                        "tiny_gemma.gguf",     "tiny_gemma.json",    "tiny_gpt2.json",
                                        "tiny_llama2.gguf",    "tiny_llama2.json",   "tiny_llama3.json",
                                        "tiny_metaspace.json", "tiny_qwen2.json"};
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        weir_engine e = engine_of(open_golden(names[k]));
        uint32_t x = 12345;
        for (int turn = 0; turn < 60; turn++) {
            int32_t ids[48];
            for (int i = 0; i < 48; i++) {
                x = x * 1664525u + 1013904223u;
                ids[i] = (int32_t)((x >> 8) % (uint32_t)(turn % 2               ? e.pair.n_vocab
                                                         : e.pair.n_vocab < 270 ? e.pair.n_vocab
                                                                                : 270));
            }
            expect_whole(&e, ids, turn % 3 ? 48 : 7, names[k]);
        }
        weir__tokenizer_free(e.pair.tok);
    }
}

/* Characters that a vocabulary writes byte by byte: in some of these each byte is a token with a mark of its
 * own. */
Test(text, characters_of_bytes_of_any_tokenizer) {
    static const char *const names[] = {"tiny_deepseek.json", "tiny_gemma.gguf",    "tiny_gemma.json",
                                        "tiny_gpt2.json",     "tiny_llama2.gguf",   "tiny_llama2.json",
                                        "tiny_llama3.json",   "tiny_metaspace.json"};
    static const char text[] =
        "a\xf0\x9f\x91\x8d b\xe1\x9e\x80\xe1\x9e\xb6\xf0\x9f\x8f\xbd\xc3\xa9 \xf0\x9f\x91\x8d";
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        weir_engine e = engine_of(open_golden(names[k]));
        int32_t *ids = NULL;
        size_t n = 0;
        cr_assert(weir__tokenizer_encode(e.pair.tok, text, strlen(text), &ids, &n, NULL) == WEIR_OK);
        for (size_t upto = 1; upto <= n; upto++) expect_whole(&e, ids, (int)upto, names[k]);
        weir_free(ids);
        weir__tokenizer_free(e.pair.tok);
    }
}

/* The same from the tokens of the bytes themselves, where the text would have been whole tokens. */
Test(text, characters_of_tokens_of_one_byte) {
    static const char *const names[] = {"tiny_llama2.json", "tiny_llama2.gguf", "tiny_gemma.json",
                                        "tiny_gemma.gguf"};
    static const unsigned char text[] = "\xf0\x9f\x91\x8d\xe1\x9e\x80\xc3\xa9\xf0\x9f\x8f\xbd";
    enum { N = sizeof text - 1 };
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        weir_engine e = engine_of(open_golden(names[k]));
        int32_t ids[N];
        for (int i = 0; i < N; i++) {
            char piece[8];
            snprintf(piece, sizeof piece, "<0x%02X>", text[i]);
            ids[i] = 0;
            while (ids[i] < e.pair.n_vocab && strcmp(weir__tokenizer_piece(e.pair.tok, ids[i]), piece) != 0)
                ids[i]++;
            cr_assert(ids[i] < e.pair.n_vocab, "%s: no %s", names[k], piece);
        }
        for (int upto = 1; upto <= N; upto++) expect_whole(&e, ids, upto, names[k]);
        weir__tokenizer_free(e.pair.tok);
    }
}

/* ---- stop strings -------------------------------------------------------------------------------------- */

/* Tokens of one byte each and every stop string of a text: it is found at once, however long ago it began. */
Test(text, a_stop_string_that_began_long_ago) {
    weir_engine e = engine_of(byte_tokenizer(NULL, 0));
    static const char text[] = "once upon a \xf0\x9f\x91\x8d time there were three";
    const int n = (int)strlen(text);
    int32_t ids[64];
    bytes_as_ids(text, (size_t)n, ids);
    for (int from = 0; from < n; from++) {
        for (int len = 1; from + len <= n; len++) {
            if (((unsigned char)text[from] & 0xc0u) == 0x80u ||
                ((unsigned char)text[from + len] & 0xc0u) == 0x80u)
                continue;
            char stop[64] = "";
            memcpy(stop, text + from, (size_t)len);
            const char *const stops[] = {"zz", stop};
            for (int every = 0; every < 3; every++) {
                heard h;
                weir_session *s = begin(&e, stops, 2, every == 1 ? NULL : &h);
                const weir_session_view v = feed(s, ids, n, every);
                const size_t want = (size_t)(strstr(text, stop) - text);
                cr_assert(v.bytes == want && memcmp(v.text, text, want) == 0 && v.n == want,
                          "stop \"%s\": \"%s\"", stop, v.text);
                cr_assert(s->n == (int64_t)want &&
                          (every == 1 || (strcmp(h.text, v.text) == 0 && h.n == (int)want)));
                weir_session_free(s);
            }
        }
    }
    weir__tokenizer_free(e.pair.tok);
}

/* Of two that come with one token the one that begins first counts, whichever is named first. */
Test(text, the_first_of_two_stop_strings) {
    static const char *const more[] = {"abcdef"};
    weir_engine e = engine_of(byte_tokenizer(more, 1));
    static const char *const stops[][2] = {{"b", "e"}, {"e", "b"}, {"bcd", "cd"}, {"cd", "bcd"}};
    for (size_t i = 0; i < sizeof stops / sizeof *stops; i++) {
        weir_session *s = begin(&e, stops[i], 2, NULL);
        const weir_session_view v = feed(s, (int32_t[]){'x', 256}, 2, 1);
        cr_expect_str_eq(v.text, "xa", "%s, %s: \"%s\"", stops[i][0], stops[i][1], v.text);
        weir_session_free(s);
    }
    weir__tokenizer_free(e.pair.tok);
}

/* A token of which a stop string leaves the beginning: it stays among the ids, and what is reported of it
 * ends there. */
Test(text, a_token_that_straddles_a_stop_string) {
    static const char *const more[] = {"abc", "def", "ghi"};
    weir_engine e = engine_of(byte_tokenizer(more, 3));
    static const struct {
        const char *stop, *text;
        int n;
    } cases[] = {{"fg", "abcde", 2}, {"cdefg", "ab", 1}, {"def", "abc", 1},
                 {"abc", "", 0},     {"c", "ab", 1},     {"hi", "abcdefg", 3}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *const stops[] = {cases[i].stop};
        for (int streams = 0; streams < 2; streams++) {
            heard h;
            weir_session *s = begin(&e, stops, 1, streams ? &h : NULL);
            const weir_session_view v = feed(s, (int32_t[]){256, 257, 258, 'x'}, 4, 1);
            cr_expect_str_eq(v.text, cases[i].text);
            cr_expect(v.n == (size_t)cases[i].n && v.finish == WEIR_FINISH_STOP, "stop \"%s\": %zu ids",
                      cases[i].stop, v.n);
            cr_expect(!streams || (strcmp(h.text, v.text) == 0 && h.n == cases[i].n),
                      "stop \"%s\": \"%s\" told", cases[i].stop, h.text);
            weir_session_free(s);
        }
    }
    weir__tokenizer_free(e.pair.tok);
}

/* The end makes a character of bytes that were held; a stop string may be in them. */
Test(text, a_stop_string_in_the_bytes_that_the_end_releases) {
    weir_engine e = engine_of(byte_tokenizer(NULL, 0));
    static const char *const stops[] = {"b\xef\xbf\xbd"};
    heard h;
    weir_session *s = begin(&e, stops, 1, &h);
    const weir_session_view v = feed(s, (int32_t[]){'a', 'b', 0xf0}, 3, 1);
    cr_expect(strcmp(v.text, "a") == 0 && strcmp(h.text, "a") == 0 && v.n == 1, "\"%s\"", v.text);
    weir_session_free(s);
    weir__tokenizer_free(e.pair.tok);
}

/* At the limit it is the stop string that ended the answer, and nothing else. */
Test(text, a_stop_string_at_the_limit_is_the_reason) {
    weir_engine e = engine_of(byte_tokenizer(NULL, 0));
    static const char *const stops[2][1] = {{"b\xef\xbf\xbd"}, {"c\xef\xbf\xbd"}};
    for (int i = 0; i < 2; i++) {
        weir_session *s = begin(&e, stops[i], 1, NULL);
        weir_session_view v;
        for (int k = 0; k < 3; k++)
            weir__session_append(s, "ab\xf0"[k] & 0xff, WEIR_SOURCE_VERIFIER, 0, 0, NULL);
        cr_assert(weir_session_state(s) == WEIR_RUNNING);
        weir__session_end(s, WEIR_ENDED_LIMIT);
        weir_session_get(s, &v);
        cr_expect(v.finish == (i == 0 ? WEIR_FINISH_STOP : WEIR_FINISH_LENGTH) && v.n == (i == 0 ? 1 : 3));
        weir_session_free(s);
    }
    weir__tokenizer_free(e.pair.tok);
}

static bool refuse_second(void *ud, weir_session *s, const weir_token_event *ev) {
    cr_assert(s && ev->bytes == 0 && ev->text[0] == '\0');
    return ++*(int *)ud < 2;
}

Test(text, a_callback_says_no_where_there_is_no_text) {
    weir_engine e = {.pair = {.n_vocab = 300, .ctx_size = 4096}};
    weir_session_options o = weir_session_options_default();
    int told = 0;
    weir_session *s = NULL;
    o.method = WEIR_METHOD_VERIFIER;
    cr_assert(weir_session_create(&e, &o, (int32_t[]){1}, 1, refuse_second, &told, &s, NULL) == WEIR_OK);
    for (int i = 0; i < 5; i++) {
        const bool more = weir__session_append(s, 7, WEIR_SOURCE_VERIFIER, 0, 0, NULL);
        cr_assert(more == (i < 1), "token %d", i);
        if (!more) break;
    }
    cr_expect(told == 2 && s->n == 2 && weir_session_state(s) == WEIR_FINISH_CANCELLED);
    weir_session_free(s);
}

/* ---- memory -------------------------------------------------------------------------------------------- */

Test(text, every_allocation_may_fail) {
    weir_engine e = engine_of(byte_tokenizer(NULL, 0));
    static const char *const stops[] = {"zz"};
    int32_t ids[40];
    for (int i = 0; i < 40; i++) ids[i] = i < 30 ? 0xff : 'a';
    for (int streams = 0; streams < 2; streams++) {
        for (long fail = 0;; fail++) {
            heard h;
            weir_session *s = begin(&e, stops, streams, streams ? &h : NULL);
            alloc_install(fail + 1);
            weir_session_view v = {.n = 0};
            int i = 0;
            while (i < 40 && weir__session_append(s, ids[i], WEIR_SOURCE_VERIFIER, 0, 0, NULL)) i++;
            cr_assert(!streams || alloc_count() <= fail || i < 40, "allocation %ld: it goes on", fail);
            weir_session_get(s, &v);
            weir__session_end(s, WEIR_ENDED_LIMIT);
            weir_session_get(s, &v);
            const bool survived = alloc_count() <= fail;
            const weir_finish finish = v.finish;
            alloc_uninstall();
            cr_assert(!survived || (finish == WEIR_FINISH_LENGTH && v.n == 40 && v.bytes > 90));
            cr_assert(survived || !streams || finish == WEIR_FINISH_CANCELLED,
                      "allocation %ld of the session", fail);
            weir_session_free(s);
            if (survived) break;
        }
    }
    weir__tokenizer_free(e.pair.tok);
}
