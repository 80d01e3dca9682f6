#ifndef WEIR_HOST_DECK_PLAN_H
#define WEIR_HOST_DECK_PLAN_H

#include "host/state.h"

/* Sizes of everything into e->pair.facts; ENOMEM with the figures where it does not fit, unless only a plan
 * is wanted. */
weir_status weir__plan_make(weir_engine *e, const weir_engine_options *o, weir_err *err);
/* Sources of an encoder–decoder are in the same pool */
weir_kv_shape weir__plan_self(const weir_engine *e, const weir_model_facts *f);
/* n_layer 0: all layers are in self */
weir_kv_shape weir__plan_slide(const weir_engine *e, const weir_model_facts *f);
void weir__plan_format(char *out, size_t cap, size_t bytes); /* "17.1 MiB" */

/* Bytes that this process may still take, by the machine, its cgroups and its resource limits, the
 * smallest of them; 0 = unknown. root: where /proc and /sys are, "" but for tests. */
size_t weir__memory_available(const char *root);

#endif /* WEIR_HOST_DECK_PLAN_H */
