#ifndef WEIR_TESTS_HOST_PAIRS_DECODER_PAIR_H
#define WEIR_TESTS_HOST_PAIRS_DECODER_PAIR_H

#include "host/state.h"
#include "tests/deck/loop/loop_cases.h"

/* Pairs of the small decoders of tests/golden/decoder, 67 ids without a tokenizer, and one of T5Gemmas, 71
 * ids. Windows of 9 to 17 positions slide in Gemma's, so that most blocks roll back over a window's edge. */
typedef struct decoder_names {
    const char *verifier, *drafter;
} decoder_names;

enum { DECODER_PAIRS = 5 };
extern const decoder_names decoder_pairs[DECODER_PAIRS]; /* strangers; one model twice, which agrees with
                                                            itself; kin; two of the later families;
                                                            encoder-decoders */

weir_engine *decoder_open(const decoder_names *names, const char *device, int n_parallel, int n_thread,
                          int ctx_size);

/* Prompt number `prompt`: 1 to 70 ids made up from its number. Returns how many. */
size_t decoder_prompt(int prompt, int32_t ids[70]);
weir_session *decoder_start(weir_engine *e, const weir_session_options *o, int prompt, weir_token_fn on_token,
                            void *ud);
void decoder_run(weir_engine *e, const weir_session_options *o, int prompt, answer *out);

#endif
