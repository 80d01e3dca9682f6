/* Loading a decoder: what is missing or misshapen is named, memory is what the plan says, no failed
 * allocation leaks. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/base/mem.h"
#include "kernels/weight/quantise.h"
#include "tests/models/decoder_kinds.h"
#include "tests/models/fake.h"
#include "tests/support/compare.h"

/* ---- named failures ------------------------------------------------------------------------------------ */

static void break_each_tensor(const weir_decoder_config *c, int n_want) {
    fake *k = fake_decoder(c, WEIR_DTYPE_F32);
    fake_break_each_tensor(k, n_want);
    fake_free(k);
}

Test(decoder_load, names_each_missing_or_misshapen_tensor_untied) { break_each_tensor(&plain, 3 + 3 * 14); }
Test(decoder_load, names_each_missing_or_misshapen_tensor_gemma) {
    const weir_decoder_config c = gemma();
    break_each_tensor(&c, 2 + 3 * 13);
}

Test(decoder_load, names_each_missing_or_misshapen_tensor_fused) {
    weir_decoder_config c = plain;
    c.qkv_bias = c.qk_norm = false, c.fused = true;
    break_each_tensor(&c, 3 + 3 * 6);
}
Test(decoder_load, names_each_missing_or_misshapen_tensor_norms_after) {
    weir_decoder_config c = plain;
    c.qkv_bias = false, c.qk_norm_whole = c.post_norms = c.no_pre_norms = true;
    break_each_tensor(&c, 3 + 3 * 11);
}

Test(decoder_load, names_each_missing_or_misshapen_tensor_experts) {
    const weir_decoder_config c = mixture();
    break_each_tensor(&c, 3 + 14 + 2 * (11 + 1 + 3 * 4 + 4));
}

/* One tensor's rows are several matrices: the same model as from a file that has them apart. */
Test(decoder_load, fused_and_apart_take_the_same_room) {
    weir_decoder_config c = plain;
    c.qkv_bias = c.qk_norm = false;
    weir_model_facts f[2];
    for (int i = 0; i < 2; i++) {
        c.fused = i == 1;
        fake *k = fake_decoder(&c, WEIR_DTYPE_BF16);
        const weir_tensor_source src = fake_source(k);
        cr_assert_eq(weir__decoder_measure(&c, &src, (weir_place){0}, &f[i], NULL), WEIR_OK);
        fake_free(k);
    }
    cr_expect(f[0].n_param == f[1].n_param && f[0].weight_bytes == f[1].weight_bytes &&
              f[0].decode_bytes == f[1].decode_bytes && f[0].n_param > 0);
}

/* Norms over all heads take all of q and k, on every rank that has some heads. */
Test(decoder_load, ranks_have_q_and_k_of_all_heads_that_a_norm_spans) {
    weir_decoder_config c = plain;
    c.qkv_bias = false, c.head_dim = 16, c.n_head = c.n_head_kv = 4, c.dim = 64;
    weir_model_facts f[2][2];
    for (int whole = 0; whole < 2; whole++) {
        c.qk_norm_whole = whole == 1;
        fake *k = fake_decoder(&c, WEIR_DTYPE_F32);
        const weir_tensor_source src = fake_source(k);
        for (int32_t r = 0; r < 2; r++) {
            const weir_place place = {.rank = r, .n_rank = 2};
            cr_assert_eq(weir__decoder_measure(&c, &src, place, &f[whole][r], NULL), WEIR_OK);
        }
        fake_free(k);
    }
    /* of three layers the other two heads of q and k, and norms of four heads instead of one */
    const size_t heads = 3 * 2 * 2 * 16 * 64 * sizeof(float), norms = 3 * 2 * 3 * 16 * sizeof(float);
    for (int32_t r = 0; r < 2; r++) {
        cr_expect(f[0][r].share.n_head == 2 && f[1][r].share.n_head == 2);
        cr_expect_eq(f[1][r].decode_bytes - f[0][r].decode_bytes, heads);
        cr_expect_eq(f[1][r].weight_bytes - f[0][r].weight_bytes, heads + norms);
        cr_expect_eq(f[1][r].n_exchange, f[0][r].n_exchange);
    }
}

