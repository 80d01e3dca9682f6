/* A tokenizer from the metadata of a GGUF file. */
#include <math.h>
#include <string.h>

#include "host/formats/gguf/gguf.h"
#include "host/tokenizers/pipeline/bpe.h"
#include "host/tokenizers/pipeline/encode.h"
#include "host/tokenizers/pipeline/pipeline.h"
#include "host/tokenizers/text/utf8.h"
#include "host/tokenizers/tokenizer.h"

#define KEY "tokenizer.ggml."

static bool key_is(const weir_gguf *g, const char *key, const char *value) {
    const char *s;
    size_t n;
    return weir__gguf_string(g, key, &s, &n) && n == strlen(value) && memcmp(s, value, n) == 0;
}

/* llama.cpp's three types that text reaches only when asked to. */
static weir_status add_marker(weir__pipeline *b, int32_t id, weir_err *err) {
    const weir__token_kind k = b->vocab.kind[id];
    const char *text = weir__vocab_text(&b->vocab, id);
    const size_t n = weir__vocab_bytes(&b->vocab, id);
    if (k != WEIR__TOKEN_CONTROL && k != WEIR__TOKEN_UNKNOWN && k != WEIR__TOKEN_USER) return WEIR_OK;
    /* It would cut characters of a text in two, and patterns need whole ones. */
    if (b->byte_level && !weir__utf8_is_valid(text, n))
        return weir_fail(err, WEIR_EFORMAT,
                         KEY "tokens: token %d is found in texts (type %d) and is not UTF-8", id, (int)k);
    return weir__added_put(&b->before, text, n, id, k == WEIR__TOKEN_USER ? 0 : WEIR__ADDED_SPECIAL, err);
}

/* llama.cpp (llama-vocab.cpp) makes control tokens of what ends a text or a turn, whatever the file says of
 * them: else a text could end a turn by its words. */
typedef struct ends {
    int64_t id[3];
} ends;

static ends find_ends(const weir_gguf *g) {
    static const char *const keys[] = {KEY "eos_token_id", KEY "eot_token_id", KEY "eom_token_id"};
    ends e;
    for (int k = 0; k < 3; k++)
        if (!weir__gguf_int(g, keys[k], &e.id[k])) e.id[k] = -1;
    return e;
}

static bool is_end(const ends *e, size_t id, const char *text, size_t n) {
    for (int k = 0; k < 3; k++)
        if (e->id[k] >= 0 && (uint64_t)e->id[k] == id) return true;
    return weir__gguf_is_end_text(text, n);
}

static weir_status read_tokens(weir__pipeline *b, const weir_gguf *g, weir_err *err) {
    const ends e = find_ends(g);
    size_t n, n_score = 0, n_type = 0;
    if (!weir__gguf_array_length(g, KEY "tokens", &n) || n == 0)
        return weir_fail(err, WEIR_EFORMAT, KEY "tokens: expected an array of strings");
    if (weir__gguf_has(g, KEY "scores") &&
        (!weir__gguf_array_length(g, KEY "scores", &n_score) || n_score < n))
        return weir_fail(err, WEIR_EFORMAT, KEY "scores: %zu values, expected %zu", n_score, n);
    if (weir__gguf_has(g, KEY "token_type") &&
        (!weir__gguf_array_length(g, KEY "token_type", &n_type) || n_type < n))
        return weir_fail(err, WEIR_EFORMAT, KEY "token_type: %zu values, expected %zu", n_type, n);
    if (b->by_score && n_score == 0)
        return weir_fail(err, WEIR_EFORMAT, "no " KEY "scores, which this model needs");
    WEIR_TRY(weir__vocab_reserve(&b->vocab, n, err));
    for (size_t i = 0; i < n; i++) {
        const char *s;
        size_t bytes;
        double score = 0;
        int64_t type = WEIR__TOKEN_NORMAL;
        if (!weir__gguf_array_string(g, KEY "tokens", i, &s, &bytes))
            return weir_fail(err, WEIR_EFORMAT, KEY "tokens: expected an array of strings");
        if (n_score > 0 && (!weir__gguf_array_real(g, KEY "scores", i, &score) || !isfinite((float)score)))
            return weir_fail(err, WEIR_EFORMAT, KEY "scores: value %zu is not a finite number", i);
        if (n_type > 0 && !weir__gguf_array_int(g, KEY "token_type", i, &type))
            return weir_fail(err, WEIR_EFORMAT, KEY "token_type: expected an array of integers");
        if (type < WEIR__TOKEN_NORMAL || type > WEIR__TOKEN_BYTE) type = WEIR__TOKEN_UNDEFINED;
        if (is_end(&e, i, s, bytes)) type = WEIR__TOKEN_CONTROL;
        WEIR_TRY(weir__vocab_add(&b->vocab, s, bytes, (weir__token_kind)type, (float)score, err));
        WEIR_TRY(add_marker(b, (int32_t)i, err));
    }
    return WEIR_OK;
}

