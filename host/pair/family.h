#ifndef WEIR_HOST_PAIR_FAMILY_H
#define WEIR_HOST_PAIR_FAMILY_H

#include "host/formats/facts.h"
#include "host/weir.h"

/* What the engine asks of a family of models, given its checkpoint: the only place in host/ that
 * distinguishes one family from another by its functions. Contracts are those of models/model.h. */
typedef struct weir_family {
    bool encoder_decoder;
    bool ends_prompts; /* the end of text follows what it reads */
    weir_status (*measure)(const weir_checkpoint *ck, const weir_tensor_source *src, weir_place place,
                           weir_model_facts *out, weir_err *err);
    weir_bytes (*scratch_bytes)(const weir_checkpoint *ck, const weir_backend *be, const weir_model_facts *f,
                                weir_place place, int64_t n_row, int64_t n_prompt);
    size_t (*op_floats)(const weir_checkpoint *ck, const weir_backend *be, int64_t n_row, int64_t n_key);
    weir_status (*create)(weir_model **out, weir_backend *be, const weir_checkpoint *ck,
                          const weir_tensor_source *src, bool whole_body, int64_t n_row, int64_t n_prompt,
                          weir_err *err);
    /* the config's part of the facts */
    void (*note)(const weir_checkpoint *ck, int side, weir_engine_facts *f);
    int32_t (*ctx_default)(const weir_checkpoint *ck); /* of weir_engine_options.ctx_size = 0 */
} weir_family;

const weir_family *weir__family_of(const weir_checkpoint *ck);

#endif /* WEIR_HOST_PAIR_FAMILY_H */
