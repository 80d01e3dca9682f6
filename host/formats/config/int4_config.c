/* quantization_config of 4-bit codes in groups: AutoGPTQ's and GPTQModel's ("gptq"), AutoAWQ's ("awq"), and
 * compressed-tensors' of formats pack-quantized and mxfp4-pack-quantized (its config.py and quant_args.py).
 * What it says of single modules need not be read: the tensors of a matrix say how it is stored, and must fit
 * the group size here. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "host/formats/config/config.h"

enum { BLOCK = 32, MAX_GROUP = 1 << 20, USUAL_GROUP = 128 };

#define KEY "quantization_config"

static bool is_text(const json_t *v, const char *text) {
    return json_is_string(v) && strcasecmp(json_string_value(v), text) == 0;
}

/* The form of compressed-tensors' formats; NONE: it is neither of these. */
static weir_int4_form packed_form(const json_t *o) {
    const json_t *format = json_object_get(o, "format");
    if (!is_text(json_object_get(o, "quant_method"), "compressed-tensors")) return WEIR_INT4_NONE;
    return is_text(format, "pack-quantized")         ? WEIR_INT4_PACKED
           : is_text(format, "mxfp4-pack-quantized") ? WEIR_INT4_MXFP4
                                                     : WEIR_INT4_NONE;
}

bool weir__is_int4_config(const char *key, const json_t *value) {
    const json_t *method = json_object_get(value, "quant_method");
    return strcmp(key, KEY) == 0 &&
           (is_text(method, "gptq") || is_text(method, "awq") || packed_form(value) != WEIR_INT4_NONE);
}

/* What it says of modules need not be read: the tensors of experts say how they are stored. */
bool weir__is_mxfp4_config(const char *key, const json_t *value) {
    return strcmp(key, KEY) == 0 && is_text(json_object_get(value, "quant_method"), "mxfp4");
}

static weir_status fail(const json_t *v, const char *field, const char *why, const char *label,
                        weir_err *err) {
    char name[80];
    snprintf(name, sizeof name, KEY ".%s", field);
    return weir__fail_field(err, WEIR_ENOTSUP, label, name, v, why);
}

/* A field that is absent or null, or this text in any case. */
static weir_status expect_text(const json_t *o, const char *field, const char *text, const char *why,
                               const char *label, weir_err *err) {
    const json_t *v = json_object_get(o, field);
    return !v || json_is_null(v) || is_text(v, text) ? WEIR_OK : fail(v, field, why, label, err);
}

/* Bits and the size of groups, in the fields of `o`; `where` goes before their names. A group size that is
 * absent is `usual`, and null or -1 means whole rows. */
static weir_status read_groups(const json_t *o, const char *where, const char *bits, int32_t usual,
                               const char *label, weir_checkpoint *out, weir_err *err) {
    char field[2][48];
    const json_t *b = json_object_get(o, bits), *g = json_object_get(o, "group_size");
    const json_int_t size = json_is_integer(g) ? json_integer_value(g) : !g ? usual : -1;
    snprintf(field[0], sizeof field[0], "%s%s", where, bits);
    snprintf(field[1], sizeof field[1], "%sgroup_size", where);
    if (!json_is_integer(b) || json_integer_value(b) != 4)
        return fail(b, field[0], "not supported, expected 4", label, err);
    if ((g && !json_is_integer(g) && !json_is_null(g)) || size < -1 || size == 0 || size > MAX_GROUP ||
        (size > 0 && size % BLOCK != 0))
        return fail(g, field[1], "not supported, expected -1 or a multiple of 32", label, err);
    out->int4.group = size > 0 ? (int32_t)size : 0;
    return WEIR_OK;
}

