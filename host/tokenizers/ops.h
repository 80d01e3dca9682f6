#ifndef WEIR_HOST_TOKENIZERS_OPS_H
#define WEIR_HOST_TOKENIZERS_OPS_H

#include "host/tokenizers/ids.h"
#include "host/tokenizers/text/ranges.h"
#include "kernels/base/status.h"
#include "kernels/base/types.h"

/* What a family of tokenizers provides. tokenizer.c adds range checks and skipping. All calls except free
 * only read `impl`, so threads may share it. Ids passed in are inside [0, size). */

#ifdef __cplusplus
extern "C" {
#endif

typedef enum weir_piece_kind {
    WEIR_PIECE_TEXT,    /* text, or what the vocabulary lacks */
    WEIR_PIECE_CONTROL, /* end of text, padding, a GGUF file's unknown piece: has no text */
} weir_piece_kind;

typedef struct weir_tokenizer_ops {
    void (*free)(void *impl); /* NULL allowed */
    int32_t (*size)(const void *impl);
    const char *(*piece)(const void *impl, int32_t id); /* borrowed until free */
    weir_piece_kind (*kind)(const void *impl, int32_t id);
    /* Appends the ids of a text; special: where the spelling of a control token becomes the token; first:
     * nothing precedes the text. After a failure the list may have some of the ids. */
    weir_status (*encode)(const void *impl, const char *text, size_t bytes, const weir__ranges *special,
                          bool first, weir__ids *out, weir_err *err);
    /* Ids to text, none of kind CONTROL; first: nothing precedes them. *text by weir_alloc, zero-terminated,
     * UTF-8. */
    weir_status (*decode)(const void *impl, const int32_t *ids, size_t n, bool first, char **text,
                          size_t *bytes, weir_err *err);
    /* The bytes of one id within a text. *bytes by weir_alloc, zero-terminated. */
    weir_status (*bytes)(const void *impl, int32_t id, char **bytes, size_t *n, weir_err *err);
    bool (*is_open)(const void *impl, int32_t id); /* tokenizer.h */
    int32_t (*end)(const void *impl);              /* tokenizer.h */
} weir_tokenizer_ops;

typedef struct weir_tokenizer weir_tokenizer; /* tokenizer.h */

/* A handle around impl. It takes ownership of impl, and frees it on ENOMEM. */
weir_status weir__tokenizer_new(weir_tokenizer **out, const weir_tokenizer_ops *ops, void *impl,
                                weir_err *err);

#ifdef __cplusplus
}
#endif

#endif /* WEIR_HOST_TOKENIZERS_OPS_H */
