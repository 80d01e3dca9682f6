#ifndef WEIR_HOST_DECK_PLAN_H
#define WEIR_HOST_DECK_PLAN_H

#include "host/state.h"

/* Sizes of everything into e->pair.facts; ENOMEM with the figures where it does not fit, unless only a plan
 * is wanted. May be made again, for another place of the drafter's layers. */
weir_status weir__plan_make(weir_engine *e, const weir_engine_options *o, weir_err *err);
/* What the tensors of a model say of a rank's share. */
weir_status weir__plan_measure(weir_engine *e, int side, weir_place place, weir_model_facts *out,
                               weir_err *err);
bool weir__plan_can_share(const weir_engine *e, int side); /* a model's layers; after it was measured */
/* Sources of an encoder–decoder are in the same pool */
weir_kv_shape weir__plan_self(const weir_engine *e, const weir_model_facts *f);
/* n_layer 0: all layers are in self */
weir_kv_shape weir__plan_slide(const weir_engine *e, const weir_model_facts *f);
void weir__plan_format(char *out, size_t cap, size_t bytes); /* "17.1 MiB" */

/* Bytes that this process may still take, by the machine, its cgroups and its resource limits, the
 * smallest of them; 0 = unknown. root: where /proc and /sys are, "" but for tests. */
size_t weir__memory_available(const char *root);

#endif /* WEIR_HOST_DECK_PLAN_H */
