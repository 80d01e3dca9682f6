#ifndef WEIR_HOST_TOKENIZERS_STEPS_CHARACTERS_H
#define WEIR_HOST_TOKENIZERS_STEPS_CHARACTERS_H

#include "host/tokenizers/steps/out.h"
#include "host/tokenizers/steps/step.h"
#include "kernels/base/status.h"

/* Steps on a text that go from character to character. */

/* Appends the step's result for a text, which may be any bytes. Failed puts show in `out`. */
weir_status weir__characters_apply(weir__step_kind kind, const char *text, size_t n, weir__out *out,
                                   weir_err *err);

/* Whether a normal form may join the character at s with the one before it. n > 0. */
bool weir__joins_previous(const char *s, size_t n);

#endif /* WEIR_HOST_TOKENIZERS_STEPS_CHARACTERS_H */
