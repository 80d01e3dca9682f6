#ifndef WEIR_TESTS_FUZZ_TOKENS_H
#define WEIR_TESTS_FUZZ_TOKENS_H

#include "host/tokenizers/tokenizer.h"

/* Text to ids and back: ids in range, decoding never fails, and ends with its zero. */
void fuzz_round_trip(const weir_tokenizer *t, const char *text, size_t n);

/* All of a vocabulary that has just been opened: its pieces, and a text with a bit of everything. */
void fuzz_vocabulary(const weir_tokenizer *t);

#endif
