#ifndef WEIR_TESTS_FORMATS_CONFIG_TEXT_H
#define WEIR_TESTS_FORMATS_CONFIG_TEXT_H

#include "host/formats/facts.h"

/* Texts of config.json, read as "config.json". */

#define LLAMA(fields) "{\"model_type\":\"llama\"" fields "}"
#define MISTRAL(fields) "{\"model_type\":\"mistral\"" fields "}"
#define PHI3(fields) "{\"model_type\":\"phi3\"" fields "}"
#define OLMO2(fields) "{\"model_type\":\"olmo2\"" fields "}"
#define GRANITE(fields) "{\"model_type\":\"granite\"" fields "}"
#define SMOLLM3(fields) "{\"model_type\":\"smollm3\"" fields "}"
#define QWEN2(fields) "{\"model_type\":\"qwen2\"" fields "}"
#define QWEN3(fields) "{\"model_type\":\"qwen3\"" fields "}"
#define MIXTRAL(fields) "{\"model_type\":\"mixtral\"" fields "}"
#define QWEN2_MOE(fields) "{\"model_type\":\"qwen2_moe\"" fields "}"
#define QWEN3_MOE(fields) "{\"model_type\":\"qwen3_moe\"" fields "}"
#define GPT_OSS(fields) "{\"model_type\":\"gpt_oss\"" fields "}"
#define GEMMA2(fields) "{\"model_type\":\"gemma2\"" fields "}"
#define GEMMA3(fields) "{\"model_type\":\"gemma3_text\"" fields "}"
/* fields: outside the stacks; e and d: in the encoder's and the decoder's objects. */
#define T5GEMMA(e, d, fields) "{\"model_type\":\"t5gemma\",\"encoder\":{" e "},\"decoder\":{" d "}" fields "}"

weir_status parse(const char *json, size_t n, weir_checkpoint *c, weir_err *err);
weir_checkpoint good(const char *json); /* of no T5 */
/* Refused in one line that has part in it; nothing is filled in. */
void bad(const char *json, weir_status want, const char *part);
void every_prefix(const char *whole); /* is refused but the whole */
int count_sliding(const weir_decoder_config *d);

#endif
