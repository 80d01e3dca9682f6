/* Loading: what is missing or misshapen is named, memory is what the plan says, no failed allocation
 * leaks. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/base/mem.h"
#include "models/encdec/t5.h"
#include "tests/models/fake.h"
#include "tests/support/compare.h"

/* ---- a checkpoint out of thin air ---------------------------------------------------------------------- */

static const weir_t5_config gated = {.dim = 24,
                                     .head_dim = 5,
                                     .n_head = 3,
                                     .ff_dim = 40,
                                     .n_enc_layer = 2,
                                     .n_dec_layer = 3,
                                     .n_vocab_rows = 101,
                                     .n_bucket = 8,
                                     .max_distance = 20,
                                     .eps = 1e-6f,
                                     .act = WEIR_ACT_GELU_TANH,
                                     .gated = true};

static weir_t5_config plain_tied(void) {
    weir_t5_config c = gated;
    c.gated = false;
    c.tied = true;
    c.act = WEIR_ACT_RELU;
    return c;
}

/* ---- named failures ------------------------------------------------------------------------------------ */

static void break_each_tensor(const weir_t5_config *c, int n_want) {
    fake *k = fake_t5(c, WEIR_DTYPE_F32);
    fake_break_each_tensor(k, n_want);
    fake_free(k);
}

Test(t5_load, names_each_missing_or_misshapen_tensor_gated) { break_each_tensor(&gated, 6 + 2 * 9 + 3 * 14); }
Test(t5_load, names_each_missing_or_misshapen_tensor_tied) {
    const weir_t5_config c = plain_tied();
    break_each_tensor(&c, 5 + 2 * 8 + 3 * 13);
}

Test(t5_load, names_each_missing_or_misshapen_tensor_of_biases_by_layer) {
    weir_t5_config c = gated;
    c.layer_bias = true;
    break_each_tensor(&c, 4 + 2 * 10 + 3 * 15);
}

Test(t5_load, matrices_may_have_other_dtypes_than_their_neighbours) {
    weir_backend *be = fake_backend(1);
    static const char *const t[] = {"encoder.block.0.layer.0.SelfAttention.k.weight",
                                    "decoder.block.2.layer.1.EncDecAttention.v.weight",
                                    "encoder.block.1.layer.1.DenseReluDense.wi_1.weight",
                                    "encoder.block.1.layer.1.DenseReluDense.wo.weight",
                                    "decoder.final_layer_norm.weight",
                                    "lm_head.weight"};
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        fake *k = fake_t5(&gated, WEIR_DTYPE_BF16);
        weir_model *m = NULL;
        weir_err err = {""};
        k->redtyped = t[i];
        cr_expect_eq(fake_create(k, be, &m, &err), WEIR_OK, "%s: %s", t[i], err.text);
        weir__model_free(m);
        fake_free(k);
    }
    weir__backend_close(be);
}

Test(t5_load, refuses_configs_no_t5_has) {
    weir_backend *be = fake_backend(1);
    for (int i = 0; i < 12; i++) {
        fake *k = fake_t5(&gated, WEIR_DTYPE_F32);
        weir_t5_config *c = &k->t5;
        int32_t *const field[] = {&c->dim,          &c->head_dim,    &c->n_head,
                                  &c->ff_dim,       &c->n_enc_layer, &c->n_dec_layer,
                                  &c->n_vocab_rows, &c->n_bucket,    &c->max_distance};
        if (i < 9) *field[i] = i == 7 ? 3 : 0;
        if (i == 9) c->max_distance = c->n_bucket / 2; /* the logarithm would not grow */
        if (i == 10) c->eps = NAN;
        if (i == 11) c->dim = INT32_MAX;
        weir_model *m = NULL;
        weir_err err = {""};
        cr_expect_eq(fake_create(k, be, &m, &err), WEIR_EINVAL, "case %d", i);
        cr_expect(err.text[0] && !m);
        fake_free(k);
    }
    weir__backend_close(be);
}

/* ---- which embedding ----------------------------------------------------------------------------------- */

