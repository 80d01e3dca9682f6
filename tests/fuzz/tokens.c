#include "tests/fuzz/tokens.h"

#include <stdio.h>
#include <stdlib.h>

#include "kernels/base/mem.h"
#include "tests/fuzz/target.h"
#include "tests/support/files.h"

void fuzz_round_trip(const weir_tokenizer *t, const char *text, size_t n) {
    int32_t *ids = NULL;
    size_t n_ids = 0, bytes = 0;
    char *back = NULL;
    weir_err err = {""};
    /* A broken vocabulary may leave a text without ids: then there is one line that says so. */
    if (weir_tokenizer_encode(t, text, n, &ids, &n_ids, &err) != WEIR_OK) {
        FUZZ_CHECK(err_is_line(&err, ""));
        return;
    }
    for (size_t i = 0; i < n_ids; i++) {
        FUZZ_CHECK(ids[i] >= 0 && ids[i] < weir_tokenizer_size(t));
        FUZZ_CHECK(weir_tokenizer_piece(t, ids[i]) != NULL);
    }
    FUZZ_CHECK(weir_tokenizer_decode(t, ids, n_ids, &back, &bytes, &err) == WEIR_OK);
    FUZZ_CHECK(back[bytes] == '\0');
    weir_free(back);
    weir_free(ids);
}
