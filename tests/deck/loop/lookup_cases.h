#ifndef WEIR_TESTS_DECK_LOOP_LOOKUP_CASES_H
#define WEIR_TESTS_DECK_LOOP_LOOKUP_CASES_H

#include "tests/host/pairs/pair_fixture.h"

/* Engines that draft by prompt lookup, of both kinds of models, and answers of theirs. */

typedef enum lookup_kind { LOOKUP_T5, LOOKUP_DECODER, LOOKUP_KINDS } lookup_kind;

/* small: models of random weights for T5, too, for the runner of kernels. draft NULL: the verifier alone. */
weir_engine *lookup_open(lookup_kind kind, bool small, const char *draft, const char *device, int n_parallel,
                         bool no_graph);
/* Prompt number `prompt` repeats itself; of one token every seventh. Returns how many ids. */
size_t lookup_prompt(const weir_engine *e, int prompt, int32_t ids[64]);
weir_session *lookup_start(weir_engine *e, const weir_session_options *o, int prompt);
void lookup_run(weir_engine *e, const weir_session_options *o, int prompt, int max_blocks, answer *out);

/* Settings: every rule that has a meaning, gammas, temperatures, bonuses, block verification, one that is the
 * verifier alone. */
enum { LOOKUP_SETTINGS = 14 };
weir_session_options lookup_setting(int i, int max_tokens);
/* From one setting to the next: 1, 4 under ASan, 8 under TSan, which take minutes for all of them. */
int lookup_nth(void);

/* Every lookup_nth() setting alone against these together. */
void lookup_same_together(weir_engine *one, weir_engine *many, int n_parallel, int max_tokens,
                          const int *steps, int n_step);

#endif
