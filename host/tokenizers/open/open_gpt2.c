/* GPT-2's two files: vocab.json, an object of tokens and ids, and merges.txt, one merge per line. */
#include <string.h>

#include "host/formats/json/json_file.h"
#include "host/tokenizers/open/hf_json.h"
#include "host/tokenizers/pipeline/bpe.h"
#include "host/tokenizers/pipeline/encode.h"
#include "host/tokenizers/pipeline/pipeline.h"
#include "host/tokenizers/tokenizer.h"
#include "kernels/base/mem.h"

static const size_t MAX_FILE = 256u << 20;
static const char GPT2[] = "gpt-2";
static const char QWEN2[] = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| "
                            "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+"
                            "|\\s+(?!\\S)|\\s+";

/* Lines without their ends; a comment only in the first. */
static weir_status read_merges(weir__pipeline *b, const char *text, size_t n, weir_err *err) {
    size_t lines = 1;
    for (size_t i = 0; i < n; i++) lines += text[i] == '\n';
    WEIR_TRY(weir__bpe_merges(b, lines, err));
    for (size_t at = 0, len; at < n; at += len + 1) {
        const char *end = memchr(text + at, '\n', n - at);
        len = end ? (size_t)(end - text) - at : n - at;
        const size_t bytes = len > 0 && text[at + len - 1] == '\r' ? len - 1 : len;
        const bool comment = at == 0 && bytes >= 8 && memcmp(text, "#version", 8) == 0;
        if (bytes > 0 && !comment) WEIR_TRY(weir__bpe_merge_line(b, text + at, bytes, err));
    }
    return WEIR_OK;
}

/* The cut into words that a tokenizer class has. Without a class it is GPT-2's, whose files these are. */
static weir_status read_class(weir__pipeline *b, const weir__tokens *tokens, weir_err *err) {
    bool space = json_is_true(json_object_get(tokens->config, "add_prefix_space")), ignore;
    WEIR_TRY(weir__pretok_open(&b->pretok, err));
    if (weir__tokens_class_is(tokens, "Qwen2Tokenizer")) {
        WEIR_TRY(weir__step_add(&b->norm, WEIR__STEP_NFC, "", "", err));
        WEIR_TRY(weir__pretok_add(b->pretok, QWEN2, sizeof QWEN2 - 1, false, WEIR__SPLIT_ISOLATED, err));
        space = false;
    } else if (!tokens->class_name || weir__tokens_class_is(tokens, "GPT2Tokenizer")) {
        WEIR_TRY(weir__pretok_add_named(b->pretok, GPT2, sizeof GPT2 - 1, &ignore, err));
    } else {
        return weir_fail(err, WEIR_ENOTSUP,
                         "tokenizer_class %.60s with vocab.json and merges.txt is not supported, expected "
                         "GPT2Tokenizer or Qwen2Tokenizer (or a tokenizer.json)",
                         tokens->class_name);
    }
    return space ? weir__step_add(&b->prep, WEIR__STEP_PREPEND_UNLESS, "", " ", err) : WEIR_OK;
}

/* A token by role is in the vocabulary, or gets the id after the last one. */
static weir_status add_tokens(weir__pipeline *b, const weir__tokens *tokens, weir_err *err) {
    for (size_t i = 0; i < tokens->n; i++) {
        weir__token x = tokens->list[i];
        if (x.n == 0) continue;
        if (x.index < 0) x.index = weir__vocab_find(&b->vocab, x.text, x.n);
        if (x.index < 0) {
            x.index = b->vocab.n;
            WEIR_TRY(weir__vocab_add_apart(&b->vocab, x.text, x.n, WEIR__TOKEN_NORMAL, 0, err));
        }
        b->vocab.kind[x.index] = x.flags & WEIR__ADDED_SPECIAL ? WEIR__TOKEN_CONTROL : WEIR__TOKEN_USER;
        WEIR_TRY(weir__pipeline_add_token(b, &x, err));
    }
    return WEIR_OK;
}

static weir_status read_files(weir__pipeline *b, json_t *vocab, const weir__tokens *tokens,
                              const char *merges, size_t n, weir_err *err) {
    b->byte_level = b->repair = b->unknown_first = true;
    WEIR_TRY(read_class(b, tokens, err));
    WEIR_TRY(
        weir__decode_add(&b->decoder, (weir__decode_step){.kind = WEIR__DECODE_BYTE_LEVEL}, "", "", err));
    WEIR_TRY(weir__hf_vocab(b, vocab, tokens->list, tokens->n, err));
    b->before.consumes = b->after.consumes = true;
    WEIR_TRY(add_tokens(b, tokens, err));
    WEIR_TRY(read_merges(b, merges, n, err));
    return weir__pipeline_finish(b, err);
}

static weir_status open_all(weir_tokenizer **out, json_t *vocab, const char *vocab_path, const char *merges,
                            size_t n, weir_err *err) {
    weir_err why = {""};
    weir__tokens tokens = {0};
    WEIR_TRY(weir__tokens_read(&tokens, vocab_path, NULL, err));
    weir__pipeline *b = weir__pipeline_new(&why);
    const weir_status s = b ? read_files(b, vocab, &tokens, merges, n, &why) : WEIR_ENOMEM;
    weir__tokens_free(&tokens);
    if (s == WEIR_OK) return weir__tokenizer_new(out, &weir__pipeline_ops, b, err);
    weir__pipeline_free(b);
    return weir_fail(err, s, "%s: %s", weir__label(vocab_path), why.text);
}

weir_status weir__tokenizer_open_gpt2(weir_tokenizer **out, const char *vocab_path, const char *merges_path,
                                      weir_err *err) {
    json_t *vocab;
    char *merges = NULL;
    size_t n = 0;
    WEIR_TRY(weir__json_file(vocab_path, MAX_FILE, &vocab, err));
    weir_status s = weir__file_read(merges_path, MAX_FILE, &merges, &n, err);
    if (s == WEIR_OK) s = open_all(out, vocab, vocab_path, merges, n, err);
    json_decref(vocab);
    weir_free(merges);
    return s;
}
