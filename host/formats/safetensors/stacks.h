#ifndef WEIR_HOST_FORMATS_SAFETENSORS_STACKS_H
#define WEIR_HOST_FORMATS_SAFETENSORS_STACKS_H

#include "host/formats/safetensors/safetensors.h"

/* Experts as gpt-oss directories hold them: all E of a layer in one tensor, gate and up in one too, whose
 * outputs take turns (gate 0, up 0, gate 1, …).
 *
 *   a model asks for                    the file has
 *   X.experts.gate_proj.weight (E, n, k)   X.experts.gate_up_proj (E, k, 2 n): inputs before outputs; or
 *   X.experts.up_proj.weight   (E, n, k)   X.experts.gate_up_proj_blocks (E, 2 n, k / 32, 16) and
 *                                          X.experts.gate_up_proj_scales (E, 2 n, k / 32), MXFP4 as in int4.h
 *   X.experts.down_proj.weight (E, k, n)   X.experts.down_proj (E, n, k), or its _blocks and _scales
 *   X.experts.gate_proj.bias, X.experts.up_proj.bias (E, n)   X.experts.gate_up_proj_bias (E, 2 n)
 *   X.experts.down_proj.bias   (E, k)      X.experts.down_proj_bias (E, k)
 *
 * Elements are made when a model loads them: F32, F16 and BF16 as they are, MXFP4 as blocks of mxfp4
 * (kernels/weight/quant.h); nothing is rounded. Internal to host/formats. */

/* The tensor that holds, or helps to hold, what a model asks for under `name`; false: the name is none of
 * those above, or nothing of it is there. */
bool weir__stack_find(const weir_safetensors *s, const char *name, weir_entry *out);

/* A name that a model asks for and to which the file's tensor `part` belongs; false: to none. */
bool weir__stack_name(const char *part, char out[WEIR__ENTRY_NAME_CAP]);

/* EFORMAT: a part is missing, twice there, without elements, or of another type or shape than its
 * neighbours. */
weir_status weir__stack_check(const weir_safetensors *s, const char *name, const char *label, weir_err *err);

/* A stack that passed the check: without its data; its elements by weir_alloc (NULL: no memory); what tells
 * them from all others. */
bool weir__stack_tensor(const weir_safetensors *s, const char *name, weir_tensor *out);
void *weir__stack_elements(const weir_safetensors *s, const char *name);
const void *weir__stack_key(const weir_safetensors *s, const char *name);
/* The parts' pages are not needed again. */
void weir__stack_release(const weir_safetensors *s, const char *name);

#endif /* WEIR_HOST_FORMATS_SAFETENSORS_STACKS_H */
