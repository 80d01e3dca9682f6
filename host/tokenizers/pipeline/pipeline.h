#ifndef WEIR_HOST_TOKENIZERS_PIPELINE_PIPELINE_H
#define WEIR_HOST_TOKENIZERS_PIPELINE_PIPELINE_H

#include "host/tokenizers/ids.h"
#include "host/tokenizers/pipeline/merge.h"
#include "host/tokenizers/pipeline/unigram.h"
#include "host/tokenizers/steps/normalize.h"
#include "host/tokenizers/steps/pretok.h"
#include "host/tokenizers/vocab/added.h"
#include "host/tokenizers/vocab/decode.h"
#include "host/tokenizers/vocab/vocab.h"

/* A tokenizer as tokenizer.json lays it out, which GGUF's and GPT-2's files are read into too: added tokens,
 * steps on the text (normalizer), more added tokens, words (pre-tokenizer), a model, and steps on the tokens
 * of an answer (decoder). Models:
 *   byte-level BPE       symbols are bytes, written as printable characters ("Ġthe"); GPT-2, Llama 3, Qwen
 *   character-level BPE  symbols are characters, a space is "▁", characters without a token fall back
 *                        to "<0x41>"; Llama 2
 *   Unigram              the likeliest cut into tokens; T5
 * BPE has two kinds of ranks: a list of merges, or the scores of the tokens themselves. */
typedef struct weir__pipeline {
    weir__vocab vocab;      /* tokens as their file spells them */
    bool keeps_parts;       /* merges may pass through strings that are not tokens; else they are dropped */
    weir__vocab parts;      /* those strings; symbol vocab.n + i */
    weir__pairs pairs;      /* merges; unused with by_score */
    weir__unigram *unigram; /* instead of BPE */
    weir__added before, after; /* found in the text as it came; in the normalised text */
    weir__steps norm, prep;    /* on either side of `after` */
    weir__pretok *pretok;      /* NULL: a text is one word */
    weir__steps each;          /* on each of its words */
    weir__pretok *each_pretok; /* cuts those again; NULL: neither */
    weir__decoder decoder;
    bool byte_level, by_score;
    bool repair; /* invalid UTF-8 becomes U+FFFD first */
    /* Characters without a token are handled before merging, as in tokenizers: if they vanish, their
     * neighbours may merge. Otherwise after it, as in llama.cpp. */
    bool unknown_first;
    bool ignore_merges; /* a word that is a token is taken whole */
    bool byte_fallback; /* bytes for characters without a token */
    bool fuse_unk;      /* one unk_id for a run of such characters */
    int32_t unk_id;     /* -1: such characters vanish */
    int32_t end;        /* ends a text; -1: not given */
    int32_t unit[256];  /* symbol of a byte; -1 if none */
    uint32_t *rank;     /* by_score: (vocab.n) of each token */
    size_t n_rank;
    bool cuts; /* character level: nothing merges across the "▁" that follows a byte which is not glue */
    bool glue[256]; /* some token has a "▁" after this byte */
} weir__pipeline;

weir__pipeline *weir__pipeline_new(weir_err *err); /* zeroed, unk_id and end -1; NULL: ENOMEM */
void weir__pipeline_free(void *pipeline);          /* NULL allowed */

/* ---- what the models share while they encode ----------------------------------------------------------- */

typedef struct weir__encoder {
    const weir__pipeline *p;
    weir__merger merger;
    weir__words words, again; /* of a text, of a word */
    weir__lattice lattice;
    weir__ids *ids;
    const weir__ranges *special; /* of the current text */
} weir__encoder;

static inline weir_status weir__encoder_emit(weir__encoder *e, int32_t id, weir_err *err) {
    return weir__ids_push(e->ids, id, err);
}

#endif /* WEIR_HOST_TOKENIZERS_PIPELINE_PIPELINE_H */
