#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/tokenizers/tokenizer.h"
#include "tests/fuzz/target.h"
#include "tests/fuzz/tokens.h"
#include "tests/support/files.h"

/* Bytes as a SentencePiece model; one that opens must then stand ordinary and broken text. */
FUZZ_TARGET(spm) {
    static const char text[] =
        "The Weather  is nice, \xc3\xbc\xc3\x9f \xe4\xb8\xad\xff\xfe <extra_id_1> \xe2\x96\x81<sep>\0x";
    weir_tokenizer *t = NULL;
    weir_err err = {""};
    if (weir__tokenizer_open_spm_bytes(&t, data, n, "fuzz.model", 3, &err) != WEIR_OK) {
        FUZZ_CHECK(t == NULL && err_is_line(&err, "fuzz.model"));
        return 0;
    }
    FUZZ_CHECK(weir__tokenizer_size(t) > 3);
    for (int32_t id = 0; id < weir__tokenizer_size(t); id++) FUZZ_CHECK(weir__tokenizer_piece(t, id) != NULL);
    fuzz_round_trip(t, text, sizeof text - 1);
    for (size_t i = 1; i < sizeof text; i += 7) fuzz_round_trip(t, text + i, sizeof text - 1 - i);
    weir__tokenizer_free(t);
    return 0;
}