Test(decoder_load, dtypes_that_may_differ_and_dtypes_that_may_not) {
    weir_backend *be = fake_backend(1);
    const struct {
        const char *name;
        weir_dtype other;
        weir_status want;
    } t[] = {{"model.layers.0.self_attn.k_proj.weight", WEIR_DTYPE_BF16, WEIR_OK},
             {"model.layers.2.mlp.down_proj.weight", WEIR_DTYPE_BF16, WEIR_OK},
             {"model.layers.1.input_layernorm.weight", WEIR_DTYPE_BF16, WEIR_OK},
             {"lm_head.weight", WEIR_DTYPE_BF16, WEIR_OK},
             {"model.layers.1.mlp.up_proj.weight", WEIR_DTYPE_BF16, WEIR_OK},
             {"model.layers.1.input_layernorm.weight", WEIR_DTYPE_Q8_0, WEIR_EFORMAT},
             {"model.layers.1.self_attn.q_proj.bias", WEIR_DTYPE_Q4_K, WEIR_EFORMAT},
             {"model.layers.1.self_attn.o_proj.weight", WEIR_DTYPE_Q8_0, WEIR_EFORMAT}, /* rows of 30 */
             {"model.layers.2.mlp.down_proj.weight", WEIR_DTYPE_Q8_0, WEIR_EFORMAT}};   /* rows of 40 */
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        fake *k = fake_decoder(&plain, WEIR_DTYPE_F32);
        weir_model *m = NULL;
        weir_err err = {""};
        k->redtyped = t[i].name, k->other = t[i].other;
        cr_expect_eq(fake_create(k, be, &m, &err), t[i].want, "%s: %s", t[i].name, err.text);
        if (t[i].want != WEIR_OK) cr_expect(strstr(err.text, t[i].name), "%s", err.text);
        weir__model_free(m);
        fake_free(k);
    }
    weir__backend_close(be);
}

static void bad_number(int i, weir_decoder_config *c) {
    switch (i) {
    case 0: c->eps = NAN; break;
    case 1: c->embed_scale = 0.0f; break;
    case 2: c->attention_scale = -1.0f; break;
    case 3: c->attention_softcap = -1.0f; break;
    case 4: c->final_softcap = INFINITY; break;
    case 5: c->n_head = 2, c->n_head_kv = 4; break;
    case 6: c->n_head = 5, c->n_head_kv = 2; break;
    case 7: c->sliding[2] = true; break; /* without a window */
    case 8: c->window = -1; break;
    case 9: c->n_layer = WEIR_DECODER_LAYERS + 1; break;
    case 10: c->head_dim = 9; break; /* an odd number of dimensions to turn */
    case 11: c->rope.n_dim = 12; break;
    case 12: c->rope.theta = 0.0f; break;
    case 13: c->rope.kind = WEIR_ROPE_LINEAR; break; /* without a factor */
    case 14:
        c->rope.kind = WEIR_ROPE_LLAMA3, c->rope.factor = 8.0f, c->rope.low_freq = 1.0f,
        c->rope.high_freq = 4.0f;
        break;
    case 15: c->rope.kind = WEIR_ROPE_YARN, c->rope.factor = 4.0f, c->rope.n_ctx_original = 64; break;
    case 16: c->rope.kind = (weir_rope_kind)7; break;
    case 17: c->window = 4, c->sliding[0] = true, c->rope_sliding.theta = NAN; break;
    case 18: c->act = (weir_act)9; break;
    case 19: c->no_pre_norms = true; break;
    case 20: c->qk_norm = false, c->qkv_bias = false, c->qk_norm_whole = true; break;
    case 21: c->qk_norm_whole = true; break; /* with biases */
    case 22: c->residual_scale = 0.5f, c->post_norms = true; break;
    case 23: c->residual_scale = NAN; break;
    case 24: c->logit_scale = -1.0f; break;
    case 25: c->rope.kind = WEIR_ROPE_LONGROPE, c->rope.factor = 4.0f, c->rope.n_ctx_original = 1; break;
    default: c->dim = INT32_MAX; break;
    }
}

