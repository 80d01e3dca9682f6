/* Loading a T5Gemma: what is missing or misshapen is named, stacks that do not fit each other are refused, no
 * failed allocation leaks. */
#include <criterion/criterion.h>
#include <string.h>

#include "models/encdec/t5gemma.h"
#include "tests/models/fake.h"

static const weir_decoder_config ENCODER = {.dim = 40,
                                            .ff_dim = 56,
                                            .head_dim = 10,
                                            .n_head = 4,
                                            .n_head_kv = 2,
                                            .n_layer = 2,
                                            .n_vocab_rows = 101,
                                            .eps = 1e-6f,
                                            .act = WEIR_ACT_GELU_TANH,
                                            .norm_one_plus = true,
                                            .post_norms = true,
                                            .tied = true,
                                            .embed_scale = 6.0f,
                                            .attention_scale = 0.3f,
                                            .attention_softcap = 5.0f,
                                            .window = 3,
                                            .sliding = {true},
                                            .rope.theta = 1e4f,
                                            .rope_sliding.theta = 1e4f};

static weir_decoder_config decoder(void) {
    weir_decoder_config c = ENCODER;
    c.dim = 24, c.ff_dim = 33, c.head_dim = 6, c.n_head = 3, c.n_head_kv = 1, c.n_layer = 3;
    c.final_softcap = 4.0f;
    return c;
}

enum { TENSORS = 2 + 2 + 2 * (4 + 4 + 3) + 3 * (6 + 4 + 4 + 3) };

static void break_each_tensor(bool tied, int n_want) {
    weir_decoder_config d = decoder();
    d.tied = tied;
    fake *k = fake_t5gemma(&ENCODER, &d, WEIR_DTYPE_F32);
    fake_break_each_tensor(k, n_want);
    fake_free(k);
}

Test(t5gemma_load, names_each_missing_or_misshapen_tensor_tied) { break_each_tensor(true, TENSORS); }
Test(t5gemma_load, names_each_missing_or_misshapen_tensor_untied) { break_each_tensor(false, TENSORS + 1); }

/* Added up by hand; the head is counted once. */
Test(t5gemma_load, counts_parameters_and_layers) {
    const weir_decoder_config d = decoder();
    const weir_t5gemma_config both = {&ENCODER, &d};
    fake *k = fake_t5gemma(&ENCODER, &d, WEIR_DTYPE_BF16);
    const weir_tensor_source src = fake_source(k);
    weir_model_facts f, made;
    weir_backend *be = fake_backend(1);
    weir_model *m = NULL;
    cr_assert_eq(weir__t5gemma_measure(&both, &src, (weir_place){0}, &f, NULL), WEIR_OK);
    const int64_t enc = 2 * (40 * 40 + 2 * 20 * 40 + 40 * 40 + 3 * 56 * 40 + 4 * 40),
                  self = 2 * 18 * 24 + 2 * 6 * 24, cross = 2 * 18 * 24 + 2 * 6 * 40,
                  dec = 3 * (self + cross + 3 * 33 * 24 + 6 * 24);
    cr_expect_eq(f.n_param, 101 * (40 + 24) + enc + dec + 40 + 24);
    cr_expect(f.encoder_decoder && f.n_layer_self == 3 && f.n_layer_cross == 3 && f.n_layer_slide == 0);
    cr_expect(f.n_head_kv == 1 && f.head_dim == 6 && f.n_pass == 2 * 2 + 1 && f.n_open == 1);
    cr_expect(f.exchange_floats == 24 && f.embed_floats == 40 && f.dtype == WEIR_DTYPE_BF16);
    cr_assert_eq(fake_create(k, be, &m, NULL), WEIR_OK);
    made = *weir__model_get_facts(m);
    cr_expect(made.weight_bytes == f.weight_bytes && made.decode_bytes == f.decode_bytes);
    cr_expect_lt(f.decode_bytes, f.weight_bytes);
    weir__model_free(m);
    weir__backend_close(be);
    fake_free(k);
}

/* ---- refused ------------------------------------------------------------------------------------------- */

static void expect_refused(const weir_decoder_config *e, const weir_decoder_config *d, weir_status want,
                           const char *about) {
    fake *k = fake_t5gemma(e, d, WEIR_DTYPE_F32);
    const weir_tensor_source src = fake_source(k);
    const weir_t5gemma_config both = {e, d};
    weir_backend *be = fake_backend(1);
    weir_model *m = NULL;
    weir_model_facts f;
    weir_err err = {""};
    cr_expect_eq(fake_create(k, be, &m, &err), want, "%s", about);
    cr_expect(!m && strstr(err.text, about), "\"%s\" lacks \"%s\"", err.text, about);
    cr_expect_eq(weir__t5gemma_measure(&both, &src, (weir_place){0}, &f, NULL), want, "%s", about);
    weir__backend_close(be);
    fake_free(k);
}

Test(t5gemma_load, refuses_stacks_that_differ) {
    static const char *const field[] = {"vocab_size", "rms_norm_eps", "hidden_activation", "norm_one_plus"};
    for (int i = 0; i < 4; i++) {
        weir_decoder_config d = decoder();
        if (i == 0) d.n_vocab_rows++;
        if (i == 1) d.eps = 1e-5f;
        if (i == 2) d.act = WEIR_ACT_SILU;
        if (i == 3) d.norm_one_plus = false;
        expect_refused(&ENCODER, &d, WEIR_ENOTSUP, field[i]);
    }
}

Test(t5gemma_load, refuses_stacks_of_another_kind) {
    static const char *const about[] = {"encoder: norms before and after",  "encoder: norms before and after",
                                        "encoder: norms of q and k",        "encoder: biases of q, k and v",
                                        "encoder: fused matrices",          "encoder: a scale of logits",
                                        "encoder: layers without positions"};
    for (int i = 0; i < 7; i++) {
        weir_decoder_config e = ENCODER;
        const weir_decoder_config d = decoder();
        if (i == 0) e.post_norms = false;
        if (i == 1) e.no_pre_norms = true;
        if (i == 2) e.qk_norm = true;
        if (i == 3) e.qkv_bias = true;
        if (i == 4) e.fused = true;
        if (i == 5) e.logit_scale = 2.0f;
        if (i == 6) e.no_rope[1] = true;
        expect_refused(&e, &d, WEIR_EINVAL, about[i]);
    }
    weir_decoder_config d = decoder();
    d.n_head = 4, d.n_head_kv = 3;
    expect_refused(&ENCODER, &d, WEIR_EINVAL, "t5gemma, decoder: decoder config: 4 query heads");
    d = decoder();
    d.dim = 0;
    expect_refused(&ENCODER, &d, WEIR_EINVAL, "hidden_size is 0");
}

Test(t5gemma_load, survives_every_failed_allocation) {
    const weir_decoder_config d = decoder();
    fake *k = fake_t5gemma(&ENCODER, &d, WEIR_DTYPE_BF16);
    fake_fail_each_allocation(k, 30);
    fake_free(k);
}
