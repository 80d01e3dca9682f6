#ifndef WEIR_MODELS_PARTS_HEAD_H
#define WEIR_MODELS_PARTS_HEAD_H

#include "models/impl.h"

/* Both ends of a model, struct model_head of impl.h. */

size_t weir__head_floats(const model_shape *s); /* a device's scratch */
/* Names without ".weight"; untied NULL: the embedding makes logits too. */
weir_status weir__head_load(weights *w, const model_shape *s, const char *embed, const char *untied,
                            model_head *h);
void weir__head_free(weir_backend *be, model_head *h);

/* A table of ids (n_vocab_rows, dim), of which a rank has its share of the rows. Its name is without
 * ".weight". */
weir_status weir__embedding_load(weights *w, const model_shape *s, const char *name, weir_use use,
                                 weir_weight *out);
/* Into r's x; token (r->n). keys: of the same rows, NULL: not asked for (kernels/rows/embed.h). */
weir_status weir__embed(weir_model *m, const weir_weight *table, float scale, const int32_t *token,
                        const model_rows *r, const weir_row_keys *keys);
weir_status weir__head_logits(weir_model *m, const weir_batch *b, const model_rows *r);

#endif /* WEIR_MODELS_PARTS_HEAD_H */
