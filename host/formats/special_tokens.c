/* bos_token: what begins a text by its name. transformers' tokenizers take the id from the vocabulary,
 * whatever bos_token_id says in config.json, and the name from tokenizer_config.json; special_tokens_map.json
 * is older and wins only where tokenizer_config.json lists no added_tokens_decoder, as every later version
 * writes. */
#include "host/formats/config.h"
#include "kernels/base/mem.h"

weir_status weir__take_bos_token(const json_t *root, const char *label, weir_checkpoint *out, weir_err *err) {
    const json_t *v = json_object_get(root, "bos_token");
    const char *name = json_string_value(json_is_object(v) ? json_object_get(v, "content") : v);
    if (!name || !*name) return WEIR_OK;
    char *copy = weir_strdup(name);
    if (!copy)
        return weir_fail(err, WEIR_ENOMEM, "%s: no memory for the name of a token", weir__label(label));
    weir_free(out->bos_token);
    out->bos_token = copy;
    return WEIR_OK;
}

weir_status weir_special_tokens_parse(const char *json, size_t bytes, const char *label, weir_checkpoint *out,
                                      weir_err *err) {
    json_t *root;
    WEIR_TRY(weir__json_object(json, bytes, label, &root, err));
    const weir_status s = out->lists_added_tokens ? WEIR_OK : weir__take_bos_token(root, label, out, err);
    json_decref(root);
    return s;
}
