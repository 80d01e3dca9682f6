/* For fuzz_ask in a build with WEIR_FUZZ, which has parsers and no engine: a vocabulary of bytes. */
#include <string.h>

#include "host/weir.h"

enum { N_VOCAB = 300, FIRST = 3 };

static char engine;

weir_engine_options weir_engine_options_default(void) { return (weir_engine_options){0}; }

weir_session_options weir_session_options_default(void) {
    return (weir_session_options){.law = weir_law_default(), .n_draft = 5, .max_tokens = 128};
}

weir_status weir_engine_open(weir_engine **out, const weir_engine_options *opt, weir_err *err) {
    (void)opt;
    (void)err;
    *out = (weir_engine *)(void *)&engine;
    return WEIR_OK;
}

void weir_engine_get_facts(const weir_engine *e, weir_engine_facts *out) {
    (void)e;
    *out = (weir_engine_facts){.n_parallel = 1,
                               .ctx_size = 512,
                               .max_draft = WEIR_GAMMA_MAX,
                               .draft = WEIR_DRAFT_MODEL,
                               .has_draft = true,
                               .has_tokenizer = true,
                               .encoder_decoder = true,
                               .n_vocab = N_VOCAB,
                               .chat_template = "plain"};
}

weir_status weir_tokenize(const weir_engine *e, const char *text, size_t bytes, bool add_special,
                          bool parse_special, int32_t **ids, size_t *n_ids, weir_err *err) {
    (void)e;
    (void)parse_special;
    int32_t *list = weir_alloc(bytes + add_special, sizeof *list);
    if (!list) return weir_fail(err, WEIR_ENOMEM, "no memory");
    for (size_t i = 0; i < bytes; i++) list[i] = FIRST + (unsigned char)text[i];
    if (add_special) list[bytes] = 1;
    *ids = list;
    *n_ids = bytes + add_special;
    return WEIR_OK;
}

void weir_ids_free(int32_t *ids) { weir_free(ids); }

weir_status weir_chat_prompt(const weir_engine *e, const weir_chat_message *messages, size_t n,
                             bool open_last, char **text, size_t *bytes, weir_err *err) {
    (void)e;
    (void)open_last;
    const weir_chat_message *m = &messages[n - 1];
    char *copy = weir_alloc(m->bytes + 1, 1);
    if (!copy) return weir_fail(err, WEIR_ENOMEM, "no memory");
    if (m->bytes) memcpy(copy, m->content, m->bytes);
    copy[m->bytes] = '\0';
    *text = copy;
    *bytes = m->bytes;
    return WEIR_OK;
}

weir_status weir_chat_tokenize(const weir_engine *e, const weir_chat_message *messages, size_t n,
                               bool open_last, int32_t **ids, size_t *n_ids, weir_err *err) {
    (void)open_last;
    return weir_tokenize(e, messages[n - 1].content, messages[n - 1].bytes, true, false, ids, n_ids, err);
}

weir_status weir_detokenize(const weir_engine *e, const int32_t *ids, size_t n_ids, char **text,
                            size_t *bytes, weir_err *err) {
    (void)e;
    char *list = weir_alloc(n_ids + 1, 1);
    if (!list) return weir_fail(err, WEIR_ENOMEM, "no memory");
    for (size_t i = 0; i < n_ids; i++) list[i] = (char)(ids[i] - FIRST);
    list[n_ids] = '\0';
    *text = list;
    *bytes = n_ids;
    return WEIR_OK;
}

void weir_text_free(char *text) { weir_free(text); }

const char *weir_token_piece(const weir_engine *e, int32_t id) {
    (void)e;
    return id < N_VOCAB / 2 ? "\xffpiece" : NULL;
}

const char *weir_chat_template_text(const weir_engine *e) {
    (void)e;
    return NULL;
}
