#ifndef WEIR_TESTS_DECK_TOPS_CASES_H
#define WEIR_TESTS_DECK_TOPS_CASES_H

#include "host/weir.h"

enum { TOPS_TOKENS = 40 };

/* What a callback was told, and that callback. */
typedef struct tops_told {
    size_t n;
    weir_top top[TOPS_TOKENS][WEIR_N_TOP_MAX];
    int n_top[TOPS_TOKENS];
} tops_told;
bool tops_note(void *ud, weir_session *s, const weir_token_event *ev);

/* A session that has ended, and k, which it was created with, against a score of its own text, its end of
 * text included: entries beside each token, the token's own log-probability among them. Returns how many of
 * its tokens the verifier saw. */
int tops_check(weir_engine *e, weir_session *s, const tops_told *k, const char *what);

#endif
