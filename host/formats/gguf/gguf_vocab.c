/* Special ids and the ends of a text, from the tokenizer's metadata. Rules as in llama.cpp's
 * llama-vocab.cpp. */
#include <string.h>

#include "host/formats/gguf/gguf_file.h"
#include "host/formats/gguf/gguf_model.h"
#include "host/formats/json/json_file.h"

#define TOKENIZER "tokenizer.ggml."

/* Tokens whose text alone says that they end a turn, a message or a document, and those after which another
 * file of a repository would begin. This is llama.cpp's list without "</s>", which is a plain word in Gemma's
 * vocabulary; a file in which it ends texts has it as eos_token_id. */
static const char *const END_TEXTS[] = {
    "<|eot_id|>", "<|im_end|>", "<|end|>",         "<end_of_turn>",      "<|endoftext|>", "<|eom_id|>",
    "<EOT>",      "_<EOT>",     "<|end_of_text|>", "<end_of_utterance>", "<eos>",         "<|fim_pad|>",
    "<fim-pad>",  "<fim_pad>",  "<PAD>",           "<|fim_repo|>",       "<|repo_name|>", "<fim-repo>",
    "<REPO>",     "<reponame>", "<|file_sep|>",
};
static const char *const END_KEYS[] = {
    TOKENIZER "eos_token_id",     TOKENIZER "eot_token_id",     TOKENIZER "eom_token_id",
    TOKENIZER "fim_pad_token_id", TOKENIZER "fim_rep_token_id", TOKENIZER "fim_sep_token_id",
};
enum { N_TEXT = sizeof END_TEXTS / sizeof *END_TEXTS, N_KEY = sizeof END_KEYS / sizeof *END_KEYS };

/* Byte-level BPE whose tokenizers put a start token before a text unless told otherwise. */
static const char *const BOS_PRE[] = {"llama3",    "llama-v3", "llama-bpe", "falcon3",
                                      "falcon-h1", "pixtral",  "tekken",    "chameleon"};

static bool is_text(const char *text, size_t n, const char *want) {
    return strlen(want) == n && memcmp(text, want, n) == 0;
}

bool weir__gguf_is_end_text(const char *text, size_t n) {
    if (n < 5 || (text[0] != '<' && text[0] != '_')) return false; /* nearly all of them */
    for (int k = 0; k < N_TEXT; k++)
        if (is_text(text, n, END_TEXTS[k])) return true;
    return false;
}

weir_status weir__gguf_get_id(const weir_gguf *g, const char *key, int32_t n_vocab, int32_t *out,
                              weir_err *err) {
    int64_t v;
    if (weir__gguf_int(g, key, &v) && (v == -1 || v == UINT32_MAX)) return WEIR_OK;
    return weir__gguf_get_int(g, key, 0, n_vocab - 1, out, err);
}

static weir_status add_end(const weir_gguf *g, weir_gguf_model *m, int32_t id, weir_err *err) {
    enum { MAX = sizeof m->eos / sizeof *m->eos };
    for (int32_t i = 0; i < m->n_eos; i++)
        if (m->eos[i] == id) return WEIR_OK;
    if (m->n_eos == MAX)
        return weir_fail(err, WEIR_ENOTSUP, "%s: more than %d tokens that end a text", weir__label(g->label),
                         MAX);
    m->eos[m->n_eos++] = id;
    return WEIR_OK;
}

static weir_status read_ends(const weir_gguf *g, weir_gguf_model *m, bool spm, weir_err *err) {
    size_t n = 0, bytes;
    const char *text;
    for (int k = 0; k < N_KEY; k++) {
        int32_t id = k == 0 && spm && m->config.n_vocab_rows > 2 && !weir__gguf_has(g, END_KEYS[0]) ? 2 : -1;
        WEIR_TRY(weir__gguf_get_id(g, END_KEYS[k], m->config.n_vocab_rows, &id, err));
        if (id >= 0) WEIR_TRY(add_end(g, m, id, err));
    }
    (void)weir__gguf_array_length(g, TOKENIZER "tokens", &n);
    for (size_t i = 0; i < n; i++) {
        if (!weir__gguf_array_string(g, TOKENIZER "tokens", i, &text, &bytes))
            return weir_fail(err, WEIR_EFORMAT, "%s: " TOKENIZER "tokens is not a list of strings",
                             weir__label(g->label));
        if (weir__gguf_is_end_text(text, bytes)) WEIR_TRY(add_end(g, m, (int32_t)i, err));
    }
    return WEIR_OK;
}

static bool starts_by_default(const weir_gguf *g, bool spm) {
    const char *pre;
    size_t n;
    if (spm || !weir__gguf_string(g, TOKENIZER "pre", &pre, &n)) return spm;
    for (size_t i = 0; i < sizeof BOS_PRE / sizeof *BOS_PRE; i++)
        if (is_text(pre, n, BOS_PRE[i])) return true;
    return false;
}

weir_status weir__gguf_refuse_flag(const weir_gguf *g, const char *key, bool value, weir_err *err) {
    bool on;
    if (!weir__gguf_bool(g, key, &on) || on != value) return WEIR_OK;
    return weir_fail(err, WEIR_ENOTSUP, "%s: %s = %s is not supported, it changes the result",
                     weir__label(g->label), key, value ? "true" : "false");
}

weir_status weir__gguf_read_vocab(const weir_gguf *g, weir_gguf_model *m, weir_err *err) {
    const char *model;
    size_t n;
    int32_t n_vocab = m->config.n_vocab_rows;
    bool spm = weir__gguf_string(g, TOKENIZER "model", &model, &n) && is_text(model, n, "llama");
    /* SentencePiece's own defaults, which llama.cpp takes where a file is silent. */
    if (spm && n_vocab > 2 && !weir__gguf_has(g, TOKENIZER "bos_token_id")) m->bos_id = 1;
    WEIR_TRY(weir__gguf_get_id(g, TOKENIZER "bos_token_id", n_vocab, &m->bos_id, err));
    WEIR_TRY(weir__gguf_get_id(g, TOKENIZER "padding_token_id", n_vocab, &m->pad_id, err));
    /* These would append an id to what is tokenized; weir appends none to a decoder's. */
    WEIR_TRY(weir__gguf_refuse_flag(g, TOKENIZER "add_eos_token", true, err));
    WEIR_TRY(weir__gguf_refuse_flag(g, TOKENIZER "add_sep_token", true, err));
    if (!weir__gguf_bool(g, TOKENIZER "add_bos_token", &m->add_bos))
        m->add_bos = m->bos_id >= 0 && starts_by_default(g, spm);
    if (m->add_bos && m->bos_id < 0)
        return weir_fail(err, WEIR_EFORMAT, "%s: " TOKENIZER "add_bos_token = true without a bos_token_id",
                         weir__label(g->label));
    if (!weir__gguf_string(g, "tokenizer.chat_template", &m->chat_template, &m->chat_template_bytes))
        m->chat_template = NULL;
    return read_ends(g, m, spm, err);
}
