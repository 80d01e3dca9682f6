#ifndef WEIR_HOST_PAIR_H
#define WEIR_HOST_PAIR_H

#include "host/formats/facts.h"
#include "host/tokenizers/tokenizer.h"

/* The vocabulary two checkpoints share. They fit when they are of a kind and differ in padding only: equal
 * pieces where both have a tokenizer, of T5s equal end and start ids (of decoders the verifier's count).
 * *tok: the tokenizer, or NULL where neither has one; *n_vocab: ids that may be emitted. draft may be NULL.
 * EMISMATCH names the first difference; EFORMAT a tokenizer with more pieces than its model has rows, a
 * decoder's control tokens past them apart. */
weir_status weir__pair_open(const weir_checkpoint *verifier, const weir_checkpoint *draft,
                            weir_tokenizer **tok, int32_t *n_vocab, weir_err *err);

#endif /* WEIR_HOST_PAIR_H */
