#ifndef WEIR_HOST_MEASURE_SCORE_H
#define WEIR_HOST_MEASURE_SCORE_H

#include "host/state.h"

/* A prompt and a completion that may be scored: ids of the vocabulary that fit the context. EINVAL,
 * ETOOLONG. */
weir_status weir__score_check(const weir_engine *e, const int32_t *prompt, size_t n_prompt,
                              const int32_t *completion, size_t n_completion, weir_err *err);

#endif /* WEIR_HOST_MEASURE_SCORE_H */
