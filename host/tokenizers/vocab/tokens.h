#ifndef WEIR_HOST_TOKENIZERS_VOCAB_TOKENS_H
#define WEIR_HOST_TOKENIZERS_VOCAB_TOKENS_H

#include <jansson.h>

#include "host/formats/config/tokenizer_class.h"
#include "host/tokenizers/vocab/added.h"

/* Added tokens of a directory, from all the files in which transformers keeps them (4.57,
 * PreTrainedTokenizerBase._from_pretrained): tokenizer_config.json's added_tokens_decoder, which wins over
 * added_tokens.json; the tokens by role (eos_token, …, additional_special_tokens) of tokenizer_config.json
 * and, without an added_tokens_decoder, special_tokens_map.json; those of the tokenizer's class. */

typedef struct weir__token {
    const char *text; /* borrowed from the files or static */
    size_t n;
    json_int_t index; /* its id in the files; -1: a token by role, whose id depends on the vocabulary */
    unsigned flags;   /* weir__added_flag */
    bool told;        /* the file gives its flags, which win over an earlier file's */
} weir__token;

typedef struct weir__tokens {
    json_t *config, *added, *map, *model; /* the files, model is config.json; NULL: not there */
    const char *class_name;               /* from tokenizer_config.json; NULL: not given */
    const weir__class *class;             /* NULL: unknown */
    const char *end;                      /* the end of a text, by role; NULL: none */
    size_t n_end;
    weir__token *list; /* those of the files by index, then those by role */
    size_t n, cap;
} weir__tokens;

/* vocab_path: a file of the directory. class_name: the class if the files name none; NULL allowed. All files
 * are optional. EFORMAT, ENOMEM. */
weir_status weir__tokens_read(weir__tokens *out, const char *vocab_path, const char *class_name,
                              weir_err *err);
void weir__tokens_free(weir__tokens *t); /* zeroed allowed */

bool weir__tokens_class_is(const weir__tokens *t, const char *name); /* "Fast" or not */

#endif /* WEIR_HOST_TOKENIZERS_VOCAB_TOKENS_H */