static void logits_of(weir_model *m, weir_backend *be, const weir_t5_config *c, float *logits) {
    static float pool[2][1 << 16];
    const int32_t table[2] = {0, 1}, len[1] = {5}, prompt[5] = {9, 8, 7, 6, 5}, zero[1] = {0}, token[1] = {3};
    const int64_t floats = weir__kv_page_elems(c->n_dec_layer, c->n_head, c->head_dim);
    weir_kv_view v = {pool[0], floats, table, 1, c->n_dec_layer, c->n_head, c->head_dim, WEIR_DTYPE_F32};
    weir_kv kv = {.self = v, .cross = v, .cross_len = len};
    cr_assert(floats <= 1 << 16);
    kv.cross.pool = pool[1];
    (void)be;
    cr_assert_eq(weir__model_prefill(m, &kv, 0, prompt, 5), WEIR_OK);
    const weir_batch b = {
        .token = token, .pos = zero, .slot = zero, .n_row = 1, .out = zero, .n_out = 1, .logits = logits};
    cr_assert_eq(weir__model_forward(m, &kv, &b), WEIR_OK);
}

static weir_status logits_with(const weir_t5_config *c, const char *hidden, const char *extra, bool twin,
                               float *logits, weir_err *err) {
    fake *k = fake_t5(c, WEIR_DTYPE_F32);
    weir_backend *be = fake_backend(1);
    weir_model *m = NULL;
    k->hidden = hidden;
    k->extra = extra;
    if (twin) { /* all embeddings have the contents of shared */
        const int64_t n = (int64_t)c->n_vocab_rows * c->dim;
        float *s = fake_data(k, "shared.weight", k->dtype, n + c->n_vocab_rows + c->dim + 1);
        memcpy(fake_data(k, "encoder.embed_tokens.weight", k->dtype, n), s, (size_t)n * 4);
        memcpy(fake_data(k, "decoder.embed_tokens.weight", k->dtype, n), s, (size_t)n * 4);
    }
    const weir_status s = fake_create(k, be, &m, err);
    if (s == WEIR_OK) logits_of(m, be, c, logits);
    weir__model_free(m);
    weir__backend_close(be);
    fake_free(k);
    return s;
}

Test(t5_load, embedding_may_live_in_a_stack) {
    float want[101], got[101];
    weir_err err = {""};
    cr_assert_eq(logits_with(&gated, NULL, NULL, true, want, &err), WEIR_OK, "%s", err.text);
    const char *const extra[] = {"encoder.embed_tokens.weight", "decoder.embed_tokens.weight",
                                 "encoder.embed_tokens.weight decoder.embed_tokens.weight"};
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(logits_with(&gated, "shared.weight", extra[i], true, got, &err), WEIR_OK, "%s",
                     err.text);
        cr_expect(memcmp(got, want, sizeof want) == 0, "%s", extra[i]);
    }
    cr_expect_eq(logits_with(&gated, "shared.weight", extra[2], false, got, &err), WEIR_EFORMAT);
    cr_expect(strstr(err.text, "encoder.embed_tokens.weight differs"), "%s", err.text);
    cr_assert_eq(logits_with(&gated, NULL, extra[2], false, got, &err), WEIR_OK,
                 "shared wins where it is there");
    cr_expect(memcmp(got, want, sizeof want) == 0);
}

Test(t5_load, tied_config_ignores_a_head_in_the_file) {
    const weir_t5_config c = plain_tied();
    float want[101], got[101];
    weir_err err = {""};
    cr_assert_eq(logits_with(&c, NULL, NULL, false, want, &err), WEIR_OK, "%s", err.text);
    cr_assert_eq(logits_with(&c, NULL, "lm_head.weight", false, got, &err), WEIR_OK, "%s", err.text);
    cr_expect(memcmp(got, want, sizeof want) == 0);
}

/* ---- memory -------------------------------------------------------------------------------------------- */

static size_t live;

static void *count_alloc(void *ud, size_t align, size_t bytes) {
    (void)ud;
    char *p = NULL;
    if (posix_memalign((void **)&p, align, bytes + align) != 0) return NULL;
    memcpy(p, &bytes, sizeof bytes);
    live += bytes;
    return p + align;
}

static void count_free(void *ud, void *q) {
    (void)ud;
    char *p = (char *)q - 64;
    size_t bytes;
    memcpy(&bytes, p, sizeof bytes);
    live -= bytes;
    free(p);
}

static size_t lines(size_t bytes) { return (bytes + 63) / 64 * 64; }

static size_t whole_lines(size_t floats) { return (floats + 15) / 16 * 16; }

