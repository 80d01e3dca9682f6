#ifndef WEIR_HOST_SESSION_CHECK_H
#define WEIR_HOST_SESSION_CHECK_H

#include "host/weir.h"

/* What an engine can serve: ranges, the method against the rule and the drafter, prompt length and ids. One
 * line names the first thing that is wrong. EINVAL, ENOTSUP, ETOOLONG. */
weir_status weir__session_check(const weir_engine *e, const weir_session_options *o, const int32_t *prompt,
                                size_t n_prompt, weir_err *err);

#endif /* WEIR_HOST_SESSION_CHECK_H */
