#ifndef WEIR_HOST_FORMATS_CHECKPOINT_H
#define WEIR_HOST_FORMATS_CHECKPOINT_H

#include "host/formats/safetensors.h"
#include "models/model.h"

/* A checkpoint directory as the engine needs it: config.json (+ generation_config.json) turned into a model config and
 * special ids, tensors as a weir_tensor_source, the tokenizer's path. Every config field is either honoured, known
 * not to change the result, or refused by name. */
typedef struct weir_checkpoint {
    char *dir;
    weir_t5_config t5;
    weir_dtype dtype; /* of the matrices in the file */
    int32_t start_id; /* decoder_start_token_id; else bos_token_id; else pad_token_id */
    int32_t eos[8], n_eos;
    int32_t pad_id;       /* -1 if none */
    char *tokenizer_path; /* spiece.model or tokenizer.model; NULL if the directory has none */
    int32_t extra_ids;    /* tokenizer_config.json: T5 sentinels past the pieces (absent: 100 for a T5
                                      tokenizer class or no such file, 0 otherwise) */
    char *chat_template;  /* zero-terminated, by weir_alloc; NULL if the checkpoint has none */
    char family[64];      /* "t5 (gated gelu_new, untied head)" */
    weir_safetensors *tensors;
} weir_checkpoint;

/* Reads the JSON files and the safetensors headers; tensors are mapped, nothing is copied, so the memory plan can be
 * made before a load. EIO, EFORMAT, ENOTSUP (a field, an architecture or a dtype we do not implement). */
weir_status weir_checkpoint_open(weir_checkpoint *out, const char *dir, weir_err *err);
void weir_checkpoint_close(weir_checkpoint *c); /* zeroed struct allowed */

/* Source over the checkpoint's tensors; borrowed until close. 1-D tensors come as (1, n). */
weir_tensor_source weir_checkpoint_source(weir_checkpoint *c);

/* Texts of config.json, generation_config.json (after it: its ids win) and tokenizer_config.json, for tests and
 * fuzzing; label names them in messages. */
weir_status weir_t5_config_parse(const char *json, size_t bytes, const char *label, weir_checkpoint *out,
                                 weir_err *err);
weir_status weir_generation_config_parse(const char *json, size_t bytes, const char *label,
                                         weir_checkpoint *out, weir_err *err);
weir_status weir_tokenizer_config_parse(const char *json, size_t bytes, const char *label,
                                        weir_checkpoint *out, weir_err *err);

#endif /* WEIR_HOST_FORMATS_CHECKPOINT_H */
