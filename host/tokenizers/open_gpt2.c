/* GPT-2's two files: vocab.json, an object of tokens and ids, and merges.txt, a merge a line. */
#include <string.h>

#include "host/formats/json_file.h"
#include "host/tokenizers/bpe.h"
#include "host/tokenizers/hf_json.h"
#include "kernels/base/mem.h"

static const size_t MAX_FILE = 256u << 20;
static const char PATTERN_NAME[] = "gpt-2", END_OF_TEXT[] = "<|endoftext|>";

/* Lines without their ends; a comment only in the first. */
static weir_status read_merges(weir__bpe *b, const char *text, size_t n, weir_err *err) {
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

static weir_status read_files(weir__bpe *b, json_t *vocab, const char *merges, size_t n, weir_err *err) {
    bool ignore;
    b->byte_level = b->repair = b->unknown_first = true;
    WEIR_TRY(weir__pretok_open(&b->pretok, err));
    WEIR_TRY(weir__pretok_add_named(b->pretok, PATTERN_NAME, strlen(PATTERN_NAME), &ignore, err));
    WEIR_TRY(weir__hf_vocab(b, vocab, NULL, err));
    const int32_t end = weir__vocab_find(&b->vocab, END_OF_TEXT, strlen(END_OF_TEXT));
    if (end >= 0) {
        b->vocab.kind[end] = WEIR__TOKEN_CONTROL;
        WEIR_TRY(weir__added_put(&b->before, END_OF_TEXT, strlen(END_OF_TEXT), end, WEIR__ADDED_SPECIAL, err));
    }
    WEIR_TRY(read_merges(b, merges, n, err));
    return weir__bpe_finish(b, err);
}

weir_status weir_tokenizer_open_gpt2(weir_tokenizer **out, const char *vocab_path, const char *merges_path, weir_err *err) {
    json_t *vocab;
    char *merges = NULL;
    size_t n = 0;
    weir_err why = {""};
    WEIR_TRY(weir__json_file(vocab_path, MAX_FILE, &vocab, err));
    weir_status s = weir__file_read(merges_path, MAX_FILE, &merges, &n, err);
    if (s != WEIR_OK) {
        json_decref(vocab);
        return s;
    }
    weir__bpe *b = weir__bpe_new(&why);
    s = b ? read_files(b, vocab, merges, n, &why) : WEIR_ENOMEM;
    json_decref(vocab);
    weir_free(merges);
    if (s == WEIR_OK) return weir__tokenizer_new(out, &weir__bpe_ops, b, err);
    weir__bpe_free(b);
    return weir_fail(err, s, "%s: %s", weir__label(vocab_path), why.text);
}
