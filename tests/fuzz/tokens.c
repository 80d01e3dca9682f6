#include "tests/fuzz/tokens.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/base/mem.h"
#include "tests/fuzz/target.h"
#include "tests/support/files.h"

typedef weir_status encode_fn(const weir_tokenizer *t, const char *text, size_t bytes, int32_t **ids,
                              size_t *n, weir_err *err);

static void round_trip(const weir_tokenizer *t, encode_fn *encode, const char *text, size_t n) {
    int32_t *ids = NULL;
    size_t n_ids = 0, bytes = 0;
    char *back = NULL;
    weir_err err = {""};
    /* A broken vocabulary may leave a text without ids: then there is one line about it. */
    if (encode(t, text, n, &ids, &n_ids, &err) != WEIR_OK) {
        FUZZ_CHECK(err_is_line(&err, ""));
        return;
    }
    for (size_t i = 0; i < n_ids; i++) {
        FUZZ_CHECK(ids[i] >= 0 && ids[i] < weir__tokenizer_size(t));
        FUZZ_CHECK(weir__tokenizer_piece(t, ids[i]) != NULL);
    }
    FUZZ_CHECK(weir__tokenizer_decode(t, ids, n_ids, &back, &bytes, &err) == WEIR_OK);
    FUZZ_CHECK(back[bytes] == '\0');
    weir_free(back);
    weir_free(ids);
}

/* A text in four parts, every other one with control tokens; ids decoded as the rest of an answer. */
static weir_status encode_parts(const weir_tokenizer *t, const char *text, size_t bytes, int32_t **ids,
                                size_t *n, weir_err *err) {
    weir_text_span spans[4];
    for (size_t i = 0; i < 4; i++)
        spans[i] = (weir_text_span){text + bytes * i / 4, bytes * (i + 1) / 4 - bytes * i / 4, i % 2 == 0};
    return weir__tokenizer_encode_spans(t, spans, 4, ids, n, err);
}

/* Spans of one kind are one text, wherever they are cut. */
static void same_text(const weir_tokenizer *t, const char *text, size_t n, bool special) {
    const weir_text_span spans[2] = {{text, n / 3, special}, {text + n / 3, n - n / 3, special}};
    int32_t *a = NULL, *b = NULL;
    size_t n_a = 0, n_b = 0;
    const weir_status s =
        (special ? weir__tokenizer_encode_special : weir__tokenizer_encode)(t, text, n, &a, &n_a, NULL);
    FUZZ_CHECK(weir__tokenizer_encode_spans(t, spans, 2, &b, &n_b, NULL) == s);
    if (s == WEIR_OK) FUZZ_CHECK(n_a == n_b && (n_a == 0 || memcmp(a, b, n_a * sizeof *a) == 0));
    weir_free(a);
    weir_free(b);
}

void fuzz_round_trip(const weir_tokenizer *t, const char *text, size_t n) {
    round_trip(t, weir__tokenizer_encode, text, n);
    round_trip(t, weir__tokenizer_encode_special, text, n);
    round_trip(t, encode_parts, text, n);
    same_text(t, text, n, false);
    same_text(t, text, n, true);
}

void fuzz_vocabulary(const weir_tokenizer *t) {
    static const char text[] =
        "The Weather's  nice,\n\n \xc3\xbc\xc3\x9f e\xcc\x81 \xe4\xb8\xad\xff\xfe\xed\xa0\x80 123 "
        "<|end|><mask> \xe2\x96\x81<0x41>\0x";
    const int32_t size = weir__tokenizer_size(t);
    FUZZ_CHECK(size > 0);
    for (int32_t id = 0; id < size && id < 4096; id++) FUZZ_CHECK(weir__tokenizer_piece(t, id) != NULL);
    fuzz_round_trip(t, text, sizeof text - 1);
    for (size_t i = 1; i < sizeof text; i += 7) fuzz_round_trip(t, text + i, sizeof text - 1 - i);
}
