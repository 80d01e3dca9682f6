#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/formats/checkpoint.h"
#include "tests/fuzz/target.h"
#include "tests/support/files.h"

/* Sizes that the rest of the program multiplies without a second look. */
static void check_config(const weir_checkpoint *c) {
    const weir_t5_config *t = &c->t5;
    FUZZ_CHECK(t->dim > 0 && t->head_dim > 0 && t->n_head > 0 && t->ff_dim > 0 && t->n_vocab_rows > 0);
    FUZZ_CHECK((int64_t)t->n_head * t->head_dim <= 1 << 20);
    FUZZ_CHECK(t->n_enc_layer > 0 && t->n_dec_layer > 0 && t->n_bucket >= 4 &&
               t->max_distance > t->n_bucket / 2);
    FUZZ_CHECK(t->eps > 0 && t->eps <= 1);
    FUZZ_CHECK(memchr(c->family, 0, sizeof c->family) != NULL);
    FUZZ_CHECK(c->start_id >= 0 && c->start_id < t->n_vocab_rows && c->pad_id >= -1 &&
               c->pad_id < t->n_vocab_rows);
    FUZZ_CHECK(c->n_eos >= 0 && c->n_eos <= 8);
    for (int i = 0; i < c->n_eos; i++) FUZZ_CHECK(c->eos[i] >= 0 && c->eos[i] < t->n_vocab_rows);
}

/* The first byte chooses the file: config.json, or one of those that come after it. */
FUZZ_TARGET(config) {
    if (n == 0) return 0;
    const char *json = (const char *)data + 1;
    weir_checkpoint c = {.t5 = {.dim = 1,
                                .head_dim = 1,
                                .n_head = 1,
                                .ff_dim = 1,
                                .n_enc_layer = 1,
                                .n_dec_layer = 1,
                                .n_vocab_rows = 8,
                                .n_bucket = 4,
                                .max_distance = 8,
                                .eps = 1e-6f}};
    weir_err err = {""};
    weir_status s;
    switch (data[0] % 3) {
    case 0: s = weir_t5_config_parse(json, n - 1, "fuzz.json", &c, &err); break;
    case 1: s = weir_generation_config_parse(json, n - 1, "fuzz.json", &c, &err); break;
    default: s = weir_tokenizer_config_parse(json, n - 1, "fuzz.json", &c, &err); break;
    }
    if (s == WEIR_OK)
        check_config(&c);
    else
        FUZZ_CHECK(err_is_line(&err, "fuzz.json"));
    FUZZ_CHECK(c.extra_ids >= 0 && c.dir == NULL && c.tensors == NULL);
    return 0;
}
