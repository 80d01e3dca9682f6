#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/formats/gguf/gguf.h"
#include "host/tokenizers/tokenizer.h"
#include "tests/fuzz/target.h"
#include "tests/fuzz/tokens.h"
#include "tests/support/files.h"

/* Bytes as a GGUF file with a tokenizer: any vocabulary, any scores and merges. */
FUZZ_TARGET(tokenizer_gguf) {
    weir_gguf *g = NULL;
    weir_tokenizer *t = NULL;
    weir_err err = {""};
    if (weir__gguf_open_bytes(&g, data, n, "fuzz.gguf", &err) != WEIR_OK) return 0; /* fuzz_gguf's */
    const weir_status s = weir__tokenizer_open_gguf(&t, g, &err);
    weir__gguf_close(g);
    if (s != WEIR_OK) {
        FUZZ_CHECK(t == NULL && err_is_line(&err, ""));
        return 0;
    }
    fuzz_vocabulary(t);
    weir__tokenizer_free(t);
    return 0;
}
