#ifndef WEIR_TESTS_HOST_PAIRS_PAIR_FIXTURE_H
#define WEIR_TESTS_HOST_PAIRS_PAIR_FIXTURE_H

#include "host/weir.h"

/* The demo pair of models/demo and small helpers around it. Every helper fails the running test on error. */

weir_engine_options demo_options(void); /* on the CPU with one thread, 128 positions */
weir_engine *engine_open(const weir_engine_options *o);
weir_engine *demo_open(int n_parallel, int n_thread, const char *isa, bool with_draft);

/* Drafts of 3, no end of text; a rule that the method takes, under which both models write. */
weir_session_options method_options(weir_method method, int max_tokens);

/* A finished answer, copied out of its session. */
typedef struct answer {
    int32_t ids[256];
    uint8_t sources[256];
    float logprobs[256], policy[256];
    size_t n;
    char text[2048];
    weir_finish finish;
    weir_session_stats stats;
} answer;

weir_session *demo_session(weir_engine *e, const weir_session_options *o, const char *prompt);
void answer_copy(const weir_session_view *v, answer *out);
void answer_take(weir_session *s, answer *out);
void answer_run(weir_engine *e, const weir_session_options *o, const char *prompt, answer *out);
/* n answers, up to n_parallel (at most 16) at once in steps of max_blocks: started in order or backwards,
 * another one as soon as one ends. start(ud, e, i): the session of answer i. */
typedef weir_session *(*answer_start)(const void *ud, weir_engine *e, int i);
void answer_run_together(weir_engine *e, int n_parallel, int max_blocks, bool backwards, answer_start start,
                         const void *ud, int n, answer *out);
void answer_assert_same(const answer *a, const answer *b, const char *what);
void answer_assert_same_books(const answer *a, const answer *b, const char *what); /* all but seconds */

extern const char *const demo_prompts[10];

#endif