static weir_status read_merges(weir__pipeline *b, const weir_gguf *g, weir_err *err) {
    size_t n, bytes;
    const char *s;
    if (!weir__gguf_array_length(g, KEY "merges", &n))
        return weir_fail(err, WEIR_EFORMAT, "no " KEY "merges, which model \"gpt2\" needs");
    WEIR_TRY(weir__bpe_merges(b, n, err));
    for (size_t i = 0; i < n; i++) {
        if (!weir__gguf_array_string(g, KEY "merges", i, &s, &bytes))
            return weir_fail(err, WEIR_EFORMAT, KEY "merges: expected an array of strings");
        WEIR_TRY(weir__bpe_merge_line(b, s, bytes, err));
    }
    return WEIR_OK;
}

/* As llama.cpp spells tokens; a text's own first space is taken off again. */
static weir_status add_decoder(weir__pipeline *b, bool space, weir_err *err) {
    b->decoder.byte_level = b->byte_level;
    WEIR_TRY(weir__decode_add(&b->decoder, (weir__decode_step){.kind = WEIR__DECODE_PIECES}, "", "", err));
    WEIR_TRY(weir__decode_add(&b->decoder, (weir__decode_step){.kind = WEIR__DECODE_FUSE}, "", "", err));
    if (!space) return WEIR_OK;
    return weir__decode_add(&b->decoder, (weir__decode_step){.kind = WEIR__DECODE_STRIP, .start = 1}, " ", "",
                            err);
}

static weir_status read_byte_level(weir__pipeline *b, const weir_gguf *g, weir_err *err) {
    const char *name = "default";
    size_t n = strlen(name);
    b->byte_level = b->repair = b->keeps_parts = true;
    if (weir__gguf_has(g, KEY "pre") && !weir__gguf_string(g, KEY "pre", &name, &n))
        return weir_fail(err, WEIR_EFORMAT, KEY "pre: expected a string");
    WEIR_TRY(weir__pretok_open(&b->pretok, err));
    WEIR_TRY(weir__pretok_add_named(b->pretok, name, n, &b->ignore_merges, err));
    WEIR_TRY(read_tokens(b, g, err));
    WEIR_TRY(add_decoder(b, false, err));
    return read_merges(b, g, err);
}

static weir_status read_by_scores(weir__pipeline *b, const weir_gguf *g, weir_err *err) {
    bool space = true;
    int64_t unk = 0;
    if (weir__gguf_has(g, KEY "add_space_prefix") && !weir__gguf_bool(g, KEY "add_space_prefix", &space))
        return weir_fail(err, WEIR_EFORMAT, KEY "add_space_prefix: expected a truth value");
    b->by_score = b->byte_fallback = b->fuse_unk = true;
    WEIR_TRY(read_tokens(b, g, err));
    if (weir__gguf_int(g, KEY "unknown_token_id", &unk) && (unk < 0 || unk >= b->vocab.n))
        return weir_fail(err, WEIR_EFORMAT, KEY "unknown_token_id = %lld, expected 0 to %d", (long long)unk,
                         b->vocab.n - 1);
    b->unk_id = (int32_t)unk;
    WEIR_TRY(add_decoder(b, space, err));
    if (space) WEIR_TRY(weir__step_add(&b->prep, WEIR__STEP_PREPEND, "", " ", err));
    return weir__step_add(&b->prep, WEIR__STEP_REPLACE, " ", "\xe2\x96\x81", err);
}

weir_status weir__tokenizer_open_gguf(weir_tokenizer **out, const weir_gguf *g, weir_err *err) {
    const bool byte_level = key_is(g, KEY "model", "gpt2");
    const char *name = "";
    size_t n = 0;
    if (key_is(g, KEY "model", "t5")) return weir__tokenizer_open_gguf_pieces(out, g, err);
    if (!byte_level && !key_is(g, KEY "model", "llama")) {
        if (!weir__gguf_string(g, KEY "model", &name, &n))
            return weir_fail(err, WEIR_EFORMAT, "no " KEY "model: the file has no tokenizer");
        return weir_fail(err, WEIR_ENOTSUP,
                         KEY "model = \"%.*s\" is not supported, expected gpt2, llama or t5",
                         n < 60 ? (int)n : 60, name);
    }
    weir__pipeline *b = weir__pipeline_new(err);
    if (!b) return WEIR_ENOMEM;
    weir_status s = byte_level ? read_byte_level(b, g, err) : read_by_scores(b, g, err);
    if (s == WEIR_OK) s = weir__pipeline_finish(b, err);
    if (s != WEIR_OK) {
        weir__pipeline_free(b);
        return s;
    }
    return weir__tokenizer_new(out, &weir__pipeline_ops, b, err);
}