Test(decoder_load, refuses_configs_no_decoder_has) {
    weir_backend *be = fake_backend(1);
    for (int i = 0; i < 33; i++) {
        fake *k = fake_decoder(&plain, WEIR_DTYPE_F32);
        weir_decoder_config *c = &k->decoder;
        int32_t *const field[] = {&c->dim, &c->head_dim, &c->n_head, &c->n_head_kv, &c->ff_dim, &c->n_layer};
        if (i < 27)
            bad_number(i, c);
        else
            *field[i - 27] = 0;
        weir_model *m = NULL;
        weir_err err = {""};
        cr_expect_eq(fake_create(k, be, &m, &err), WEIR_EINVAL, "case %d: %s", i, err.text);
        cr_expect(strncmp(err.text, "decoder config: ", 16) == 0 && !m, "case %d: %s", i, err.text);
        fake_free(k);
    }
    weir__backend_close(be);
}

/* ---- quantised while it loads -------------------------------------------------------------------------- */

/* A source whose matrices of products are blocks already, made of another one's floats. */
typedef struct blocks_of {
    weir_tensor_source src;
    weir_dtype to;
    void *made[64];
    int n;
} blocks_of;

static bool find_blocks(void *ud, const char *name, weir_tensor *out) {
    blocks_of *b = ud;
    if (!b->src.find(b->src.ud, name, out)) return false;
    if (out->rows == 1 || out->cols % weir_dtype_block(b->to) != 0 || strstr(name, "embed_tokens"))
        return true;
    const int64_t bytes = weir_dtype_row_bytes(b->to, out->cols);
    unsigned char *to = malloc((size_t)(out->rows * bytes));
    cr_assert(to && b->n < 64);
    for (int64_t r = 0; r < out->rows; r++)
        weir__quantise_row(out->dtype, b->to, weir_tensor_row(out, r), out->cols, to + r * bytes);
    b->made[b->n++] = to;
    out->data = to, out->dtype = b->to;
    return true;
}

/* Rows of 64 become blocks, those of 40 inputs (down) stay. */
static weir_decoder_config in_blocks(bool tied) {
    weir_decoder_config c = plain;
    c.dim = 64, c.head_dim = 32, c.n_head = 2, c.n_layer = 2, c.tied = tied;
    return c;
}

static weir_status logits_of(fake *k, const weir_tensor_source *src, float *logits, weir_err *err);

Test(decoder_load, a_model_quantised_while_it_loads_is_that_of_the_blocks) {
    for (int i = 0; i < 6; i++) {
        const weir_decoder_config c = in_blocks(false);
        const weir_dtype from = (weir_dtype)(i % 3 == 1 ? WEIR_DTYPE_BF16 : WEIR_DTYPE_F32);
        fake *k = fake_decoder(&c, from);
        float got[101], want[101], floats[101];
        blocks_of b = {.src = fake_source(k), .to = i % 2 ? WEIR_DTYPE_FP8 : WEIR_DTYPE_Q8_0};
        weir_tensor_source asks = fake_source(k);
        const weir_tensor_source has = {.find = find_blocks, .ud = &b};
        asks.quantise = b.to;
        if (i > 3) k->redtyped = "model.layers.1.self_attn.k_proj.weight", k->other = WEIR_DTYPE_BF16;
        cr_assert_eq(logits_of(k, &asks, got, NULL), WEIR_OK);
        cr_assert_eq(logits_of(k, &has, want, NULL), WEIR_OK);
        cr_assert_eq(logits_of(k, &b.src, floats, NULL), WEIR_OK);
        cr_expect(memcmp(got, want, sizeof want) == 0, "case %d", i);
        cr_expect(memcmp(got, floats, sizeof want) != 0, "case %d: nothing was quantised", i);
        while (b.n > 0) free(b.made[--b.n]);
        fake_free(k);
    }
}

/* Of each layer q, k, v, o, gate and up; the head, which a tied embedding is too. */
Test(decoder_load, the_facts_count_what_is_quantised_and_its_bytes) {
    for (int tied = 0; tied < 2; tied++) {
        const weir_decoder_config c = in_blocks(tied);
        fake *k = fake_decoder(&c, WEIR_DTYPE_BF16);
        weir_tensor_source src = fake_source(k);
        weir_model_facts before, after;
        cr_assert_eq(weir__decoder_measure(&c, &src, (weir_place){0}, &before, NULL), WEIR_OK);
        src.quantise = WEIR_DTYPE_Q8_0;
        cr_assert_eq(weir__decoder_measure(&c, &src, (weir_place){0}, &after, NULL), WEIR_OK);
        cr_expect(before.n_quantised == 0 && before.n_left == 0);
        cr_expect(after.n_quantised == 2 * 6 + 1 && after.n_left == 2, "%d, %d", after.n_quantised,
                  after.n_left);
        cr_expect(after.dtype == WEIR_DTYPE_Q8_0 && after.n_param == before.n_param);
        /* panels of 16 outputs: q 64, k and v 32 each, o 64, gate and up 48 each, head 112 */
        const size_t panels = 2 * (4 + 2 + 2 + 4 + 3 + 3) + 7, each = 16 * 64;
        cr_expect(before.weight_bytes - after.weight_bytes == panels * (2 * each - each / 32 * 34));
        cr_expect(before.decode_bytes - after.decode_bytes == panels * (2 * each - each / 32 * 34));
        fake_free(k);
    }
}

