#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/formats/checkpoint.h"
#include "host/formats/config/config.h"
#include "kernels/base/mem.h"
#include "tests/fuzz/target.h"
#include "tests/support/files.h"

static void check_rope(const weir_rope_config *r, int32_t head_dim) {
    FUZZ_CHECK(r->theta >= 1 && r->factor >= 1 && r->n_ctx_original >= 0);
    FUZZ_CHECK(r->n_dim >= 0 && r->n_dim % 2 == 0 && r->n_dim < head_dim);
    FUZZ_CHECK(r->kind != WEIR_ROPE_LLAMA3 ||
               (r->n_ctx_original > 0 && r->high_freq > r->low_freq && r->low_freq > 0));
    FUZZ_CHECK(r->kind != WEIR_ROPE_YARN ||
               (r->n_ctx_original > 0 && r->beta_fast > 0 && r->attention_factor > 0));
}

/* Sizes that the rest of the program multiplies without a second look. */
static void check_decoder(const weir_decoder_config *d) {
    FUZZ_CHECK(d->dim > 0 && d->ff_dim > 0 && d->n_vocab_rows > 0 && d->n_layer > 0 &&
               d->n_layer <= WEIR_DECODER_LAYERS);
    FUZZ_CHECK(d->n_head > 0 && d->n_head_kv > 0 && d->n_head % d->n_head_kv == 0);
    FUZZ_CHECK(d->head_dim >= 2 && d->head_dim % 2 == 0 && (int64_t)d->n_head * d->head_dim <= 1 << 20);
    FUZZ_CHECK(d->eps > 0 && d->eps <= 1 && d->attention_scale > 0 && d->embed_scale > 0);
    FUZZ_CHECK(d->attention_softcap >= 0 && d->final_softcap >= 0 && d->window >= 0);
    for (int i = 0; i < d->n_layer; i++) FUZZ_CHECK(!d->sliding[i] || d->window > 0);
    check_rope(&d->rope, d->head_dim);
    check_rope(&d->rope_sliding, d->head_dim);
}

/* Config.json has both stacks or neither; what comes after it does not look. */
static void check_decoders(const weir_checkpoint *c) {
    check_decoder(&c->decoder);
    FUZZ_CHECK(c->bos_id >= -1 && c->bos_id < c->decoder.n_vocab_rows);
    if (c->kind == WEIR_FAMILY_DECODER) {
        FUZZ_CHECK(c->start_id == -1);
        return;
    }
    check_decoder(&c->encoder);
    FUZZ_CHECK(c->encoder.n_vocab_rows == c->decoder.n_vocab_rows);
    FUZZ_CHECK(c->start_id >= 0 && c->start_id < c->decoder.n_vocab_rows);
}

static void check_t5(const weir_checkpoint *c) {
    const weir_t5_config *t = &c->t5;
    FUZZ_CHECK(t->dim > 0 && t->head_dim > 0 && t->n_head > 0 && t->ff_dim > 0 && t->n_vocab_rows > 0);
    FUZZ_CHECK((int64_t)t->n_head * t->head_dim <= 1 << 20);
    FUZZ_CHECK(t->n_enc_layer > 0 && t->n_dec_layer > 0 && t->n_bucket >= 4 &&
               t->max_distance > t->n_bucket / 2);
    FUZZ_CHECK(t->eps > 0 && t->eps <= 1);
    FUZZ_CHECK(c->start_id >= 0 && c->start_id < t->n_vocab_rows);
}

static void check_config(const weir_checkpoint *c) {
    const int32_t rows = weir__checkpoint_rows(c);
    if (c->kind == WEIR_FAMILY_T5)
        check_t5(c);
    else
        check_decoders(c);
    FUZZ_CHECK(memchr(c->family, 0, sizeof c->family) != NULL);
    FUZZ_CHECK(memchr(c->ignored, 0, sizeof c->ignored - sizeof " and 2147483647 more") != NULL);
    FUZZ_CHECK(!c->strict || c->ignored[0] == '\0');
    FUZZ_CHECK(c->pad_id >= -1 && c->pad_id < rows && c->n_eos >= 0 && c->n_eos <= 8);
    FUZZ_CHECK(c->int4.group >= 0 && c->int4.group % 32 == 0);
    for (int i = 0; i < c->n_eos; i++) FUZZ_CHECK(c->eos[i] >= 0 && c->eos[i] < rows);
}

/* The first byte chooses the file: config.json, or one of those that come after it, of a T5 or a decoder. */
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
    const weir_checkpoint decoder = {.kind = WEIR_FAMILY_DECODER,
                                     .decoder = {.dim = 2,
                                                 .ff_dim = 1,
                                                 .head_dim = 2,
                                                 .n_head = 1,
                                                 .n_head_kv = 1,
                                                 .n_layer = 1,
                                                 .n_vocab_rows = 8,
                                                 .eps = 1e-6f,
                                                 .embed_scale = 1,
                                                 .attention_scale = 1,
                                                 .rope = {.theta = 1, .factor = 1},
                                                 .rope_sliding = {.theta = 1, .factor = 1}},
                                     .start_id = -1};
    if (data[0] % 6 > 3) c = decoder;
    c.strict = data[0] % 12 >= 6;
    switch (data[0] % 6) {
    case 0: s = weir__t5_config_parse(json, n - 1, "fuzz.json", &c, &err); break;
    case 3: s = weir__config_parse(json, n - 1, "fuzz.json", &c, &err); break;
    case 1:
    case 4: s = weir__generation_config_parse(json, n - 1, "fuzz.json", &c, &err); break;
    default:
        s = weir__tokenizer_config_parse(json, n - 1, "fuzz.json", &c, &err);
        if (s == WEIR_OK) s = weir__special_tokens_parse(json, n - 1, "fuzz.json", &c, &err);
        break;
    }
    weir_free(c.chat_template);
    for (int i = 0; i < WEIR_SPECIAL_N; i++) weir_free(c.special[i]);
    if (s == WEIR_OK)
        check_config(&c);
    else
        FUZZ_CHECK(err_is_line(&err, "fuzz.json"));
    FUZZ_CHECK(c.extra_ids >= 0 && c.dir == NULL && c.tensors == NULL);
    return 0;
}
