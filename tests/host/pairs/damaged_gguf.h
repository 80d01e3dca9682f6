#ifndef WEIR_TESTS_HOST_PAIRS_DAMAGED_GGUF_H
#define WEIR_TESTS_HOST_PAIRS_DAMAGED_GGUF_H

#include <stdbool.h>

#include "host/tokenizers/tokenizer.h"

/* The golden vocabularies in the shared folder went through a text filter: each byte that was not UTF-8 is
 * U+FFFD there. Their strings are whole, lengths of 128 and more and scores are not. This reads the strings
 * and types, and opens a sound file of them; with `scored`, the scores of Llama 2's vocabulary. Ends the test
 * where the file is not as described. */
weir_tokenizer *damaged_gguf_open(const char *path, bool scored);

#endif
