#ifndef WEIR_TESTS_HOST_PAIRS_TINY_PAIR_H
#define WEIR_TESTS_HOST_PAIRS_TINY_PAIR_H

#include "kernels/base/types.h"
#include "tests/host/pairs/pair_fixture.h"

/* Two small T5 checkpoints of random weights over 1,100 ids, without a tokenizer, in folders of their own:
 * the verifier with two decoder layers, the drafter with the first of them, so that they often agree. Shapes
 * that a device works on whole (widths of 64, heads of 16), in milliseconds under the runner of kernels. */
enum { TINY_VOCAB = 1100 };

typedef struct tiny_pair {
    char *dir[2]; /* [0] verifier, [1] drafter */
} tiny_pair;

/* An element of a tensor of both that is NaN. */
typedef struct tiny_flaw {
    const char *tensor;
    size_t element;
} tiny_flaw;

void tiny_pair_write(tiny_pair *p, weir_dtype dtype, const tiny_flaw *flaw); /* NULL: none */
void tiny_pair_remove(tiny_pair *p);

/* Options for the pair on a device: 96 positions, gamma up to 7. */
weir_engine_options tiny_options(const tiny_pair *p, const char *device, int n_parallel);
weir_engine *tiny_open(const tiny_pair *p, const char *device, int n_parallel);

/* A session on prompt number `prompt`: ids from its number, 3 to 12 of them. */
weir_session *tiny_session(weir_engine *e, const weir_session_options *o, int prompt);
void tiny_run(weir_engine *e, const weir_session_options *o, int prompt, answer *out);

#endif