/* Blocks of a file stay what they are. */
Test(decoder_load, what_is_quantised_in_the_file_is_left_alone) {
    const weir_decoder_config c = in_blocks(false);
    fake *k = fake_decoder(&c, WEIR_DTYPE_BF16);
    k->redtyped = "model.layers.1.mlp.up_proj.weight", k->other = WEIR_DTYPE_Q4_0;
    weir_tensor_source src = fake_source(k);
    weir_model_facts f;
    src.quantise = WEIR_DTYPE_Q8_0;
    cr_assert_eq(weir__decoder_measure(&c, &src, (weir_place){0}, &f, NULL), WEIR_OK);
    cr_expect(f.n_quantised == 2 * 6 && f.n_left == 3, "%d, %d", f.n_quantised, f.n_left);
    fake_free(k);
}

/* ---- numbers ------------------------------------------------------------------------------------------- */

/* Logits after a few tokens. */
static weir_status logits_of(fake *k, const weir_tensor_source *src, float *logits, weir_err *err) {
    static float pool[1 << 14];
    const int32_t table[1] = {0}, token[6] = {9, 8, 7, 6, 5, 4}, slot[6] = {0}, pos[6] = {0, 1, 2, 3, 4, 5},
                  last[1] = {5};
    const weir_decoder_config *c = &k->decoder;
    const int64_t floats = weir__kv_page_elems(c->n_layer, c->n_head_kv, c->head_dim);
    cr_assert(floats <= 1 << 14);
    const weir_kv kv = {
        .self = {pool, floats, table, 1, c->n_layer, c->n_head_kv, c->head_dim, WEIR_DTYPE_F32}};
    weir_backend *be = fake_backend(1);
    weir_model *m = NULL;
    const weir_status s = k->kind->create(&m, be, k, src, err);
    if (s == WEIR_OK) {
        const weir_batch b = {
            .token = token, .pos = pos, .slot = slot, .n_row = 6, .out = last, .n_out = 1, .logits = logits};
        cr_assert_eq(weir__model_forward(m, &kv, &b), WEIR_OK);
    }
    weir__model_free(m);
    weir__backend_close(be);
    return s;
}

static weir_status logits_with(fake *k, float *logits, weir_err *err) {
    const weir_tensor_source src = fake_source(k);
    return logits_of(k, &src, logits, err);
}

/* The same with one matrix of layer 1 in BF16, by the end of its name; NULL: none. No number changes by
 * it. */
static void logits_redtyped(const weir_decoder_config *c, const char *what, float *logits) {
    char name[96];
    fake *k = fake_decoder(c, WEIR_DTYPE_F32);
    if (what) {
        snprintf(name, sizeof name, *what == '*' ? "%s.weight" : "model.layers.1.%s.weight", what);
        k->redtyped = name, k->other = WEIR_DTYPE_BF16;
    }
    cr_assert_eq(logits_with(k, logits, NULL), WEIR_OK);
    fake_free(k);
}

/* q, k and v in one product, two or three: a sum's order is its own row's, so no bit changes. */
Test(decoder_load, separate_products_give_the_bits_of_one) {
    static const char *const odd[] = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"};
    float want[101], got[101];
    logits_redtyped(&plain, NULL, want);
    for (int i = 0; i < 3; i++) {
        logits_redtyped(&plain, odd[i], got);
        cr_expect(memcmp(got, want, sizeof want) == 0, "%s", odd[i]);
    }
}

/* Gate and up of two dtypes: the activation is rounded to f32 before it meets up (2^-24 of it), and three
 * layers of weights below 0.3 make far less than 100 times that of it; gate and up exchanged, or one of them
 * left out, move the logits by their own size. */
