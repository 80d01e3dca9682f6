/* Tokens by role: start of text, end of text, … transformers' tokenizers take the names from
 * tokenizer_config.json and look up the ids in the vocabulary; bos_token_id of config.json does not count.
 * special_tokens_map.json is older and wins only if tokenizer_config.json has no added_tokens_decoder, which
 * every later version writes. */
#include "host/formats/config/config.h"
#include "kernels/base/mem.h"

const char *const weir_special_names[WEIR_SPECIAL_N] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                                        "pad_token", "cls_token", "mask_token"};

static weir_status name_token(weir_checkpoint *out, int role, const char *name, const char *label,
                              weir_err *err) {
    char *copy = weir_strdup(name);
    if (!copy)
        return weir_fail(err, WEIR_ENOMEM, "%s: no memory for the name of a token", weir__label(label));
    weir_free(out->special[role]);
    out->special[role] = copy;
    return WEIR_OK;
}

weir_status weir__take_special_tokens(const json_t *root, const char *label, weir_checkpoint *out,
                                      weir_err *err) {
    for (int role = 0; role < WEIR_SPECIAL_N; role++) {
        const json_t *v = json_object_get(root, weir_special_names[role]);
        const char *name = json_string_value(json_is_object(v) ? json_object_get(v, "content") : v);
        if (name && *name) WEIR_TRY(name_token(out, role, name, label, err));
    }
    return WEIR_OK;
}

/* For roles that tokenizer_config.json does not mention at all, the class of the tokenizer decides. */
weir_status weir__default_special_tokens(const json_t *root, const char *const names[WEIR_SPECIAL_N],
                                         const char *label, weir_checkpoint *out, weir_err *err) {
    for (int role = 0; role < WEIR_SPECIAL_N; role++) {
        if (!names[role] || out->special[role] || json_object_get(root, weir_special_names[role])) continue;
        WEIR_TRY(name_token(out, role, names[role], label, err));
    }
    return WEIR_OK;
}

weir_status weir__special_tokens_parse(const char *json, size_t bytes, const char *label,
                                       weir_checkpoint *out, weir_err *err) {
    json_t *root;
    WEIR_TRY(weir__json_object(json, bytes, label, &root, err));
    const weir_status s =
        out->lists_added_tokens ? WEIR_OK : weir__take_special_tokens(root, label, out, err);
    json_decref(root);
    return s;
}
