#ifndef WEIR_MODELS_IMPL_H
#define WEIR_MODELS_IMPL_H

#include "models/model.h"

/* What a model family fills in; seen by models/ only. A family's struct starts with weir_model, so that the public
 * calls dispatch without knowing it. Arguments have been checked against the bounds below. */
typedef struct weir_model_ops {
    weir_status (*prefill)(weir_model *m, const weir_kv *kv, int32_t slot, const int32_t *token, int64_t n);
    weir_status (*forward)(weir_model *m, const weir_kv *kv, const weir_batch *b);
    void (*free)(weir_model *m); /* half-built models too */
} weir_model_ops;

struct weir_model {
    const weir_model_ops *ops;
    weir_backend *be;
    weir_model_facts facts;
    int64_t n_row, n_prompt; /* largest call and prompt, fixed at create */
};

#endif /* WEIR_MODELS_IMPL_H */
