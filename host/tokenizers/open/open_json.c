/* A tokenizer from tokenizer.json, the file of Hugging Face's tokenizers. "post_processor" (beginning and end
 * of text: the checkpoint's and the engine's), "truncation" and "padding" are not read. */
#include <string.h>

#include "host/formats/json/json_file.h"
#include "host/tokenizers/open/hf_json.h"
#include "host/tokenizers/pipeline/encode.h"
#include "host/tokenizers/tokenizer.h"
#include "kernels/base/mem.h"

static const size_t MAX_FILE = 256u << 20;

/* The id of a token, added or not. */
static int32_t find_text(const weir__pipeline *b, const char *text, size_t n) {
    for (int32_t id = b->vocab.n - 1; id >= 0; id--)
        if (weir__vocab_bytes(&b->vocab, id) == n && memcmp(weir__vocab_text(&b->vocab, id), text, n) == 0)
            return id;
    return -1;
}

static weir_status read_all(weir__pipeline *b, const json_t *root, const weir__tokens *tokens,
                            weir_err *err) {
    const json_t *added = json_object_get(root, "added_tokens");
    b->repair = b->unknown_first = true;
    WEIR_TRY(weir__hf_normalizer(b, json_object_get(root, "normalizer"), err));
    WEIR_TRY(weir__hf_pre_tokenizer(b, json_object_get(root, "pre_tokenizer"), err));
    WEIR_TRY(weir__hf_decoder(b, json_object_get(root, "decoder"), err));
    WEIR_TRY(weir__hf_model(b, json_object_get(root, "model"), err));
    b->before.consumes = b->after.consumes = true;
    WEIR_TRY(weir__hf_added(b, added, tokens, err));
    b->end = tokens->end ? find_text(b, tokens->end, tokens->n_end) : -1;
    return weir__pipeline_finish(b, err);
}

static weir_status open_object(weir_tokenizer **out, const json_t *root, const weir__tokens *tokens,
                               const char *label, weir_err *err) {
    weir_err why = {""};
    weir__pipeline *b = weir__pipeline_new(&why);
    weir_status s = b ? read_all(b, root, tokens, &why) : WEIR_ENOMEM;
    if (s == WEIR_OK) return weir__tokenizer_new(out, &weir__pipeline_ops, b, err);
    weir__pipeline_free(b);
    return weir_fail(err, s, "%s: %s", weir__label(label), why.text);
}

weir_status weir__tokenizer_open_json_bytes(weir_tokenizer **out, const void *json, size_t bytes,
                                            const char *label, weir_err *err) {
    static const weir__tokens none;
    json_t *root;
    WEIR_TRY(weir__json_object(json, bytes, label, &root, err));
    const weir_status s = open_object(out, root, &none, label, err);
    json_decref(root);
    return s;
}

weir_status weir__tokenizer_open_json(weir_tokenizer **out, const char *path, weir_err *err) {
    weir__tokens tokens = {0};
    json_t *root;
    WEIR_TRY(weir__json_file(path, MAX_FILE, &root, err));
    weir_status s = weir__tokens_read(&tokens, path, NULL, err);
    if (s == WEIR_OK) s = open_object(out, root, &tokens, path, err);
    weir__tokens_free(&tokens);
    json_decref(root);
    return s;
}
