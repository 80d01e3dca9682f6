/* A mixture's tensors: one after another, each found or named. */
#include <criterion/criterion.h>
#include <string.h>

#include "tests/models/decoder_kinds.h"
#include "tests/models/fake.h"

/* A layer's experts lie one after another, and none of them on another rank. */
Test(expert_load, experts_are_alike_and_not_shared_out) {
    const weir_decoder_config c = mixture();
    const struct {
        const char *redtyped;
        weir_status want;
        const char *part;
    } t[] = {
        {"*mlp.experts.2.up_proj.weight", WEIR_EFORMAT, "layers.0.mlp.experts.2.up_proj.weight: bf16, but"},
        {"*mlp.experts.0.down_proj.weight", WEIR_EFORMAT, "experts.0.down_proj.weight is bf16"},
        {"*up_proj.weight", WEIR_OK, ""},
        {"*mlp.gate.weight", WEIR_OK, ""},
        {"*shared_expert.gate_proj.weight", WEIR_OK, ""}};
    weir_backend *be = fake_backend(1);
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        fake *k = fake_decoder(&c, WEIR_DTYPE_F32);
        weir_model *m = NULL;
        weir_err err = {""};
        k->redtyped = t[i].redtyped, k->other = WEIR_DTYPE_BF16;
        cr_expect_eq(fake_create(k, be, &m, &err), t[i].want, "%s: %s", t[i].redtyped, err.text);
        cr_expect(strstr(err.text, t[i].part), "%s", err.text);
        weir__model_free(m);
        fake_free(k);
    }
    weir__backend_close(be);
    fake *k = fake_decoder(&c, WEIR_DTYPE_F32);
    const weir_tensor_source src = fake_source(k);
    weir_model_facts f;
    weir_err err = {""};
    cr_expect_eq(weir__decoder_measure(&c, &src, (weir_place){.n_rank = 4}, &f, &err), WEIR_ENOTSUP);
    cr_expect(strstr(err.text, "num_experts is 4: experts cannot be shared out over 4 ranks"), "%s",
              err.text);
    cr_expect_eq(weir__decoder_measure(&c, &src, (weir_place){.n_rank = 4, .whole_body = true}, &f, &err),
                 WEIR_OK);
    fake_free(k);
}

static void bad_experts(int i, weir_decoder_config *c) {
    *c = mixture();
    switch (i) {
    case 0: c->experts.n = -1; break;
    case 1: c->experts.n = WEIR_EXPERTS + 1; break;
    case 2: c->experts.n_used = 0; break;
    case 3: c->experts.n_used = 5; break;
    case 4: c->experts.n = 64, c->experts.n_used = WEIR_EXPERTS_USED + 1; break;
    case 5: c->experts.ff_dim = 0; break;
    case 6: c->experts.shared_ff = -1; break;
    case 7: c->experts.names = (weir_expert_names)3; break;
    case 8: c->post_norms = true; break;
    default: c->residual_scale = 0.5f; break;
    }
}

Test(expert_load, refuses_experts_no_decoder_has) {
    weir_backend *be = fake_backend(1);
    for (int i = 0; i < 10; i++) {
        fake *k = fake_decoder(&plain, WEIR_DTYPE_F32);
        weir_model *m = NULL;
        weir_err err = {""};
        bad_experts(i, &k->decoder);
        cr_expect_eq(fake_create(k, be, &m, &err), WEIR_EINVAL, "case %d: %s", i, err.text);
        cr_expect(strncmp(err.text, "decoder config: ", 16) == 0 && !m, "case %d: %s", i, err.text);
        fake_free(k);
    }
    weir__backend_close(be);
}
