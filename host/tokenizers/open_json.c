/* A tokenizer from tokenizer.json, the file of Hugging Face's tokenizers. "post_processor" (beginning and end of text: the
 * checkpoint's and the engine's), "truncation" and "padding" are not read. */
#include "host/formats/json_file.h"
#include "host/tokenizers/hf_json.h"
#include "kernels/base/mem.h"

static const size_t MAX_FILE = 256u << 20;

static weir_status read_all(weir__bpe *b, const json_t *root, weir_err *err) {
    const json_t *added = json_object_get(root, "added_tokens");
    b->repair = b->unknown_first = true;
    WEIR_TRY(weir__hf_normalizer(b, json_object_get(root, "normalizer"), err));
    WEIR_TRY(weir__hf_pre_tokenizer(b, json_object_get(root, "pre_tokenizer"), err));
    WEIR_TRY(weir__hf_decoder(b, json_object_get(root, "decoder"), err));
    WEIR_TRY(weir__hf_model(b, json_object_get(root, "model"), added, err));
    WEIR_TRY(weir__hf_added(b, added, err));
    return weir__bpe_finish(b, err);
}

static weir_status open_object(weir_tokenizer **out, const json_t *root, const char *label, weir_err *err) {
    weir_err why = {""};
    weir__bpe *b = weir__bpe_new(&why);
    weir_status s = b ? read_all(b, root, &why) : WEIR_ENOMEM;
    if (s == WEIR_OK) return weir__tokenizer_new(out, &weir__bpe_ops, b, err);
    weir__bpe_free(b);
    return weir_fail(err, s, "%s: %s", weir__label(label), why.text);
}

weir_status weir_tokenizer_open_json_bytes(weir_tokenizer **out, const void *json, size_t bytes, const char *label,
                                           weir_err *err) {
    json_t *root;
    WEIR_TRY(weir__json_object(json, bytes, label, &root, err));
    const weir_status s = open_object(out, root, label, err);
    json_decref(root);
    return s;
}

weir_status weir_tokenizer_open_json(weir_tokenizer **out, const char *path, weir_err *err) {
    json_t *root;
    WEIR_TRY(weir__json_file(path, MAX_FILE, &root, err));
    const weir_status s = open_object(out, root, path, err);
    json_decref(root);
    return s;
}
