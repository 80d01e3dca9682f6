#ifndef WEIR_HOST_TOKENIZERS_ACROSS_H
#define WEIR_HOST_TOKENIZERS_ACROSS_H

#include "host/tokenizers/tokenizer.h"

/* Ids of one vocabulary as those of another, through their text: what transformers calls universal assisted
 * generation. The text is the bytes that the ids stand for. A control token crosses by its name, which is a
 * control token again where the other vocabulary has one of that name, and characters elsewhere. */

#ifdef __cplusplus
extern "C" {
#endif

/* Appends the ids of `to` for n ids of `from`. first: nothing precedes them, so that a space which `from`
 * puts before a text is none of it. Bytes of an unfinished character at the end are left out. ENOMEM, EINVAL
 * as weir__tokenizer_decode. */
weir_status weir__across(const weir_tokenizer *from, const weir_tokenizer *to, const int32_t *ids, size_t n,
                         bool first, weir__ids *out, weir_err *err);

/* Appends the ids of `to` that go on after the ids `before` with the text of n ids of `from`, no control
 * token among them. What follows depends on what is before it, so the end of `before` is encoded once more
 * with the text; the ids after the place where it ends are taken, and where no id begins there those of the
 * text alone. A character that `before` leaves unfinished must be the first one of the text. The text ends
 * before a character that is broken or unfinished. No id is appended where the two do not fit. */
weir_status weir__across_next(const weir_tokenizer *from, const int32_t *ids, size_t n,
                              const weir_tokenizer *to, const int32_t *before, size_t n_before,
                              weir__ids *out, weir_err *err);
enum { WEIR_LOOK_BEHIND = 8 }; /* ids of `before` that are looked at, at most */

#ifdef __cplusplus
}
#endif

#endif /* WEIR_HOST_TOKENIZERS_ACROSS_H */
