#ifndef WEIR_HOST_PAIR_H
#define WEIR_HOST_PAIR_H

#include "host/formats/checkpoint.h"
#include "host/tokenizers/tokenizer.h"

/* The vocabulary two checkpoints share. They fit when they differ in padding rows only: equal pieces where both have
 * a tokenizer, equal end and start ids. *tok: the tokenizer, or NULL where neither has one; *n_vocab: ids that
 * may be emitted. draft may be NULL. EMISMATCH names the first difference; EFORMAT a tokenizer with more
 * pieces than its model has rows. */
weir_status weir_pair_open(const weir_checkpoint *verifier, const weir_checkpoint *draft, weir_tokenizer **tok,
                           int32_t *n_vocab, weir_err *err);

#endif /* WEIR_HOST_PAIR_H */
