#ifndef WEIR_HOST_SESSION_SESSION_H
#define WEIR_HOST_SESSION_SESSION_H

#include "host/state.h"
#include "kernels/math/fmath.h"

/* Detokenisation while tokens come, and stop strings. It ends no session: it says what the text asks for. */
typedef enum weir_text_verdict {
    WEIR_TEXT_GOES_ON,
    WEIR_TEXT_STOPS,  /* a stop string came up; output and text are cut there */
    WEIR_TEXT_REFUSED /* the callback wants no more, or memory is short */
} weir_text_verdict;
weir_text_verdict weir__text_push(weir_session *s);     /* token n - 1 was appended */
weir_text_verdict weir__text_tell_all(weir_session *s); /* nothing follows: the rest of the text */
weir_status weir__text_show(weir_session *s);           /* text as far as it is certain, for a view */

void weir__session_restart(weir_session *s); /* forgets the output; keeps slot and prompts */
/* Verifier rows that follow each other, as the backend selected from them: for the likeliest tokens beside
 * each one. top NULL: it saw none, or they are not wanted. */
typedef struct weir_seen {
    const weir_top_entry *top; /* (…, stride), at least as many as the session asks for */
    int stride;
    const weir_row_stats *stats;
} weir_seen;
static inline weir_seen weir__seen_at(const weir_seen *first, int row) {
    if (!first->top) return *first;
    return (weir_seen){first->top + row * first->stride, first->stride, first->stats + row};
}

/* Raw log-probability of a logit of a row, as the accept step computes it. */
static inline float weir__raw_logp(float logit, const weir_row_stats *st) {
    return (logit - st->max) - wf_log(st->sum);
}

/* Appends one token; applies end-of-text, stop strings and the limit. seen: the row that predicted it, or
 * NULL. True while the session goes on. */
bool weir__session_append(weir_session *s, int32_t id, weir_source source, float logprob,
                          float policy_logprob, const weir_seen *seen);
int weir__session_n_top(const weir_session *s,
                        int64_t i); /* entries beside token i, or beside the end of text */
void weir__session_end(weir_session *s, weir_ended by);
void weir__session_end_full(weir_session *s); /* at its limit, or at the context's end */
void weir__session_tell_all(
    weir_session *s); /* the rest of an answer that has ended; it may end otherwise by it */
/* Ends a session whose rows held NaN as cancelled; ELOGITS, err names the token. */
weir_status weir__session_refuse(weir_session *s, weir_err *err);
bool weir__session_is_eos(const weir_session *s, int32_t id);

#endif /* WEIR_HOST_SESSION_SESSION_H */
