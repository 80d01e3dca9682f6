#ifndef WEIR_TESTS_HOST_PAIRS_TEXT_PAIR_H
#define WEIR_TESTS_HOST_PAIRS_TEXT_PAIR_H

#include "host/state.h"
#include "tests/host/pairs/pair_fixture.h"
#include "tests/host/pairs/text_model.h"

/* Pairs of the decoders of text_model.h, and answers of theirs. */
typedef struct text_sides {
    text_side side[2]; /* verifier, drafter */
} text_sides;

/* One whose drafter's logits are NaN. */
extern const text_sides text_broken;
void text_write(const text_sides *p, char *dir[2]); /* free them with files_remove_dir */

/* A pair's directories, on the CPU with one thread. */
weir_engine_options text_options(char *const dir[2], int n_parallel, int ctx_size);
weir_engine *text_open(const weir_engine_options *o);        /* asserts that drafts are texts */
weir_session_options text_greedy(int gamma, int max_tokens); /* gamma 0: the verifier alone */
enum { TEXT_PROMPTS = 12 };
/* Prompt number i, an awkward text. Returns how many ids; weir_ids_free. */
size_t text_prompt(const weir_engine *e, int i, int32_t **ids);
weir_session *text_start(weir_engine *e, const weir_session_options *o, int prompt);
void text_run(weir_engine *e, const weir_session_options *o, int prompt, answer *out);

/* Of a pair of text_broken: its session ends with ELOGITS. */
void text_ends_broken(weir_engine *e);
/* weir_bench has rows of a draft step and of a block. */
void text_is_timed(weir_engine *e);

#endif
