/* A mixture's tensors: one after another, each found or named. */
#include <criterion/criterion.h>
#include <string.h>

#include "kernels/comm/comm.h"
#include "tests/models/decoder_kinds.h"
#include "tests/models/fake.h"

/* A layer's experts lie one after another. */
Test(expert_load, experts_are_alike) {
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
}

/* Every expert and every column of the shared one has one owner, in order. A row reads of a rank's as many as
 * it uses on average; what an exchange carries for it is the widest of three kinds. */
Test(expert_load, ranks_have_some_experts_each) {
    weir_decoder_config c = mixture();
    c.experts.shared_ff = 160;
    for (int32_t n_rank = 1; n_rank <= WEIR_RANKS; n_rank *= 2) {
        fake *k = fake_decoder(&c, WEIR_DTYPE_F32);
        const weir_tensor_source src = fake_source(k);
        int64_t expert = 0, column = 0;
        for (int32_t r = 0; r < n_rank; r++) {
            const weir_place place = {.rank = r, .n_rank = n_rank};
            weir_place whole = place;
            weir_model_facts f, all;
            whole.whole_body = true;
            cr_assert_eq(weir__decoder_measure(&c, &src, place, &f, NULL), WEIR_OK);
            cr_assert_eq(weir__decoder_measure(&c, &src, whole, &all, NULL), WEIR_OK);
            cr_expect(f.share.expert == expert && (f.share.n_shared_ff == 0 || f.share.shared_ff == column));
            expert += f.share.n_expert, column += f.share.n_shared_ff;
            cr_expect_eq(f.n_param, all.n_param);
            cr_expect(all.share.n_expert == 4 && all.n_exchange == 0 && all.given_floats == 24);
            if (n_rank == 1) continue;
            /* of three layers attention, of one a feed-forward, of two the experts and the shared one */
            cr_expect(f.n_exchange == 3 + 1 + 2 * 2 && f.exchange_floats == 2 * 24 &&
                      f.given_floats == 24 * (1 + 3 + 1 + 2 * (2 + 1)));
            cr_expect(all.weight_bytes > f.weight_bytes && all.decode_bytes > f.decode_bytes);
        }
        cr_expect(expert == 4 && column == 160, "%d ranks have %d experts, %d columns", n_rank, (int)expert,
                  (int)column);
        fake_free(k);
    }
}

/* Tensors whose elements a rank of so many has made. */
static int64_t made_by(const weir_decoder_config *c, int rank, int n_rank) {
    weir_comm comm = {.rank = rank, .n_rank = n_rank};
    weir_backend *be = fake_backend(1);
    weir_model *m = NULL;
    weir_err err = {""};
    fake *k = fake_decoder(c, WEIR_DTYPE_F32);
    k->packed = true;
    be->comm = &comm; /* nothing is exchanged while a model loads */
    cr_assert_eq(fake_create(k, be, &m, &err), WEIR_OK, "%s", err.text);
    const int64_t n = k->n_made;
    weir__model_free(m);
    be->comm = NULL;
    weir__backend_close(be);
    fake_free(k);
    return n;
}

/* Elements that a file has in another form are made for the rank that has the expert: of two layers three
 * matrices of each, or three tensors of all. */
Test(expert_load, elements_are_made_where_they_are_owned) {
    weir_decoder_config c = mixture();
    for (int n_rank = 1; n_rank <= WEIR_RANKS; n_rank *= 2) {
        int64_t sum = 0;
        c.experts.names = WEIR_EXPERTS_MLP;
        for (int r = 0; r < n_rank; r++) sum += made_by(&c, r, n_rank);
        cr_expect_eq(sum, 2 * 3 * 4, "%d ranks make %d", n_rank, (int)sum);
        c.experts.names = WEIR_EXPERTS_STACKED;
        sum = 0;
        for (int r = 0; r < n_rank; r++) sum += made_by(&c, r, n_rank);
        cr_expect_eq(sum, 2 * 3 * (n_rank < 4 ? n_rank : 4), "%d ranks make %d of all", n_rank, (int)sum);
    }
}

/* A row that uses some of 8 experts reads a quarter of them on each of four ranks, rounded up. */
Test(expert_load, a_rank_reads_its_part_of_the_experts_that_a_row_uses) {
    weir_decoder_config c = mixture();
    c.experts.n = 8, c.experts.n_used = 4, c.experts.shared_ff = 0;
    fake *k = fake_decoder(&c, WEIR_DTYPE_F32);
    const weir_tensor_source src = fake_source(k);
    size_t bytes[2];
    for (int used = 0; used < 2; used++) {
        k->decoder.experts.n_used = c.experts.n_used = used ? 4 : 2;
        weir_model_facts f;
        cr_assert_eq(weir__decoder_measure(&c, &src, (weir_place){.n_rank = 4}, &f, NULL), WEIR_OK);
        bytes[used] = f.decode_bytes;
    }
    /* gate and up of 12 outputs in two panels of 16, down of 24 outputs: 24 and 12 inputs */
    const size_t expert = 4 * (2 * 16 * 24 + 32 * 12);
    cr_expect_eq(bytes[0], bytes[1], "2 and 4 of 8 experts are one of a rank's two");
    k->decoder.experts.n_used = c.experts.n_used = 8;
    weir_model_facts f;
    cr_assert_eq(weir__decoder_measure(&c, &src, (weir_place){.n_rank = 4}, &f, NULL), WEIR_OK);
    cr_expect_eq(f.decode_bytes - bytes[1], 2 * expert, "two layers, one expert more");
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
    case 7: c->experts.names = (weir_expert_names)4; break;
    case 8: c->post_norms = true; break;
    case 9: c->experts.biased = true, c->experts.limit = 7.0f, c->experts.shared_ff = 0; break;
    case 10:
    case 11:
        c->experts = (weir_expert_config){
            .n = 4, .n_used = 2, .ff_dim = 12, .biased = true, .names = WEIR_EXPERTS_ROUTER};
        if (i == 11) c->experts.limit = 7.0f, c->experts.shared_ff = 8;
        break;
    case 12: c->o_bias = true, c->experts.n = 0, c->residual_scale = 0.5f; break;
    default: c->residual_scale = 0.5f; break;
    }
}

Test(expert_load, refuses_experts_no_decoder_has) {
    weir_backend *be = fake_backend(1);
    for (int i = 0; i < 14; i++) {
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