/* GPTQModel says the format twice. */
static weir_status read_gptq(const json_t *o, const char *label, weir_checkpoint *out, weir_err *err) {
    static const char *const formats[] = {"checkpoint_format", "format"};
    static const char *const others[] = {"adapter", "rotation"};
    out->int4.form = WEIR_INT4_GPTQ;
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        const json_t *v = json_object_get(o, formats[i]);
        if (is_text(v, "gptq_v2"))
            out->int4.form = WEIR_INT4_GPTQ_V2;
        else
            WEIR_TRY(
                expect_text(o, formats[i], "gptq", "not supported, expected gptq or gptq_v2", label, err));
    }
    WEIR_TRY(expect_text(o, "pack_dtype", "int32", "not supported, expected int32", label, err));
    if (json_is_true(json_object_get(o, "is_marlin_format")))
        return fail(json_object_get(o, "is_marlin_format"), "is_marlin_format",
                    "not supported, expected false", label, err);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (weir__is_set(o, others[i]))
            return fail(json_object_get(o, others[i]), others[i], "not supported, it changes the result",
                        label, err);
    return read_groups(o, "", "bits", USUAL_GROUP, label, out, err);
}

static weir_status read_awq(const json_t *o, const char *label, weir_checkpoint *out, weir_err *err) {
    static const char *const versions[] = {"version", "checkpoint_format", "format"};
    out->int4.form = WEIR_INT4_AWQ;
    for (size_t i = 0; i < sizeof versions / sizeof *versions; i++)
        WEIR_TRY(expect_text(o, versions[i], "gemm", "not supported, expected gemm", label, err));
    WEIR_TRY(expect_text(o, "backend", "autoawq", "not supported, expected autoawq", label, err));
    return read_groups(o, "", "bits", USUAL_GROUP, label, out, err);
}

/* QuantizationArgs of a group's weights; all groups must be alike. */
static weir_status read_packed_group(const json_t *o, const json_t *group, const char *label,
                                     weir_checkpoint *out, weir_err *err) {
    const json_t *w = json_object_get(group, "weights"), *type = json_object_get(w, "type"),
                 *size = json_object_get(w, "group_size");
    const weir_int4 before = out->int4;
    const weir_int4_form form = packed_form(o);
    const bool mxfp4 = form == WEIR_INT4_MXFP4;
    const char *format = json_string_value(json_object_get(o, "format"));
    WEIR_TRY(
        expect_text(group, "format", format, "not supported, expected one format in all groups", label, err));
    if (mxfp4 ? !is_text(type, "float") : type && !is_text(type, "int"))
        return fail(type, "weights.type",
                    mxfp4 ? "not supported, expected float" : "not supported, expected int", label, err);
    WEIR_TRY(read_groups(w, "weights.", "num_bits", -1, label, out, err));
    if (mxfp4 && out->int4.group != BLOCK)
        return fail(size, "weights.group_size", "not supported, expected 32", label, err);
    if (before.form != WEIR_INT4_NONE && before.group != out->int4.group)
        return fail(size, "weights.group_size", "not supported, expected one size in all groups", label, err);
    out->int4.form = form;
    return WEIR_OK;
}

static weir_status read_packed(const json_t *o, const char *label, weir_checkpoint *out, weir_err *err) {
    const json_t *groups = json_object_get(o, "config_groups");
    const char *name;
    json_t *group;
    WEIR_TRY(weir__compressed_check(o, label, err));
    json_object_foreach((json_t *)(uintptr_t)groups, name, group)
        WEIR_TRY(read_packed_group(o, group, label, out, err));
    if (out->int4.form != WEIR_INT4_NONE) return WEIR_OK;
    return fail(groups, "config_groups", "expected a group of weights", label, err);
}

weir_status weir__int4_config(const json_t *value, const char *label, weir_checkpoint *out, weir_err *err) {
    if (packed_form(value) != WEIR_INT4_NONE) return read_packed(value, label, out, err);
    return is_text(json_object_get(value, "quant_method"), "awq") ? read_awq(value, label, out, err)
                                                                  : read_gptq(value, label, out, err);
}
