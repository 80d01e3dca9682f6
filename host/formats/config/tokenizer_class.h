#ifndef WEIR_HOST_FORMATS_CONFIG_TOKENIZER_CLASS_H
#define WEIR_HOST_FORMATS_CONFIG_TOKENIZER_CLASS_H

#include "host/formats/facts.h"

/* Tokenizer classes of transformers, and what holds where the files do not say otherwise. */
typedef struct weir__class {
    const char *name; /* without "Fast" */
    bool t5;          /* has sentinels */
    bool add_bos;     /* a text's ids begin with bos */
    const char *special[WEIR_SPECIAL_N];
    const char *more[4]; /* additional special tokens */
} weir__class;

const weir__class *weir__class_find(const char *name); /* "Fast" or not; NULL: not one that is known */

#endif /* WEIR_HOST_FORMATS_CONFIG_TOKENIZER_CLASS_H */
