#ifndef WEIR_HOST_PAIR_VOCABULARY_H
#define WEIR_HOST_PAIR_VOCABULARY_H

#include "host/formats/facts.h"
#include "host/tokenizers/tokenizer.h"

/* The vocabulary that two checkpoints share. They fit if they are of one kind and differ only in padding:
 * equal pieces if both have a tokenizer, and for T5s equal end and start ids (for decoders the verifier's
 * count). *tok: the tokenizer, or NULL if neither has one; *n_vocab: ids that may be emitted. draft may be
 * NULL. EMISMATCH names the first difference; EFORMAT: a tokenizer has more pieces than its model has rows,
 * not counting a decoder's control tokens. */
weir_status weir__vocabulary_open(const weir_checkpoint *verifier, const weir_checkpoint *draft,
                                  weir_tokenizer **tok, int32_t *n_vocab, weir_err *err);

#endif /* WEIR_HOST_PAIR_VOCABULARY_H */
