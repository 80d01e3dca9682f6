#ifndef WEIR_HOST_FORMATS_TENSOR_NAMES_H
#define WEIR_HOST_FORMATS_TENSOR_NAMES_H

#include "host/formats/facts.h"

/* Names of the tensors of a directory: those that a model asks for, what the file calls them, and what the
 * others say that the configuration does not. Internal to host/formats. */

enum { WEIR__TENSOR_NAME_CAP = 256 };

/* Finds c->stem, and judges the tensors by their names. Refused: an adapter's, packed weights, and tensors in
 * a layer that the model does not ask for. Noted: others that are not read. ENOTSUP, EFORMAT, ENOMEM. */
weir_status weir__check_tensor_names(weir_checkpoint *c, weir_err *err);

/* The matrix whose dtype is that of the model. */
const char *weir__bulk_tensor(const weir_checkpoint *c);

/* What a file may call the tensor that a model asks for under `name`: the i-th of its names, the one that
 * counts first; NULL after the last. `room` holds it. */
const char *weir__tensor_file_name(const weir_checkpoint *c, const char *name, int i,
                                   char room[WEIR__TENSOR_NAME_CAP]);

/* False for the image and sound parts of a model of which weir serves the text only. */
bool weir__tensor_is_of_text(const char *name);

#endif /* WEIR_HOST_FORMATS_TENSOR_NAMES_H */
