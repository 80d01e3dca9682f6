#ifndef WEIR_HOST_SESSION_SESSION_H
#define WEIR_HOST_SESSION_SESSION_H

#include "host/state.h"

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
/* Appends one token; applies end-of-text, stop strings and the limit. True while the session goes on. */
bool weir__session_append(weir_session *s, int32_t id, weir_source source, float logprob,
                          float policy_logprob);
void weir__session_end(weir_session *s, weir_ended by);
void weir__session_end_full(weir_session *s); /* at its limit, or at the context's end */
void weir__session_tell_all(
    weir_session *s); /* the rest of an answer that has ended; it may end otherwise by it */
/* Ends a session whose rows held NaN as cancelled; ELOGITS, err names the token. */
weir_status weir__session_refuse(weir_session *s, weir_err *err);
bool weir__session_is_eos(const weir_session *s, int32_t id);

#endif /* WEIR_HOST_SESSION_SESSION_H */