/* What create leaves allocated: weights as the facts say, scratch as the plan says, and the structs. */
static void check_bytes(const weir_t5_config *c, weir_dtype dtype, int n_thread) {
    weir_backend *be = fake_backend(n_thread);
    const size_t op_before = lines(be->scratch_floats * 4 * (size_t)n_thread), before = live;
    fake *k = fake_t5(c, dtype);
    weir_model *m = NULL;
    weir_err err = {""};
    weir_model_facts f;
    cr_assert_eq(fake_create(k, be, &m, &err), WEIR_OK, "%s", err.text);
    weir__t5_facts(c, dtype, (weir_place){0}, &f);
    const size_t structs = lines(sizeof(t5_model)) +
                           lines((size_t)c->n_enc_layer * sizeof(encdec_enc_layer)) +
                           lines((size_t)c->n_dec_layer * sizeof(encdec_dec_layer));
    const size_t op_after = lines(be->scratch_floats * 4 * (size_t)n_thread);
    const weir_bytes arena = weir__t5_scratch_bytes(c, be, &f, (weir_place){0}, 17, 100);
    cr_expect_eq(live - before, f.weight_bytes + arena.backend + structs + op_after - op_before);
    cr_expect_eq(arena.host, 0);
    cr_expect_geq(arena.backend, 4 * (size_t)be->chunk * (size_t)(c->n_head * c->head_dim + c->ff_dim));
    const weir_model_facts *g = weir__model_get_facts(m);
    cr_expect_eq(g->weight_bytes, f.weight_bytes);
    if (op_after > op_before) { /* the ops' scratch was grown for this model: then the plan is exact */
        const size_t floats = whole_lines(weir__t5_op_floats(c, be, 17, 100));
        cr_expect_eq(lines(floats * 4 * (size_t)n_thread), op_after);
    }
    weir__model_free(m);
    weir__backend_close(be);
    cr_expect_eq(live, 0);
    fake_free(k);
}

Test(t5_load, takes_the_bytes_the_plan_says) {
    const weir_allocator a = {count_alloc, count_free, NULL};
    weir_set_allocator(&a);
    const weir_t5_config tied = plain_tied();
    weir_t5_config wide = gated;
    wide.ff_dim = 1111; /* more inputs than a fresh backend serves */
    for (int n_thread = 1; n_thread <= 3; n_thread++) {
        check_bytes(&gated, WEIR_DTYPE_F32, n_thread);
        check_bytes(&gated, WEIR_DTYPE_BF16, n_thread);
        check_bytes(&tied, WEIR_DTYPE_BF16, n_thread);
        check_bytes(&wide, WEIR_DTYPE_BF16, n_thread);
    }
    weir_set_allocator(NULL);
}

static void same_facts(const weir_model_facts *a, const weir_model_facts *b) {
    cr_expect_eq(a->weight_bytes, b->weight_bytes);
    cr_expect_eq(a->decode_bytes, b->decode_bytes);
    cr_expect_eq(a->n_param, b->n_param);
    cr_expect_eq(a->n_layer_self, b->n_layer_self);
    cr_expect_eq(a->dtype, b->dtype);
    cr_expect_eq(a->kv_dtype, b->kv_dtype);
}

/* From the config, from the tensors, after the load; a matrix in f32 among bf16 is counted as it lies
 * there. */
