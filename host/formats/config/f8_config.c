/* quantization_config of weights in 8-bit floats: compressed-tensors (its config.py and quant_args.py),
 * transformers' FineGrainedFP8Config ("fp8": DeepSeek-V3, Qwen3), AutoFP8's and fbgemm's. What they say about
 * activations is not applied: inputs are not rounded to 8 bits. */
#include <string.h>

#include "host/formats/config/config.h"

enum { MAX_BLOCK = 1 << 20 };

#define KEY "quantization_config"

bool weir__is_f8_config(const char *key, const json_t *value) {
    static const char *const methods[] = {"compressed-tensors", "fp8", "fbgemm_fp8"};
    const char *method = json_string_value(json_object_get(value, "quant_method"));
    for (size_t i = 0; method && i < sizeof methods / sizeof *methods; i++)
        if (strcmp(method, methods[i]) == 0) return strcmp(key, KEY) == 0;
    return false;
}

/* A field that is absent or null, or one of the texts (the second may be NULL). */
static weir_status expect_text(const json_t *o, const char *name, const char *field, const char *a,
                               const char *b, const char *label, weir_err *err) {
    const json_t *v = json_object_get(o, name);
    const char *text = json_string_value(v);
    if (!v || json_is_null(v) || (text && (strcmp(text, a) == 0 || (b && strcmp(text, b) == 0))))
        return WEIR_OK;
    return weir__fail_field(err, WEIR_ENOTSUP, label, field, v,
                            "not supported, expected 8-bit floats (E4M3)");
}

/* [rows, columns] of a block, where the field is there. */
static weir_status read_block(const json_t *o, const char *name, const char *field, const char *label,
                              weir_checkpoint *out, weir_err *err) {
    const json_t *v = json_object_get(o, name);
    if (!v || json_is_null(v)) return WEIR_OK;
    const json_int_t rows = json_integer_value(json_array_get(v, 0)),
                     cols = json_integer_value(json_array_get(v, 1));
    if (json_array_size(v) != 2 || rows < 1 || rows > MAX_BLOCK || cols < 1 || cols > MAX_BLOCK)
        return weir__fail_field(err, WEIR_EFORMAT, label, field, v, "expected two sizes of a block");
    out->f8_block = (weir_f8_block){(int32_t)rows, (int32_t)cols};
    return WEIR_OK;
}

/* QuantizationArgs of a group's weights. */
static weir_status read_group(const json_t *group, const char *label, weir_checkpoint *out, weir_err *err) {
    const json_t *w = json_object_get(group, "weights"), *bits = json_object_get(w, "num_bits"),
                 *symmetric = json_object_get(w, "symmetric"), *strategy = json_object_get(w, "strategy");
    const char *how = json_string_value(strategy);
    if (!w || json_is_null(w)) return WEIR_OK;
    WEIR_TRY(expect_text(w, "type", KEY ".weights.type", "float", NULL, label, err));
    if (bits && (!json_is_integer(bits) || json_integer_value(bits) != 8))
        return weir__fail_field(err, WEIR_ENOTSUP, label, KEY ".weights.num_bits", bits,
                                "not supported, expected 8");
    if (json_is_false(symmetric))
        return weir__fail_field(err, WEIR_ENOTSUP, label, KEY ".weights.symmetric", symmetric,
                                "not supported, expected true");
    if (how && strcmp(how, "tensor") != 0 && strcmp(how, "channel") != 0 && strcmp(how, "block") != 0)
        return weir__fail_field(err, WEIR_ENOTSUP, label, KEY ".weights.strategy", strategy,
                                "not supported, expected tensor, channel or block");
    return read_block(w, "block_structure", KEY ".weights.block_structure", label, out, err);
}

weir_status weir__compressed_check(const json_t *o, const char *label, weir_err *err) {
    const json_t *cache = json_object_get(o, "kv_cache_scheme"),
                 *sparse = json_object_get(json_object_get(o, "sparsity_config"), "format");
    const char *how = json_string_value(sparse);
    if (sparse && !json_is_null(sparse) && (!how || strcmp(how, "dense") != 0))
        return weir__fail_field(err, WEIR_ENOTSUP, label, KEY ".sparsity_config.format", sparse,
                                "not supported, expected dense");
    if (cache && !json_is_null(cache))
        return weir__fail_field(err, WEIR_ENOTSUP, label, KEY ".kv_cache_scheme", cache,
                                "not supported, it changes the result");
    return WEIR_OK;
}

static weir_status read_compressed(const json_t *o, const char *label, weir_checkpoint *out, weir_err *err) {
    const json_t *groups = json_object_get(o, "config_groups");
    const char *name;
    json_t *group;
    WEIR_TRY(expect_text(o, "format", KEY ".format", "float-quantized", "naive-quantized", label, err));
    WEIR_TRY(weir__compressed_check(o, label, err));
    json_object_foreach((json_t *)(uintptr_t)groups, name, group)
        WEIR_TRY(read_group(group, label, out, err));
    return WEIR_OK;
}

weir_status weir__f8_config(const json_t *value, const char *label, weir_checkpoint *out, weir_err *err) {
    if (json_is_null(value)) return WEIR_OK;
    if (strcmp(json_string_value(json_object_get(value, "quant_method")), "compressed-tensors") == 0)
        return read_compressed(value, label, out, err);
    WEIR_TRY(expect_text(value, "fmt", KEY ".fmt", "e4m3", "float8_e4m3fn", label, err));
    return read_block(value, "weight_block_size", KEY ".weight_block_size", label, out, err);
}
