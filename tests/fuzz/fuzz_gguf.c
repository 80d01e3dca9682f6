#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/gguf_tensors.h"
#include "tests/fuzz/target.h"
#include "tests/support/files.h"

/* Keys that seeds have, of every kind: what is answered is inside the bytes, and an array ends where it
 * says. */
static void check_pairs(const weir_gguf *g, const uint8_t *data, size_t n) {
    static const char *const keys[] = {"general.architecture",
                                       "tokenizer.ggml.tokens",
                                       "u8",
                                       "i16",
                                       "u32",
                                       "i64",
                                       "f32",
                                       "f64",
                                       "bool",
                                       "text",
                                       "u8s",
                                       "i32s",
                                       "u64s",
                                       "f64s",
                                       "bools",
                                       "texts"};
    for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
        int64_t i;
        double d;
        bool b;
        const char *s;
        size_t bytes, length;
        if (weir__gguf_string(g, keys[k], &s, &bytes)) fuzz_inside(s, bytes, data, n);
        (void)(weir__gguf_int(g, keys[k], &i) || weir__gguf_real(g, keys[k], &d) ||
               weir__gguf_bool(g, keys[k], &b));
        if (!weir__gguf_array_length(g, keys[k], &length)) continue;
        for (size_t at = 0; at < length; at++) {
            if (weir__gguf_array_string(g, keys[k], at, &s, &bytes))
                fuzz_inside(s, bytes, data, n);
            else
                FUZZ_CHECK(weir__gguf_array_real(g, keys[k], at, &d) ||
                           weir__gguf_array_int(g, keys[k], at, &i));
        }
        FUZZ_CHECK(!weir__gguf_array_string(g, keys[k], length, &s, &bytes) &&
                   !weir__gguf_array_int(g, keys[k], length, &i) &&
                   !weir__gguf_array_real(g, keys[k], length, &d));
    }
}

static void check_rope(const weir_rope_config *r, int32_t head_dim) {
    FUZZ_CHECK(r->theta > 0 && r->factor > 0 && r->n_dim >= 0 && r->n_dim <= head_dim && r->n_dim % 2 == 0);
    if (r->kind == WEIR_ROPE_YARN) FUZZ_CHECK(r->n_ctx_original > 0 && r->beta_fast > 0 && r->beta_slow > 0);
}

static void check_t5(const weir_gguf_model *m) {
    const weir_t5_config *c = &m->t5;
    FUZZ_CHECK(c->dim > 0 && c->ff_dim > 0 && c->n_head > 0 && c->head_dim > 0 && c->n_vocab_rows > 0);
    FUZZ_CHECK((int64_t)c->n_head * c->head_dim <= 1 << 20);
    FUZZ_CHECK(c->n_enc_layer > 0 && c->n_dec_layer > 0 && c->n_enc_layer <= 1024 && c->n_dec_layer <= 1024);
    FUZZ_CHECK(c->n_bucket >= 4 && c->max_distance > c->n_bucket / 2 && c->eps > 0 && c->eps <= 1);
    FUZZ_CHECK(m->start_id >= 0 && m->start_id < c->n_vocab_rows && m->n_sentinel >= 0);
    FUZZ_CHECK(m->n_eos == 1 && m->eos[0] >= 0 && m->eos[0] < c->n_vocab_rows);
    FUZZ_CHECK(m->pad_id >= 0 && m->pad_id < c->n_vocab_rows);
    FUZZ_CHECK((int)m->dtype >= 0 && m->dtype < WEIR_DTYPE_COUNT);
}

/* Sizes that the rest of the program multiplies without a second look. */
static void check_model(const weir_gguf_model *m, const uint8_t *data, size_t n) {
    const weir_decoder_config *c = &m->config;
    if (m->kind == WEIR_FAMILY_T5) {
        check_t5(m);
        return;
    }
    FUZZ_CHECK(c->dim > 0 && c->ff_dim > 0 && c->n_layer > 0 && c->n_layer <= WEIR_DECODER_LAYERS);
    FUZZ_CHECK(c->n_head_kv > 0 && c->n_head % c->n_head_kv == 0 && c->head_dim > 0);
    FUZZ_CHECK((int64_t)c->n_head * c->head_dim <= 1 << 20 && c->n_vocab_rows > 0);
    FUZZ_CHECK(c->eps > 0 && c->eps <= 1 && c->attention_scale > 0 && c->window >= 0 && c->n_ctx_train >= 0);
    FUZZ_CHECK(c->attention_softcap >= 0 && c->final_softcap >= 0);
    check_rope(&c->rope, c->head_dim);
    check_rope(&c->rope_sliding, c->head_dim);
    FUZZ_CHECK(m->bos_id >= -1 && m->bos_id < c->n_vocab_rows && m->pad_id >= -1 &&
               m->pad_id < c->n_vocab_rows);
    FUZZ_CHECK(m->n_eos >= 0 && m->n_eos <= 8 && (!m->add_bos || m->bos_id >= 0));
    for (int i = 0; i < m->n_eos; i++) FUZZ_CHECK(m->eos[i] >= 0 && m->eos[i] < c->n_vocab_rows);
    FUZZ_CHECK((int)m->dtype >= 0 && m->dtype < WEIR_DTYPE_COUNT);
    if (m->chat_template) fuzz_inside(m->chat_template, m->chat_template_bytes, data, n);
}

static void check_source(weir_gguf *g, const uint8_t *data, size_t n) {
    static const char *const names[] = {"model.embed_tokens.weight", "lm_head.weight", "rope_freqs.weight",
                                        "model.layers.0.post_attention_layernorm.weight",
                                        "model.layers.0.self_attn.q_proj.weight"};
    weir_tensor_source src = weir__gguf_source(g);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        weir_tensor t;
        if (!src.find(src.ud, names[i], &t)) continue;
        FUZZ_CHECK(t.rows > 0 && t.cols > 0 && t.cols % weir_dtype_block(t.dtype) == 0);
        fuzz_inside(t.data, (size_t)(t.rows * weir_dtype_row_bytes(t.dtype, t.cols)), data, n);
        src.release(src.ud, names[i]);
    }
}

FUZZ_TARGET(gguf) {
    weir_gguf *g = NULL;
    weir_gguf_model m;
    weir_err err = {""};
    if (weir__gguf_open_bytes(&g, data, n, "fuzz.gguf", &err) != WEIR_OK) {
        FUZZ_CHECK(g == NULL && err_is_line(&err, "fuzz.gguf"));
        return 0;
    }
    fuzz_gguf_tensors(g, data, n);
    check_pairs(g, data, n);
    check_source(g, data, n);
    if (weir__gguf_read_model(g, &m, &err) == WEIR_OK)
        check_model(&m, data, n);
    else
        FUZZ_CHECK(err_is_line(&err, "fuzz.gguf"));
    weir__gguf_close(g);
    return 0;
}
