#ifndef WEIR_TESTS_HOST_PAIRS_T5_GGUF_H
#define WEIR_TESTS_HOST_PAIRS_T5_GGUF_H

#include "tests/support/gguf_write.h"

/* A T5 as llama.cpp's converter would write it. */
typedef struct t5_change {
    const char *root;              /* where its directory is; NULL: models/demo */
    const char *skip;              /* a key or tensor that is left out */
    void (*more)(gguf_blob *b);    /* further pairs, before the tensors */
    void (*tensors)(gguf_blob *b); /* further tensors */
    const char *arch;              /* NULL: "t5" */
    const char *q8_0; /* matrices with this in their names are in blocks of 8 bits, if rows are whole ones */
    int sentinels, padding; /* tokens after the pieces */
    int charsmap_bytes;     /* of precompiled_charsmap; 0: all */
} t5_change;

/* `name`: of the directory; of the demo's "verifier" or "drafter". Without a tokenizer it has no tokens. */
gguf_blob t5_as_gguf(const char *name, const t5_change *c);

#endif
