#ifndef WEIR_TESTS_HOST_PAIRS_TEXT_MODEL_H
#define WEIR_TESTS_HOST_PAIRS_TEXT_MODEL_H

#include <stdbool.h>

/* Small decoders that write text in a tokenizer of tests/golden/tokenizer. What follows a token is what
 * followed it first in one text, more or less: layers of random weights stir it by all that came before.
 * Embeddings go by the spelling of a token, so that models of two tokenizers are two views of one text. */
typedef struct text_side {
    const char *tokenizer; /* "tiny_gpt2" */
    bool swapped;          /* two ids change places: another vocabulary with the same pieces */
    float stir;            /* 0: the last token alone counts */
    int sliding;           /* layers see a window of so many positions; 0: all */
    int first;             /* its ids begin there; those before are words that no text here has */
} text_side;

char *text_model_write(const text_side *side); /* its directory; files_remove_dir */

#endif
