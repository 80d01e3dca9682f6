#ifndef WEIR_HOST_REPLAY_H
#define WEIR_HOST_REPLAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/accept/law.h"
#include "kernels/base/interrupt.h"
#include "kernels/base/status.h"

/* Part of weir.h. */

#ifdef __cplusplus
extern "C" {
#endif

/* Texts once written under one law, with both models' rows at every position; from these, what any rule at
 * the same temperature and truncation would have rejected and deferred, and how long its blocks would have
 * been. Quality cannot be known without running: another rule writes other texts. */
typedef struct weir_replay weir_replay;

/* sampled: the law the texts were drawn from (its temperature and truncation hold for every estimate). */
weir_status weir_replay_create(const weir_law *sampled, weir_replay **out, weir_err *err);
void weir_replay_free(weir_replay *r); /* NULL allowed */
/* Asked between the texts of an estimate, by every core that is at it; true: ECANCELED. */
void weir_replay_set_interrupt(weir_replay *r, weir_interrupt interrupt);
weir_status weir_replay_begin(weir_replay *r, weir_err *err); /* what follows is another text */

/* The next position of the text. Rows of n entries are copied; token: the entry that was emitted. counted: a
 * token of the answer, which end-of-text is not. EINVAL: unusable rows, or a token that the law cannot have
 * emitted. */
weir_status weir_replay_add(weir_replay *r, const float *q_logits, const float *p_logits, int32_t n,
                            int32_t token, bool counted, weir_err *err);

/* A ratio over all texts with its standard error (texts are the independent units). NaN where it does not
 * exist. */
typedef struct weir_estimate {
    double value, error;
} weir_estimate;

typedef struct weir_replay_figures {
    weir_estimate rejection;  /* of examined rows, as reject_mass / rows_examined of a session */
    weir_estimate deferral;   /* of examined rows */
    weir_estimate acceptance; /* 1 + accepted drafts a block */
    weir_estimate calls;      /* verifier passes a token, the prompt's not counted */
    weir_estimate length;     /* tokens of an answer */
    double texts;             /* effective number: (sum w)^2 / sum w^2 over the texts' last weights */
} weir_replay_figures;

/* recorded: at the recorded prefixes, each row's R as it is; exact there, but the rule's own text would visit
 * others. reweighted: prefixes and blocks weighted by what the rule's law makes of them against the recorded
 * one; no bias, but few effective texts where the laws are far apart, and NaN where either law has no pi. */
typedef struct weir_replay_result {
    weir_replay_figures recorded, reweighted;
    int64_t n_text, n_row;
} weir_replay_result;

/* law: any rule, gate, bonus; its temperature and truncation are the recording's, block_verify is ENOTSUP.
 * gamma 1 … WEIR_GAMMA_MAX. Splits the texts between all cores, with the same result on any number of them;
 * one call at a time on an r. */
weir_status weir_replay_estimate(const weir_replay *r, const weir_law *law, int gamma,
                                 weir_replay_result *out, weir_err *err);

#ifdef __cplusplus
}
#endif

#endif /* WEIR_HOST_REPLAY_H */
