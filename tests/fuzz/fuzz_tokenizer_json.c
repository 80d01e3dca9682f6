#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/tokenizers/tokenizer.h"
#include "tests/fuzz/target.h"
#include "tests/fuzz/tokens.h"
#include "tests/support/files.h"

/* Bytes as a tokenizer.json; one that opens must then stand ordinary and broken text. */
FUZZ_TARGET(tokenizer_json) {
    weir_tokenizer *t = NULL;
    weir_err err = {""};
    if (weir__tokenizer_open_json_bytes(&t, data, n, "fuzz.json", &err) != WEIR_OK) {
        FUZZ_CHECK(t == NULL && err_is_line(&err, "fuzz.json"));
        return 0;
    }
    fuzz_vocabulary(t);
    weir__tokenizer_free(t);
    return 0;
}
