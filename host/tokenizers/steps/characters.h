#ifndef WEIR_HOST_TOKENIZERS_STEPS_CHARACTERS_H
#define WEIR_HOST_TOKENIZERS_STEPS_CHARACTERS_H

#include "host/tokenizers/steps/out.h"
#include "host/tokenizers/steps/step.h"
#include "kernels/base/status.h"

/* Steps that change a text character by character. */

/* Appends the step's result. The text may be any bytes. `out` says whether a put failed. */
weir_status weir__characters_apply(weir__step_kind kind, const char *text, size_t n, weir__out *out,
                                   weir_err *err);

/* Whether a normal form may join the character at s with the one before it. n > 0. */
bool weir__joins_previous(const char *s, size_t n);

#endif /* WEIR_HOST_TOKENIZERS_STEPS_CHARACTERS_H */
