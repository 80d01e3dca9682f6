#ifndef WEIR_HOST_FORMATS_SAFETENSORS_SAFETENSORS_H
#define WEIR_HOST_FORMATS_SAFETENSORS_SAFETENSORS_H

#include "host/formats/entry.h"

/* The tensors of a Hugging Face checkpoint directory: model.safetensors, or model.safetensors.index.json and
 * its shards, memory-mapped read-only. Format: u64 header length (little endian), JSON header {name: {dtype,
 * shape, data_offsets}}, data. Refused, each with one line: a truncated file, a header longer than the file
 * or 100 MB, bad JSON, duplicate names, unknown dtypes of tensors that are asked for, negative or overflowing
 * shapes, offsets that do not match dtype x shape, overlap, leave a gap or pass the end; an index that names
 * a missing shard, a path outside the directory, or a tensor its shard lacks.
 * A file that another process shortens while it is mapped ends the reader with SIGBUS: replace checkpoints by
 * renaming over them, never in place. */
typedef struct weir_safetensors weir_safetensors;

/* EIO: cannot open or map (with errno's text). EFORMAT: as above. ENOMEM. */
weir_status weir__safetensors_open_dir(weir_safetensors **out, const char *dir, weir_err *err);
weir_status weir__safetensors_open_file(weir_safetensors **out, const char *path, weir_err *err);
/* From memory (tests, fuzzing): bytes are borrowed until close. `label` names them in messages. */
weir_status weir__safetensors_open_bytes(weir_safetensors **out, const void *bytes, size_t n,
                                         const char *label, weir_err *err);
/* An index from memory, its shards from `dir`; `path` names the index in messages. */
weir_status weir__safetensors_open_index(weir_safetensors **out, const char *json, size_t bytes,
                                         const char *path, const char *dir, weir_err *err);
void weir__safetensors_close(weir_safetensors *s); /* NULL allowed */

size_t weir__safetensors_count(const weir_safetensors *s);

/* By index in [0, count), sorted by name; by name: false if absent. */
void weir__safetensors_at(const weir_safetensors *s, size_t i, weir_entry *out);
bool weir__safetensors_find(const weir_safetensors *s, const char *name, weir_entry *out);

/* Tells the kernel that a tensor's file pages are not needed again (they were packed). */
void weir__safetensors_release(const weir_safetensors *s, const char *name);

#endif /* WEIR_HOST_FORMATS_SAFETENSORS_SAFETENSORS_H */
