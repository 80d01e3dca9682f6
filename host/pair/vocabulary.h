#ifndef WEIR_HOST_PAIR_VOCABULARY_H
#define WEIR_HOST_PAIR_VOCABULARY_H

#include "host/formats/facts.h"
#include "host/tokenizers/tokenizer.h"

typedef struct weir_vocabulary {
    weir_tokenizer *tok; /* NULL: there are ids only */
    int32_t n_vocab;     /* ids that may be emitted */
    /* Of two decoders with a vocabulary each: the drafter's, how many ids it may write, and the verifier's
     * ids for its ends of text. Else NULL and 0 */
    weir_tokenizer *tok_draft;
    int32_t n_vocab_draft, end_of[8];
    weir_err apart; /* how they differ first; "" */
} weir_vocabulary;

/* The vocabulary that two checkpoints share. They fit if they are of one kind and differ only in padding:
 * equal pieces if both have a tokenizer, and for T5s equal end and start ids (for decoders the verifier's
 * count). Decoders that both have a tokenizer need not share one. draft may be NULL. EMISMATCH names the
 * first difference; EFORMAT: a tokenizer has more pieces than its model has rows, not counting a decoder's
 * control tokens. */
weir_status weir__vocabulary_open(const weir_checkpoint *verifier, const weir_checkpoint *draft,
                                  weir_vocabulary *out, weir_err *err);
void weir__vocabulary_close(weir_vocabulary *v);

#endif /* WEIR_HOST_PAIR_VOCABULARY_H */