Test(decoder_load, gate_and_up_may_differ_in_dtype) {
    static const char *const odd[] = {"mlp.gate_proj", "mlp.up_proj", "*gate_proj", "*up_proj"};
    const weir_decoder_config mixed = mixture();
    float want[101], got[101];
    for (int i = 0; i < 4; i++) {
        const weir_decoder_config *c = i < 2 ? &plain : &mixed;
        logits_redtyped(c, NULL, want);
        logits_redtyped(c, odd[i], got);
        for (int j = 0; j < 101; j++) {
            cr_expect(fabsf(got[j] - want[j]) <= 0x1p-17f * (1.0f + fabsf(want[j])),
                      "%s, logit %d: %g, want %g", odd[i], j, (double)got[j], (double)want[j]);
        }
    }
}

/* Factors as GGUF files hold them say what the formula says, and take its place. */
Test(decoder_load, rope_factors_of_the_file_stand_for_llama3s_formula) {
    weir_decoder_config c = plain;
    float base[5], stretched[5], factor[5], want[101], got[101], doubled[101];
    (void)weir__rope_table(&c.rope, 10, base);
    c.rope.kind = WEIR_ROPE_LLAMA3, c.rope.theta = 1e4f, c.rope.factor = 8.0f;
    c.rope.low_freq = 1.0f, c.rope.high_freq = 4.0f, c.rope.n_ctx_original = 256;
    (void)weir__rope_table(&c.rope, 10, stretched);
    for (int i = 0; i < 5; i++) factor[i] = base[i] / stretched[i];
    cr_assert(factor[0] == 1.0f && factor[2] > 1.0f && factor[4] == 8.0f, "%g %g %g", (double)factor[0],
              (double)factor[2], (double)factor[4]);

    fake *k = fake_decoder(&c, WEIR_DTYPE_F32);
    cr_assert_eq(logits_with(k, want, NULL), WEIR_OK);
    k->rope_freqs = factor;
    cr_assert_eq(logits_with(k, doubled, NULL), WEIR_OK);
    k->decoder.rope = plain.rope;
    cr_assert_eq(logits_with(k, got, NULL), WEIR_OK);
    cr_expect(memcmp(got, doubled, sizeof got) == 0, "once is enough");
    for (int i = 0; i < 101; i++) { /* a frequency is off by an ulp */
        cr_expect(fabsf(got[i] - want[i]) <= 1e-5f, "[%d] %g, want %g", i, (double)got[i], (double)want[i]);
    }

    weir_err err = {""};
    const float bad[] = {0.0f, -1.0f, NAN};
    for (int i = 0; i < 3; i++) {
        factor[3] = bad[i];
        cr_expect_eq(logits_with(k, got, &err), WEIR_EFORMAT);
        cr_expect(strstr(err.text, "rope_freqs.weight"), "%s", err.text);
    }
    factor[3] = 1.0f;
    k->reshaped = "rope_freqs.weight";
    cr_expect_eq(logits_with(k, got, &err), WEIR_EFORMAT);
    cr_expect(strstr(err.text, "rope_freqs.weight"), "%s", err.text);
    fake_free(k);
}

