/* A T5's tokens in a GGUF file are those of a SentencePiece model, one by one. The model is written again
 * (sentencepiece_model.proto), so that the library makes the ids that it makes of a .model. */
#include <string.h>

#include "host/formats/gguf/gguf.h"
#include "host/tokenizers/text/bytes.h"
#include "host/tokenizers/spm/slow.h"
#include "host/tokenizers/vocab/vocab.h"
#include "kernels/base/mem.h"

#define KEY "tokenizer.ggml."

/* ---- protocol buffers ---------------------------------------------------------------------------------- */

/* Bytes that grow; `failed`: there was no memory, and nothing more is written. */
typedef struct message {
    uint8_t *bytes;
    size_t n, cap;
    bool failed;
} message;

static void put(message *m, const void *bytes, size_t n) {
    if (m->failed || n == 0) return;
    if (n > m->cap - m->n) {
        const size_t cap = m->cap + n + m->cap / 2 + 64;
        uint8_t *more = weir_alloc(cap, 1);
        m->failed = !more;
        if (m->failed) return;
        if (m->n) memcpy(more, m->bytes, m->n);
        weir_free(m->bytes);
        m->bytes = more;
        m->cap = cap;
    }
    memcpy(m->bytes + m->n, bytes, n);
    m->n += n;
}

static void put_varint(message *m, uint64_t v) {
    uint8_t b[10];
    size_t n = 0;
    for (; v > 127; v >>= 7) b[n++] = (uint8_t)(v | 128);
    b[n++] = (uint8_t)v;
    put(m, b, n);
}

enum { VARINT = 0, BYTES = 2, FIXED32 = 5 };

static void put_tag(message *m, uint32_t field, uint32_t type) { put_varint(m, field << 3 | type); }

static void put_number(message *m, uint32_t field, uint64_t v) {
    put_tag(m, field, VARINT);
    put_varint(m, v);
}

static void put_bytes(message *m, uint32_t field, const void *bytes, size_t n) {
    put_tag(m, field, BYTES);
    put_varint(m, n);
    put(m, bytes, n);
}

/* ---- the model ----------------------------------------------------------------------------------------- */

/* ModelProto.SentencePiece: piece 1, score 2, type 3, whose numbers are GGUF's. */
static void put_piece(message *model, message *scratch, const char *text, size_t n, float score,
                      int64_t type) {
    scratch->n = 0;
    put_bytes(scratch, 1, text, n);
    put_tag(scratch, 2, FIXED32);
    put(scratch, &score, sizeof score);
    put_number(scratch, 3, (uint64_t)type);
    model->failed |= scratch->failed;
    put_bytes(model, 1, scratch->bytes, scratch->n);
}

static weir_status put_pieces(message *model, const weir_gguf *g, int32_t n_piece, weir__tokens *control,
                              bool *has_bytes, weir_err *err) {
    message scratch = {0};
    weir_status s = WEIR_OK;
    for (int32_t i = 0; i < n_piece && s == WEIR_OK; i++) {
        const char *text;
        size_t n;
        double score;
        int64_t type;
        if (!weir__gguf_array_string(g, KEY "tokens", (size_t)i, &text, &n))
            s = weir_fail(err, WEIR_EFORMAT, KEY "tokens: expected an array of strings");
        else if (!weir__gguf_array_real(g, KEY "scores", (size_t)i, &score))
            s = weir_fail(err, WEIR_EFORMAT, KEY "scores: no number for token %d", (int)i);
        else if (!weir__gguf_array_int(g, KEY "token_type", (size_t)i, &type) || type < WEIR__TOKEN_NORMAL ||
                 type > WEIR__TOKEN_BYTE)
            s = weir_fail(err, WEIR_EFORMAT, KEY "token_type: no type from %d to %d for token %d",
                          WEIR__TOKEN_NORMAL, WEIR__TOKEN_BYTE, (int)i);
        if (s != WEIR_OK) break;
        *has_bytes |= type == WEIR__TOKEN_BYTE;
        put_piece(model, &scratch, text, n, (float)score, type);
        if (type == WEIR__TOKEN_CONTROL || type == WEIR__TOKEN_UNKNOWN)
            control->list[control->n++] =
                (weir__token){.text = text, .n = n, .index = i, .flags = WEIR__ADDED_SPECIAL};
    }
    weir_free(scratch.bytes);
    return s;
}