Test(t5_load, facts_agree_however_they_are_found) {
    const weir_t5_config tied = plain_tied(), *const config[] = {&gated, &tied};
    weir_backend *be = fake_backend(1);
    for (int i = 0; i < 4; i++) {
        fake *k = fake_t5(config[i / 2], i % 2 ? WEIR_DTYPE_BF16 : WEIR_DTYPE_F32);
        const weir_tensor_source src = fake_source(k);
        weir_model_facts planned, measured;
        weir_model *m = NULL;
        for (int device = 1; device >= 0; device--) {
            weir__t5_facts(config[i / 2], k->dtype, (weir_place){.device = device != 0}, &planned);
            cr_assert_eq(
                weir__t5_measure(config[i / 2], &src, (weir_place){.device = device != 0}, &measured, NULL),
                WEIR_OK);
            same_facts(&planned, &measured);
        }
        cr_expect_eq(k->n_released, 0);
        cr_assert_eq(fake_create(k, be, &m, NULL), WEIR_OK);
        same_facts(&planned, weir__model_get_facts(m));
        weir__model_free(m);
        fake_free(k);
    }
    fake *k = fake_t5(&gated, WEIR_DTYPE_F32);
    const weir_tensor_source src = fake_source(k);
    weir_model_facts all, one;
    weir_err err = {""};
    weir__t5_facts(&gated, WEIR_DTYPE_F32, (weir_place){0}, &all);
    k->redtyped = "decoder.block.1.layer.2.DenseReluDense.wo.weight"; /* f16 */
    cr_assert_eq(weir__t5_measure(&gated, &src, (weir_place){0}, &one, NULL), WEIR_OK);
    const size_t saved = weir__weight_bytes(WEIR_LAYOUT_PANEL, WEIR_DTYPE_F32, 24, 40, false) / 2;
    cr_expect_eq(all.weight_bytes - one.weight_bytes, saved);
    cr_expect_eq(all.decode_bytes - one.decode_bytes, saved);
    k->hidden = "encoder.final_layer_norm.weight";
    cr_expect_eq(weir__t5_measure(&gated, &src, (weir_place){0}, &one, &err), WEIR_EFORMAT);
    cr_expect(strstr(err.text, k->hidden), "%s", err.text);
    fake_free(k);
    weir__backend_close(be);
}

/* n_param counts each tensor once: 4 matrices of attention, and so on; added up by hand for the gated
 * config. */
Test(t5_load, counts_parameters) {
    weir_model_facts f;
    weir__t5_facts(&gated, WEIR_DTYPE_F32, (weir_place){0}, &f);
    const int64_t att = 4 * 15 * 24, ff = 3 * 40 * 24, head = 101 * 24;
    cr_expect_eq(f.n_param, 2 * head + 2 * (att + ff + 48) + 3 * (2 * att + ff + 72) + 48 + 2 * 8 * 3);
    const weir_t5_config tied = plain_tied();
    weir__t5_facts(&tied, WEIR_DTYPE_F32, (weir_place){0}, &f);
    cr_expect_eq(f.n_param, head + 2 * (att + 2 * 960 + 48) + 3 * (2 * att + 2 * 960 + 72) + 48 + 2 * 8 * 3);
}

static size_t packed(int64_t n, int64_t k, bool pair) {
    return weir__weight_bytes(WEIR_LAYOUT_PANEL, WEIR_DTYPE_BF16, n, k, pair);
}

/* Added up by hand: a pass reads the head and the decoder, but not what makes K and V of the encoder's
 * output. */
Test(t5_load, counts_bytes) {
    weir_model_facts f;
    const size_t self = packed(45, 24, false) + packed(24, 15, false),
                 ff = packed(40, 24, true) + packed(24, 40, false);
    const size_t cross = packed(15, 24, false) + packed(24, 15, false), kv = packed(30, 24, false);
    const size_t pass = packed(101, 24, false) + 3 * (self + cross + ff);
    const size_t vectors =
        4 * ((2 * 2 + 3 * 3 + 2) * 32 + 128 + 64); /* norms of 24, biases of 3 x 41 and 3 x 21 */
    weir__t5_facts(&gated, WEIR_DTYPE_BF16, (weir_place){0}, &f);
    cr_expect_eq(f.decode_bytes, pass);
    cr_expect_eq(f.weight_bytes, pass + packed(101, 24, false) + 2 * (self + ff) + 3 * kv + vectors);
}

/* Each matrix is given back to the source once it is packed; norms and tables are too small to matter. */
Test(t5_load, releases_what_it_packed) {
    fake *k = fake_t5(&gated, WEIR_DTYPE_F32);
    weir_backend *be = fake_backend(1);
    weir_model *m = NULL;
    cr_assert_eq(fake_create(k, be, &m, NULL), WEIR_OK);
    cr_expect_eq(k->n_released, 2 + 2 * (4 + 3) + 3 * (4 + 4 + 3));
    weir__model_free(m);
    weir__model_free(NULL);
    weir__backend_close(be);
    fake_free(k);
}

Test(t5_load, survives_every_failed_allocation) {
    fake *k = fake_t5(&gated, WEIR_DTYPE_BF16);
    k->t5.ff_dim = 1111; /* so that the backend's scratch grows too */
    fake_fail_each_allocation(k, 30);
    fake_free(k);
}