/* Positions below 2^20 keep sine and cosine good for one radian a position, not for two. */
Test(decoder_load, frequencies_above_one_radian_are_refused) {
    weir_decoder_config c = plain;
    float logits[101];
    weir_err err = {""};
    c.rope.kind = WEIR_ROPE_LINEAR, c.rope.factor = 0.5f;
    fake *k = fake_decoder(&c, WEIR_DTYPE_F32);
    cr_expect_eq(logits_with(k, logits, &err), WEIR_EFORMAT);
    cr_expect(strstr(err.text, "pair 0 turns by 2 per position, want above 0 and at most 1"), "%s", err.text);
    k->decoder.rope.factor = 1.0f;
    cr_expect_eq(logits_with(k, logits, &err), WEIR_OK);
    fake_free(k);
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

/* What create leaves allocated: weights as measured, scratch as the plan says, and the structs. */
static void check_bytes(const weir_decoder_config *c, weir_dtype dtype, int n_thread) {
    weir_backend *be = fake_backend(n_thread);
    const size_t op_before = lines(be->scratch_floats * 4 * (size_t)n_thread), before = live;
    fake *k = fake_decoder(c, dtype);
    const weir_tensor_source src = fake_source(k);
    weir_model *m = NULL;
    weir_err err = {""};
    weir_model_facts f;
    cr_assert_eq(weir__decoder_measure(c, &src, (weir_place){0}, &f, &err), WEIR_OK, "%s", err.text);
    cr_expect_eq(k->n_released, 0);
    cr_expect_eq(live, before);
    cr_assert_eq(fake_create(k, be, &m, &err), WEIR_OK, "%s", err.text);
    const size_t structs = lines(sizeof(decoder_model)) + lines((size_t)c->n_layer * sizeof(decoder_layer));
    const size_t op_after = lines(be->scratch_floats * 4 * (size_t)n_thread);
    const weir_bytes arena = weir__decoder_scratch_bytes(c, be, &f, (weir_place){0}, 17, 100);
    cr_expect_eq(live - before, f.weight_bytes + arena.backend + structs + op_after - op_before);
    cr_expect_eq(arena.host, 0);
    const int32_t heads = 2 * (c->n_head + c->n_head_kv); /* q, k, v and the output, of a chunk */
    cr_expect_geq(arena.backend, 4 * (size_t)be->chunk * (size_t)(c->dim + heads * c->head_dim + c->ff_dim));
    const weir_model_facts *g = weir__model_get_facts(m);
    cr_expect(memcmp(g, &f, sizeof f) == 0);
    if (op_after > op_before) { /* the ops' scratch was grown for this model: then the plan is exact */
        const size_t floats = (weir__decoder_op_floats(c, be, 17, 100) + 15) / 16 * 16;
        cr_expect_eq(lines(floats * 4 * (size_t)n_thread), op_after);
    }
    weir__model_free(m);
    weir__backend_close(be);
    cr_expect_eq(live, 0);
    fake_free(k);
}

Test(decoder_load, takes_the_bytes_the_plan_says) {
    const weir_allocator a = {count_alloc, count_free, NULL};
    weir_set_allocator(&a);
    const weir_decoder_config tied = gemma(), mixed = mixture();
    weir_decoder_config wide = plain;
    wide.ff_dim = 1111; /* more inputs than a fresh backend serves */
    for (int n_thread = 1; n_thread <= 3; n_thread++) {
        check_bytes(&plain, WEIR_DTYPE_F32, n_thread);
        check_bytes(&plain, WEIR_DTYPE_BF16, n_thread);
        check_bytes(&tied, WEIR_DTYPE_BF16, n_thread);
        check_bytes(&wide, WEIR_DTYPE_BF16, n_thread);
        check_bytes(&mixed, WEIR_DTYPE_BF16, n_thread);
    }
    weir_set_allocator(NULL);
}

/* Added up by hand; a pass with logits reads all but an untied embedding. */
Test(decoder_load, counts_parameters_and_the_bytes_of_a_pass) {
    weir_model_facts f;
    const weir_decoder_config tied = gemma(), *const config[] = {&plain, &tied};
    const int64_t att = 2 * 30 * 24 + 2 * 10 * 24, ff = 3 * 40 * 24, head = 101 * 24;
    const int64_t want[] = {2 * head + 3 * (att + ff + 2 * 24 + 2 * 10 + 50) + 24,
                            head + 3 * (att + ff + 4 * 24 + 2 * 10) + 24};
    for (int i = 0; i < 2; i++) {
        fake *k = fake_decoder(config[i], WEIR_DTYPE_BF16);
        const weir_tensor_source src = fake_source(k);
        cr_assert_eq(weir__decoder_measure(config[i], &src, (weir_place){0}, &f, NULL), WEIR_OK);
        cr_expect_eq(f.n_param, want[i]);
        /* every vector rounded up to 16 floats: norms of 24, of heads of 10, a bias of 50, two tables of 5 */
        const size_t norms = i ? 4 * 32 : 2 * 32,
                     vectors = 4 * (3 * (norms + 2 * 16 + (i ? 0 : 64)) + 32 + 2 * 16);
        const size_t table = i ? 0 : weir__weight_bytes(WEIR_LAYOUT_PANEL, WEIR_DTYPE_BF16, 101, 24, false);
        cr_expect_eq(f.weight_bytes - f.decode_bytes, table + vectors);
        cr_expect(f.dtype == WEIR_DTYPE_BF16 && f.kv_dtype == WEIR_DTYPE_F32 && !f.encoder_decoder);
        cr_expect(f.n_layer_self == 3 && f.n_layer_cross == 0 && f.n_head_kv == 1 && f.head_dim == 10);
        cr_assert_eq(weir__decoder_measure(config[i], &src, (weir_place){.device = true}, &f, NULL), WEIR_OK);
        cr_expect_eq(f.kv_dtype, WEIR_DTYPE_BF16);
        fake_free(k);
    }
    weir_decoder_config wide = plain;
    wide.head_dim = 258;
    fake *k = fake_decoder(&wide, WEIR_DTYPE_F32);
    const weir_tensor_source src = fake_source(k);
    weir_err err = {""};
    cr_expect_eq(weir__decoder_measure(&wide, &src, (weir_place){0}, &f, &err), WEIR_OK);
    cr_expect_eq(weir__decoder_measure(&wide, &src, (weir_place){.device = true}, &f, &err), WEIR_ENOTSUP);
    cr_expect(strstr(err.text, "head_dim is 258"), "%s", err.text);
    fake_free(k);
}

/* A row reads the experts that it uses, two of four, and the shared one. */
Test(decoder_load, counts_the_experts_of_a_row) {
    const weir_decoder_config c = mixture();
    weir_model_facts f;
    fake *k = fake_decoder(&c, WEIR_DTYPE_F32);
    const weir_tensor_source src = fake_source(k);
    cr_assert_eq(weir__decoder_measure(&c, &src, (weir_place){0}, &f, NULL), WEIR_OK);
    const int64_t att = 2 * 30 * 24 + 2 * 10 * 24, rest = att + 2 * 24 + 2 * 10 + 50, ff = 3 * 40 * 24;
    const int64_t sparse = 4 * 24 + 4 * 3 * 12 * 24 + 3 * 20 * 24 + 24;
    cr_expect_eq(f.n_param, 2 * 101 * 24 + 24 + 3 * rest + ff + 2 * sparse);
    const size_t expert = weir__weight_bytes(WEIR_LAYOUT_PANEL, WEIR_DTYPE_F32, 12, 24, true) +
                          weir__weight_bytes(WEIR_LAYOUT_PANEL, WEIR_DTYPE_F32, 24, 12, false);
    const size_t table = weir__weight_bytes(WEIR_LAYOUT_PANEL, WEIR_DTYPE_F32, 101, 24, false);
    const size_t vectors = 4 * (3 * (2 * 32 + 2 * 16 + 64) + 32 + 2 * 16);
    cr_expect_eq(f.weight_bytes - f.decode_bytes, table + vectors + 2 * 2 * expert);
    fake_free(k);
}

/* Each matrix is given back to the source once it is packed; vectors are too small to matter. */
Test(decoder_load, releases_what_it_packed) {
    fake *k = fake_decoder(&plain, WEIR_DTYPE_F32);
    weir_backend *be = fake_backend(1);
    weir_model *m = NULL;
    cr_assert_eq(fake_create(k, be, &m, NULL), WEIR_OK);
    cr_expect_eq(k->n_released, 2 + 3 * 7);
    weir__model_free(m);
    fake_free(k);
    const weir_decoder_config c = mixture();
    k = fake_decoder(&c, WEIR_DTYPE_F32);
    cr_assert_eq(fake_create(k, be, &m, NULL), WEIR_OK);
    cr_expect_eq(k->n_released, 2 + 7 + 2 * (4 + 1 + 3 * 4 + 4));
    weir__model_free(m);
    weir__backend_close(be);
    fake_free(k);
}

/* One matrix of a dtype of its own, so that its product is one more. */
static void fail_each_allocation(const weir_decoder_config *c, const char *redtyped) {
    fake *k = fake_decoder(c, WEIR_DTYPE_BF16);
    k->decoder.ff_dim = 1111; /* so that the backend's scratch grows too */
    k->redtyped = redtyped, k->other = WEIR_DTYPE_F32;
    fake_fail_each_allocation(k, 16);
    fake_free(k);
}

Test(decoder_load, survives_every_failed_allocation) {
    const weir_decoder_config mixed = mixture();
    fail_each_allocation(&plain, "model.layers.1.self_attn.v_proj.weight");
    fail_each_allocation(&plain, "model.layers.1.mlp.up_proj.weight");
    fail_each_allocation(&mixed, "*up_proj.weight");
}