/* precompiled_charsmap: an array of bytes, with or without a sign. */
static weir_status put_charsmap(message *normalizer, const weir_gguf *g, weir_err *err) {
    size_t n;
    weir_status s = WEIR_OK;
    if (!weir__gguf_has(g, KEY "precompiled_charsmap")) return WEIR_OK;
    if (!weir__gguf_array_length(g, KEY "precompiled_charsmap", &n))
        return weir_fail(err, WEIR_EFORMAT, KEY "precompiled_charsmap: expected an array of bytes");
    uint8_t *map = weir_alloc(n + 1, 1);
    if (!map) return weir_fail(err, WEIR_ENOMEM, "no memory for a precompiled_charsmap");
    for (size_t i = 0; i < n && s == WEIR_OK; i++) {
        int64_t v;
        if (!weir__gguf_array_int(g, KEY "precompiled_charsmap", i, &v) || v < -128 || v > 255)
            s = weir_fail(err, WEIR_EFORMAT, KEY "precompiled_charsmap: element %zu is not a byte", i);
        else
            map[i] = (uint8_t)v;
    }
    if (s == WEIR_OK) put_bytes(normalizer, 2, map, n);
    weir_free(map);
    return s;
}

static weir_status get_flag(const weir_gguf *g, const char *key, bool *out, weir_err *err) {
    if (!weir__gguf_has(g, key) || weir__gguf_bool(g, key, out)) return WEIR_OK;
    return weir_fail(err, WEIR_EFORMAT, "%s: expected a truth value", key);
}

/* TrainerSpec: model_type 3 (1: Unigram), byte_fallback 35. NormalizerSpec: precompiled_charsmap 2,
 * add_dummy_prefix 3, remove_extra_whitespaces 4, escape_whitespaces 5. Flags that are absent are off, as in
 * llama.cpp. */
static weir_status put_model(message *model, const weir_gguf *g, int32_t n_piece, weir__tokens *control,
                             weir_err *err) {
    message trainer = {0}, normalizer = {0};
    bool prefix = false, collapses = false, bytes = false;
    weir_status s = get_flag(g, KEY "add_space_prefix", &prefix, err);
    if (s == WEIR_OK) s = get_flag(g, KEY "remove_extra_whitespaces", &collapses, err);
    if (s == WEIR_OK) s = put_pieces(model, g, n_piece, control, &bytes, err);
    if (s == WEIR_OK) s = put_charsmap(&normalizer, g, err);
    put_number(&trainer, 3, 1);
    put_number(&trainer, 35, bytes);
    put_number(&normalizer, 3, prefix);
    put_number(&normalizer, 4, collapses);
    put_number(&normalizer, 5, 1);
    put_bytes(model, 2, trainer.bytes, trainer.n);
    put_bytes(model, 3, normalizer.bytes, normalizer.n);
    model->failed |= trainer.failed || normalizer.failed;
    weir_free(trainer.bytes);
    weir_free(normalizer.bytes);
    return s;
}

/* Control tokens are found in a text that may have them, as T5Tokenizer finds those of its roles. */
weir_status weir__tokenizer_open_gguf_pieces(weir_tokenizer **out, const weir_gguf *g, weir_err *err) {
    int32_t n_piece, n_sentinel;
    message model = {0};
    weir__gguf_pieces(g, &n_piece, &n_sentinel);
    if (n_piece == 0) return weir_fail(err, WEIR_EFORMAT, KEY "tokens: expected an array of strings");
    weir__tokens control = {.list = weir_alloc((size_t)n_piece, sizeof *control.list),
                            .cap = (size_t)n_piece};
    weir_status s = control.list ? put_model(&model, g, n_piece, &control, err) : WEIR_ENOMEM;
    if (!control.list || (s == WEIR_OK && model.failed))
        s = weir_fail(err, WEIR_ENOMEM, "no memory for a model of %d pieces", (int)n_piece);
    if (s == WEIR_OK)
        s = weir__slow_tokenizer(out, model.bytes, model.n, "tokenizer.ggml", &control, n_sentinel, true,
                                 err);
    weir_free(control.list);
    weir_free(model.bytes);
    return s;
}
