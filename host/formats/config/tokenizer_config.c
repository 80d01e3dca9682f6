/* tokenizer_config.json, and tokenizer.json's post_processor: what they add to texts and ids. The many keys
 * that do not affect ids are not read. */
#include <string.h>

#include "host/formats/config/config.h"
#include "host/formats/config/tokenizer_class.h"
#include "kernels/base/mem.h"

enum { MAX_EXTRA_IDS = 1 << 20 };

/* What this class does is in tokenizer.json: weir__post_processor_parse. */
static const char BY_POST_PROCESSOR[] = "PreTrainedTokenizerFast";

/* A template, or a list of named ones, of which "default" counts. NULL: none. */
static const json_t *find_template(const json_t *root) {
    const json_t *v = json_object_get(root, "chat_template");
    for (size_t i = 0; json_is_array(v) && i < json_array_size(v); i++) {
        const json_t *one = json_array_get(v, i);
        const char *name = json_string_value(json_object_get(one, "name"));
        if (name && strcmp(name, "default") == 0) return json_object_get(one, "template");
    }
    return json_is_string(v) ? v : NULL;
}

weir_status weir__set_template(const char *text, size_t bytes, const char *label, weir_checkpoint *out,
                               weir_err *err) {
    char *copy = weir_alloc(bytes + 1, 1);
    if (!copy) return weir_fail(err, WEIR_ENOMEM, "%s: no memory for a chat template", weir__label(label));
    if (bytes > 0) memcpy(copy, text, bytes);
    copy[bytes] = '\0';
    weir_free(out->chat_template);
    out->chat_template = copy;
    return WEIR_OK;
}

weir_status weir__take_template(const json_t *root, const char *label, weir_checkpoint *out, weir_err *err) {
    const char *text = json_string_value(find_template(root));
    return text ? weir__set_template(text, strlen(text), label, out, err) : WEIR_OK;
}

static weir_status parse_decoder(const json_t *root, const char *label, weir_checkpoint *out, weir_err *err) {
    const char *class = NULL;
    bool add_bos = out->add_bos;
    WEIR_TRY(weir__get_string(root, "tokenizer_class", &class, label, err));
    const weir__class *known = class ? weir__class_find(class) : NULL;
    if (known) add_bos = known->add_bos;
    const bool told = weir__is_set(root, "add_bos_token");
    if (told) WEIR_TRY(weir__get_bool(root, "add_bos_token", &add_bos, label, err));
    WEIR_TRY(weir__take_template(root, label, out, err));
    WEIR_TRY(weir__take_special_tokens(root, label, out, err));
    if (known) WEIR_TRY(weir__default_special_tokens(root, known->special, label, out, err));
    out->lists_added_tokens = weir__is_set(root, "added_tokens_decoder");
    out->add_bos = add_bos;
    out->asks_post_processor = class && !told && strcmp(class, BY_POST_PROCESSOR) == 0;
    return WEIR_OK;
}

/* ---- tokenizer.json ------------------------------------------------------------------------------------ */

/* Whether the template of a single text begins with the token of that one id. */
static bool template_begins(const json_t *p, int32_t id) {
    const json_t *first = json_object_get(json_array_get(json_object_get(p, "single"), 0), "SpecialToken");
    const char *name = json_string_value(json_object_get(first, "id"));
    const json_t *ids =
        name ? json_object_get(json_object_get(json_object_get(p, "special_tokens"), name), "ids") : NULL;
    return json_array_size(ids) == 1 && json_is_integer(json_array_get(ids, 0)) &&
           json_integer_value(json_array_get(ids, 0)) == id;
}

/* Sequences nest a few levels at most. */
static bool begins_with(const json_t *p, int32_t id, int depth) {
    const char *type = json_string_value(json_object_get(p, "type"));
    if (!type || depth > 4) return false;
    if (strcmp(type, "TemplateProcessing") == 0) return template_begins(p, id);
    const json_t *list = strcmp(type, "Sequence") == 0 ? json_object_get(p, "processors") : NULL;
    for (size_t i = 0; i < json_array_size(list); i++)
        if (begins_with(json_array_get(list, i), id, depth + 1)) return true;
    return false;
}

weir_status weir__post_processor_parse(const char *json, size_t bytes, const char *label,
                                       weir_checkpoint *out, weir_err *err) {
    json_t *root;
    if (!out->asks_post_processor) return WEIR_OK;
    WEIR_TRY(weir__json_object(json, bytes, label, &root, err));
    out->add_bos = out->bos_id >= 0 && begins_with(json_object_get(root, "post_processor"), out->bos_id, 0);
    json_decref(root);
    return WEIR_OK;
}

/* T5's tokenizer classes have 100 sentinels by default; others have none. */
static weir_status parse_t5(const json_t *root, const char *label, weir_checkpoint *out, weir_err *err) {
    const char *class = "T5Tokenizer"; /* what transformers takes for model_type t5 and mt5 */
    int32_t n = -1;
    WEIR_TRY(weir__get_string(root, "tokenizer_class", &class, label, err));
    if (weir__is_set(root, "extra_ids"))
        WEIR_TRY(weir__get_int(root, "extra_ids", 0, MAX_EXTRA_IDS, &n, label, err));
    const weir__class *known = weir__class_find(class);
    out->extra_ids = n >= 0 ? n : known && known->t5 ? 100 : 0;
    return WEIR_OK;
}

weir_status weir__tokenizer_config_parse(const char *json, size_t bytes, const char *label,
                                         weir_checkpoint *out, weir_err *err) {
    json_t *root;
    WEIR_TRY(weir__json_object(json, bytes, label, &root, err));
    const weir_status s =
        out->kind == WEIR_FAMILY_T5 ? parse_t5(root, label, out, err) : parse_decoder(root, label, out, err);
    json_decref(root);
    return s;
}
