#ifndef WEIR_HOST_FORMATS_SAFETENSORS_F8_H
#define WEIR_HOST_FORMATS_SAFETENSORS_F8_H

#include "host/formats/facts.h"
#include "host/formats/safetensors/safetensors.h"

/* Matrices of 8-bit floats (E4M3 without infinities, arXiv 2209.05433) with scales beside them. X.weight is
 * F8_E4M3; X.weight_scale (compressed-tensors, fbgemm, AutoFP8) or X.weight_scale_inv (DeepSeek's files) is
 * what its elements are multiplied by: one number, one for each row, or one for each block of rows and
 * columns. A model loads them as blocks of fp8 (kernels/weight/quant.h), which hold them as they are, if no
 * 64 columns of a row have two scales; else as bf16, rounded once, as transformers dequantises them. Internal
 * to host/formats. */

bool weir__is_f8(const weir_entry *e);

/* Whether `name` is the scale of such a matrix: of its weights, or of inputs that were rounded to 8 bits too,
 * which weir does not round. */
bool weir__f8_is_scale(const weir_safetensors *s, const char *name);

/* EFORMAT: a matrix without a scale that fits it. */
weir_status weir__f8_check(const weir_safetensors *s, const weir_entry *e, weir_f8_block block,
                           const char *label, weir_err *err);

/* Of a matrix that passed the check, what a model loads: fp8 or bf16; and its elements so, by weir_alloc,
 * NULL: no memory. */
weir_dtype weir__f8_dtype(const weir_safetensors *s, const weir_entry *e, weir_f8_block block);
void *weir__f8_elements(const weir_safetensors *s, const weir_entry *e, weir_f8_block block);

#endif /* WEIR_HOST_FORMATS_SAFETENSORS_F8_H */
