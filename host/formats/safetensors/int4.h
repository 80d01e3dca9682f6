#ifndef WEIR_HOST_FORMATS_SAFETENSORS_INT4_H
#define WEIR_HOST_FORMATS_SAFETENSORS_INT4_H

#include "host/formats/facts.h"
#include "host/formats/safetensors/safetensors.h"

/* Matrices of 4-bit codes whose rows are cut into groups (GPTQ, arXiv 2210.17323; AWQ, arXiv 2306.00978), as
 * AutoGPTQ, GPTQModel, AutoAWQ and compressed-tensors write them. Of output n and input k
 *
 *   w = scale (code - zero),   scale and zero of n and of group k / group size
 *
 *   form            codes                      zeros                             scales
 *   gptq, gptq_v2   X.qweight (k / 8, n)       X.qzeros (groups, n / 8)          X.scales (groups, n)
 *   awq             X.qweight (k, n / 8)       the same                          the same
 *   pack-quantized  X.weight_packed (n, k / 8) X.weight_zero_point (n / 8, …)    X.weight_scale (n, groups)
 *
 *   mxfp4           X.weight_packed (n, k / 2) none                              X.weight_scale (n, k / 32)
 *
 * Codes and zeros are eight to a word (I32) along the dimension that is divided by 8, the first in the lowest
 * bits; awq's in the order 0 2 4 6 1 3 5 7. Scales are F16 or BF16. gptq stores zeros less one: 0x11111111 is
 * added to a word, carries included, as GPTQModel does. Without a weight_zero_point all zeros are 8.
 * X.g_idx (k), which gptq must have, and X.weight_g_idx say the group of each input. Where that is another
 * than k / group size (desc_act: inputs were quantised in the order of their activations), a matrix is read
 * with its inputs sorted by group. A weight_g_idx of -1 throughout says nothing: compressed-tensors makes it
 * so, and some of its matrices stay so. X.weight_shape is n and k. mxfp4 (compressed-tensors'
 * mxfp4-pack-quantized) has bytes (U8): two E2M1 numbers, the first in the low half, and exponents e, which
 * multiply by 2^(e - 127) (OCP Microscaling Formats 1.0).
 *
 * A model loads them as blocks, without rounding: int4_128 where groups and rows are multiples of 128, else
 * q4_0 where all zeros of a matrix are 8 and its scales are numbers of f16, else int4; mxfp4
 * (kernels/weight/quant.h). Internal to host/formats. */

bool weir__is_int4(weir_int4 c, const weir_entry *e); /* the codes of such a matrix */

/* The codes of the matrix that a model asks for under `name`, X.weight. */
bool weir__int4_find(const weir_safetensors *s, weir_int4 c, const char *name, weir_entry *out);

/* The name X.weight of the matrix of which `part` is a part; false: it is none. */
bool weir__int4_weight_name(weir_int4 c, const char *part, char out[WEIR__ENTRY_NAME_CAP]);

/* The codes e and the tensors beside them. *order: the inputs as weir_tensor's order has them, sorted by
 * group and each group's rising, by weir_alloc; NULL: they are so in the file. EFORMAT: a tensor is missing,
 * or of another type or shape; a group that does not exist, or has more or fewer inputs than its size.
 * ENOMEM. */
weir_status weir__int4_check(const weir_safetensors *s, weir_int4 c, const weir_entry *e, const char *label,
                             int32_t **order, weir_err *err);

/* A matrix that passed the check, whose order the caller keeps: without its data, and its blocks by
 * weir_alloc (NULL: no memory). */
bool weir__int4_tensor(const weir_safetensors *s, weir_int4 c, const weir_entry *e, const int32_t *order,
                       weir_tensor *out);
void *weir__int4_pack(const weir_safetensors *s, weir_int4 c, const weir_entry *e, const int32_t *order);

/* 32 codes, two to a byte, the first in the low half, to the bytes of a block of mxfp4, without its scale. */
void weir__int4_codes(const unsigned char in[16], unsigned char to[16]);

#endif /* WEIR_HOST_FORMATS_SAFETENSORS_INT4_H */
