#ifndef WEIR_HOST_TOKENIZERS_SPM_SPM_H
#define WEIR_HOST_TOKENIZERS_SPM_SPM_H

#include "host/tokenizers/ids.h"
#include "kernels/base/status.h"
#include "kernels/base/types.h"

/* The SentencePiece library, from C. All calls but open and free only read, so that threads may share a
 * model. */

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weir__spm weir__spm;

/* The model's bytes are checked (spm_check.h) and copied; label names them in messages. */
weir_status weir__spm_open(weir__spm **out, const void *model, size_t bytes, const char *label,
                           weir_err *err);
void weir__spm_free(weir__spm *m); /* NULL allowed */

int32_t weir__spm_size(const weir__spm *m);
const char *weir__spm_piece(const weir__spm *m, int32_t id); /* borrowed until free */
bool weir__spm_is_control(const weir__spm *m, int32_t id);
int32_t weir__spm_unknown(const weir__spm *m); /* id of the unknown piece */

/* The id of a text that the model does not know, -1 if it has none. */
typedef int32_t weir__spm_known(const void *ud, const char *text, size_t bytes);

/* Appends ids. known: NULL, or asked for each piece of unknown characters. */
weir_status weir__spm_encode(const weir__spm *m, const char *text, size_t bytes, weir__spm_known *known,
                             const void *ud, weir__ids *out, weir_err *err);
/* *text by weir_alloc, zero-terminated. */
weir_status weir__spm_decode(const weir__spm *m, const int32_t *ids, size_t n, char **text, size_t *bytes,
                             weir_err *err);

#ifdef __cplusplus
}
#endif

#endif /* WEIR_HOST_TOKENIZERS_SPM_SPM_H */
