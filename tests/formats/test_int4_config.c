/* What quantization_config says of 4-bit codes: a form and a size of groups, or a line about the field. */
#include <criterion/criterion.h>
#include <string.h>

#include "host/formats/config/config.h"
#include "tests/support/files.h"

#define CONFIG(text)                                                                           \
    "{\"model_type\":\"llama\",\"vocab_size\":67,\"hidden_size\":64,\"intermediate_size\":96," \
    "\"num_hidden_layers\":1,\"num_attention_heads\":4,\"quantization_config\":{\"quant_method\":" text "}}"
#define GROUPS(weights)                                                                                    \
    "\"compressed-tensors\",\"format\":\"pack-quantized\",\"config_groups\":{\"a\":{\"weights\":{" weights \
    "}}}"

#define FLOATS "\"compressed-tensors\",\"format\":\"mxfp4-pack-quantized\",\"config_groups\":"
#define MXFP4(weights) FLOATS "{\"a\":{\"weights\":{" weights "}}}"

Test(int4_config, configurations_give_a_form_and_a_group_or_are_refused_by_field) {
    static const struct {
        const char *text;
        weir_int4 c;
        const char *about; /* NULL: it is read */
    } cases[] = {
        {CONFIG("\"gptq\",\"bits\":4"), {WEIR_INT4_GPTQ, 128}, NULL},
        {CONFIG("\"gptq\",\"bits\":4,\"group_size\":32,\"desc_act\":true"), {WEIR_INT4_GPTQ, 32}, NULL},
        {CONFIG("\"gptq\",\"bits\":4,\"group_size\":-1"), {WEIR_INT4_GPTQ, 0}, NULL},
        {CONFIG("\"GPTQ\",\"bits\":4,\"checkpoint_format\":\"gptq_v2\""), {WEIR_INT4_GPTQ_V2, 128}, NULL},
        {CONFIG("\"gptq\",\"bits\":4,\"format\":\"gptq_v2\",\"checkpoint_format\":\"gptq_v2\""),
         {WEIR_INT4_GPTQ_V2, 128},
         NULL},
        {CONFIG("\"awq\",\"bits\":4,\"group_size\":64,\"version\":\"GEMM\""), {WEIR_INT4_AWQ, 64}, NULL},
        {CONFIG(GROUPS("\"num_bits\":4,\"group_size\":64")), {WEIR_INT4_PACKED, 64}, NULL},
        {CONFIG(GROUPS("\"num_bits\":4,\"group_size\":null")), {WEIR_INT4_PACKED, 0}, NULL},
        {CONFIG(MXFP4("\"num_bits\":4,\"type\":\"float\",\"group_size\":32")), {WEIR_INT4_MXFP4, 32}, NULL},
        {CONFIG(MXFP4("\"num_bits\":4,\"type\":\"int\",\"group_size\":32")), {0}, "weights.type = \"int\""},
        {CONFIG(MXFP4("\"num_bits\":4,\"type\":\"float\"")), {0}, "weights.group_size = null: not supported"},
        {CONFIG("\"gptq\""), {0}, "quantization_config.bits = null: not supported, expected 4"},
        {CONFIG("\"gptq\",\"bits\":3"), {0}, "quantization_config.bits = 3: not supported, expected 4"},
        {CONFIG("\"gptq\",\"bits\":8"), {0}, "quantization_config.bits = 8"},
        {CONFIG("\"gptq\",\"bits\":4,\"group_size\":0"), {0}, "group_size = 0: not supported"},
        {CONFIG("\"gptq\",\"bits\":4,\"group_size\":-2"), {0}, "expected -1 or a multiple of 32"},
        {CONFIG("\"gptq\",\"bits\":4,\"group_size\":48"), {0}, "quantization_config.group_size = 48"},
        {CONFIG("\"gptq\",\"bits\":4,\"group_size\":\"128\""), {0}, "group_size = \"128\""},
        {CONFIG("\"gptq\",\"bits\":4,\"group_size\":4294967328"), {0}, "group_size = 4294967328"},
        {CONFIG("\"gptq\",\"bits\":4,\"checkpoint_format\":\"marlin\""),
         {0},
         "checkpoint_format = \"marlin\""},
        {CONFIG("\"gptq\",\"bits\":4,\"is_marlin_format\":true"), {0}, "is_marlin_format = true"},
        {CONFIG("\"gptq\",\"bits\":4,\"pack_dtype\":\"int8\""), {0}, "pack_dtype = \"int8\""},
        {CONFIG("\"gptq\",\"bits\":4,\"adapter\":{\"a\":1}"), {0}, "quantization_config.adapter"},
        {CONFIG("\"awq\",\"bits\":4,\"version\":\"gemv\""),
         {0},
         "version = \"gemv\": not supported, expected"},
        {CONFIG("\"awq\",\"bits\":4,\"backend\":\"llm-awq\""), {0}, "backend = \"llm-awq\""},
        {CONFIG("\"awq\",\"bits\":4,\"checkpoint_format\":\"gemv_fast\""), {0}, "\"gemv_fast\""},
        {CONFIG("\"awq\",\"bits\":8"), {0}, "quantization_config.bits = 8"},
        {CONFIG("\"compressed-tensors\",\"format\":\"pack-quantized\""), {0}, "config_groups"},
        {CONFIG(GROUPS("\"num_bits\":8")), {0}, "weights.num_bits = 8"},
        {CONFIG(GROUPS("\"num_bits\":4,\"type\":\"float\"")), {0}, "weights.type = \"float\""},
        {CONFIG(GROUPS("\"num_bits\":4,\"group_size\":16")), {0}, "weights.group_size = 16"},
        {CONFIG("\"compressed-tensors\",\"format\":\"pack-quantized\",\"kv_cache_scheme\":{\"a\":1}"),
         {0},
         "kv_cache_scheme"},
        {CONFIG("\"compressed-tensors\",\"format\":\"pack-quantized\",\"config_groups\":{\"a\":{\"weights\":{"
                "\"num_bits\":4,\"group_size\":32}},\"b\":{\"weights\":{\"num_bits\":4,\"group_size\":64}}}"),
         {0},
         "weights.group_size = 64: not supported, expected one size in all groups"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        weir_checkpoint c = {0};
        weir_err err = {""};
        const weir_status s =
            weir__config_parse(cases[i].text, strlen(cases[i].text), "config.json", &c, &err);
        if (cases[i].about) {
            cr_expect(s == WEIR_ENOTSUP && err_is_line(&err, cases[i].about), "want \"%s\", got: %s",
                      cases[i].about, err.text);
            continue;
        }
        cr_expect_eq(s, WEIR_OK, "%s", err.text);
        cr_expect(c.int4.form == cases[i].c.form && c.int4.group == cases[i].c.group, "%s", cases[i].text);
    }
}
