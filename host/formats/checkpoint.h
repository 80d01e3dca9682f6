#ifndef WEIR_HOST_FORMATS_CHECKPOINT_H
#define WEIR_HOST_FORMATS_CHECKPOINT_H

#include "host/formats/facts.h"

/* A directory (config.json, safetensors) or a file (GGUF). Reads the JSON files and the headers of tensors.
 * Tensors are mapped, not copied, so that the memory plan can be made before a load. strict: unknown fields
 * and tensors of a directory are refused. EIO, EFORMAT, ENOTSUP (a field, architecture or dtype that weir
 * does not implement). */
weir_status weir__checkpoint_open(weir_checkpoint *out, const char *path, bool strict, weir_err *err);
void weir__checkpoint_close(weir_checkpoint *c); /* zeroed struct allowed */

/* The same checkpoint for the model of one thread: the same files, which it may not outlive. Free what its
 * source made with weir__checkpoint_drop. */
weir_checkpoint weir__checkpoint_copy(const weir_checkpoint *c);
void weir__checkpoint_drop(weir_checkpoint *c);

/* Source over the checkpoint's tensors; borrowed until close. 1-D tensors come as (1, n). */
weir_tensor_source weir__checkpoint_source(weir_checkpoint *c);

/* Names, types, shapes and some bytes of each tensor, hashed: checkpoints that differ in training differ
 * here. Not a check of every byte, which would read all of a file that is mapped. */
uint64_t weir__checkpoint_fingerprint(const weir_checkpoint *c);

#endif /* WEIR_HOST_FORMATS_CHECKPOINT_H */
