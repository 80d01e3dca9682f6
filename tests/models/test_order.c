/* Matrices whose columns are in an order of their own, as GPTQ's groups have them: the same model, in the
 * room that the plan says, and refused where a product cannot have it. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/encdec/t5.h"
#include "tests/models/decoder_kinds.h"
#include "tests/models/fake.h"
#include "tests/support/compare.h"
#include "tests/support/files.h"

enum { MOST = 256, N_ROW = 6, N_VOCAB = 101 };

/* ---- a source whose columns are somewhere else --------------------------------------------------------- */

/* Another source's f32 matrices with their columns shuffled. */
typedef struct shuffled {
    weir_tensor_source src;
    const char *only; /* matrices with this in their name; NULL: all but tables and experts */
    bool each;        /* every matrix has an order of its own; else those of the same width have one */
    bool silent;      /* the model does not get it */
    void *made[2 * MOST];
    int n;
} shuffled;

static void shuffle(int32_t *order, int64_t n, uint64_t seed) {
    for (int64_t i = 0; i < n; i++) {
        const int64_t j = (int64_t)(rng_u64(&seed) % (uint64_t)(i + 1));
        order[i] = order[j], order[j] = (int32_t)i;
    }
}

static bool is_chosen(const shuffled *s, const char *name, const weir_tensor *t) {
    if (s->only) return strstr(name, s->only) != NULL;
    return t->rows > 1 && !strstr(name, "embed_tokens") && !strstr(name, "shared.weight") &&
           !strstr(name, ".experts.") && !strstr(name, "relative_attention_bias");
}

static bool find(void *ud, const char *name, weir_tensor *out) {
    shuffled *s = ud;
    if (!s->src.find(s->src.ud, name, out)) return false;
    if (!is_chosen(s, name, out)) return true;
    const size_t k = (size_t)out->cols;
    int32_t *order = calloc(k, sizeof *order);
    float *to = malloc((size_t)out->rows * k * sizeof *to);
    uint64_t seed = 1 + k;
    for (const char *p = name; s->each && *p; p++) seed = seed * 31 + (unsigned char)*p;
    cr_assert(order && to && s->n + 2 <= 2 * MOST);
    shuffle(order, out->cols, seed);
    for (int64_t r = 0; r < out->rows; r++) {
        const float *row = weir_tensor_row(out, r);
        for (size_t j = 0; j < k; j++) to[(size_t)r * k + j] = row[order[j]];
    }
    s->made[s->n++] = order, s->made[s->n++] = to;
    out->data = to, out->stride = 0;
    out->order = s->silent ? NULL : order;
    return true;
}

static shuffled shuffled_of(fake *k) { return (shuffled){.src = fake_source(k)}; }

static weir_tensor_source source_of(shuffled *s) { return (weir_tensor_source){.find = find, .ud = s}; }

static void forget(shuffled *s) {
    while (s->n > 0) free(s->made[--s->n]);
}

/* ---- running it ---------------------------------------------------------------------------------------- */

static weir_kv_view view_of(float *pool, int64_t room, int32_t n_layer, int32_t n_head, int32_t head_dim) {
    static const int32_t table[1] = {0};
    const int64_t floats = weir__kv_page_elems(n_layer, n_head, head_dim);
    cr_assert(floats <= room);
    return (weir_kv_view){pool, floats, table, 1, n_layer, n_head, head_dim, WEIR_DTYPE_F32};
}

/* A prompt of four tokens, then N_ROW rows, `step` at a time. */
static void run(fake *k, weir_backend *be, const weir_tensor_source *src, int32_t step,
                float logits[N_ROW][N_VOCAB]) {
    static float self[1 << 15], cross[1 << 15];
    static const int32_t prompt[4] = {11, 12, 13, 14}, token[N_ROW] = {9, 8, 7, 6, 5, 4}, slot[N_ROW] = {0},
                         out[N_ROW] = {0, 1, 2, 3, 4, 5}, len[1] = {4};
    const weir_decoder_config *c = &k->decoder;
    const bool t5 = k->t5.dim > 0;
    weir_model *m = NULL;
    weir_err err = {""};
    int32_t pos[N_ROW];
    weir_kv kv = {.cross_len = len};
    kv.self = t5 ? view_of(self, 1 << 15, k->t5.n_dec_layer, k->t5.n_head, k->t5.head_dim)
                 : view_of(self, 1 << 15, c->n_layer, c->n_head_kv, c->head_dim);
    if (t5) kv.cross = view_of(cross, 1 << 15, k->t5.n_dec_layer, k->t5.n_head, k->t5.head_dim);
    cr_assert_eq(k->kind->create(&m, be, k, src, &err), WEIR_OK, "%s", err.text);
    cr_assert_eq(weir__model_prefill(m, &kv, 0, prompt, 4), WEIR_OK);
    for (int32_t i = 0; i < N_ROW; i++) pos[i] = (t5 ? 0 : 4) + i;
    for (int32_t i = 0; i < N_ROW; i += step) {
        const weir_batch b = {.token = token + i,
                              .pos = pos + i,
                              .slot = slot,
                              .n_row = step,
                              .out = out,
                              .n_out = step,
                              .logits = logits[i]};
        cr_assert_eq(weir__model_forward(m, &kv, &b), WEIR_OK);
    }
    weir__model_free(m);
}

static double worst_of(float a[N_ROW][N_VOCAB], float b[N_ROW][N_VOCAB]) {
    double worst = 0;
    for (int r = 0; r < N_ROW; r++)
        for (int v = 0; v < N_VOCAB; v++) {
            const double d = fabs((double)a[r][v] - (double)b[r][v]);
            worst = !(d <= worst) ? d : worst;
        }
    return worst;
}

/* The portable build sums in double. What another order of inputs moves is the last bit of the f32 partial
 * sums of o and down (segments.h), about 1e-6 of logits of size 1 to 10 after three layers. A wrong order
 * moves them by their own size. */
static void check_same(fake *k, const char *what) {
    static float want[N_ROW][N_VOCAB], got[N_ROW][N_VOCAB], rows[N_ROW][N_VOCAB];
    weir_backend *be = fake_backend(2);
    const weir_tensor_source natural = fake_source(k);
    run(k, be, &natural, N_ROW, want);
    for (int each = 0; each < 2; each++) {
        shuffled s = shuffled_of(k);
        s.each = each;
        const weir_tensor_source src = source_of(&s);
        run(k, be, &src, N_ROW, got);
        cr_expect(worst_of(got, want) <= 1e-4, "%s, %d: %g", what, each, worst_of(got, want));
        forget(&s);
        run(k, be, &src, 1, rows);
        cr_expect(memcmp(rows, got, sizeof got) == 0, "%s, %d: rows depend on their neighbours", what, each);
        forget(&s);
        s.silent = true;
        run(k, be, &src, N_ROW, got);
        cr_expect(worst_of(got, want) > 1e-2, "%s, %d: %g", what, each, worst_of(got, want));
        forget(&s);
    }
    weir__backend_close(be);
    fake_free(k);
}

Test(order, a_model_is_the_same_in_any_order_of_inputs) {
    weir_decoder_config fused = plain, after = plain;
    const weir_decoder_config tied = gemma(), mixed = mixture();
    const weir_t5_config t5 = {.dim = 24,
                               .head_dim = 5,
                               .n_head = 3,
                               .ff_dim = 40,
                               .n_enc_layer = 2,
                               .n_dec_layer = 2,
                               .n_vocab_rows = N_VOCAB,
                               .n_bucket = 8,
                               .max_distance = 20,
                               .eps = 1e-6f,
                               .act = WEIR_ACT_GELU_TANH,
                               .gated = true};
    fused.qkv_bias = fused.qk_norm = false, fused.fused = true;
    after.qkv_bias = false, after.qk_norm_whole = after.post_norms = after.no_pre_norms = true;
    check_same(fake_decoder(&plain, WEIR_DTYPE_F32), "plain");
    check_same(fake_decoder(&tied, WEIR_DTYPE_F32), "a tied head");
    check_same(fake_decoder(&fused, WEIR_DTYPE_F32), "fused");
    check_same(fake_decoder(&after, WEIR_DTYPE_F32), "no norm before");
    check_same(fake_decoder(&mixed, WEIR_DTYPE_F32), "router and shared expert");
    check_same(fake_t5(&t5, WEIR_DTYPE_F32), "encoder and decoder");
}

/* ---- its room ------------------------------------------------------------------------------------------ */

static weir_model_facts facts_of(const weir_decoder_config *c, const weir_tensor_source *src,
                                 weir_place place) {
    weir_model_facts f;
    weir_err err = {""};
    cr_assert_eq(weir__decoder_measure(c, src, place, &f, &err), WEIR_OK, "%s", err.text);
    return f;
}

/* An order is stored once for matrices that are one product: q, k and v; gate and up. */
Test(order, the_plan_counts_each_order_once_and_the_room_of_the_widest) {
    weir_decoder_config c = plain;
    c.ff_dim = 12; /* the last matrix of a layer is not the widest */
    fake *k = fake_decoder(&c, WEIR_DTYPE_F32);
    shuffled s = shuffled_of(k);
    const weir_tensor_source natural = fake_source(k), src = source_of(&s);
    const weir_place place = {0};
    const weir_model_facts f = facts_of(&c, &natural, place), one = facts_of(&c, &src, place);
    s.each = true;
    const weir_model_facts own = facts_of(&c, &src, place);
    /* rows of 24, 30 and 12 inputs take 32, 32 and 16 words */
    cr_expect_eq(one.weight_bytes - f.weight_bytes, 4 * (3 * (32 + 32 + 32 + 16) + 32));
    cr_expect_eq(own.weight_bytes - f.weight_bytes, 4 * (3 * (3 * 32 + 32 + 2 * 32 + 16) + 32));
    cr_expect(f.ordered == 0 && one.ordered == 30 && own.ordered == 30);
    cr_expect(own.n_param == f.n_param && own.decode_bytes == f.decode_bytes);
    weir_backend *be = fake_backend(1);
    const size_t before = weir__decoder_scratch_bytes(&c, be, &f, place, 17, 100).backend,
                 after = weir__decoder_scratch_bytes(&c, be, &one, place, 17, 100).backend;
    const int64_t rows = be->chunk > 17 ? be->chunk : 17, floats = 30 * rows;
    cr_expect_eq(after - before, (size_t)((4 * floats + 255) / 256 * 256 + 256), "%zu", after - before);
    weir__backend_close(be);
    forget(&s), fake_free(k);
}

/* ---- refused ------------------------------------------------------------------------------------------- */

static void check_refused(const weir_decoder_config *c, const char *only, weir_place place,
                          const char *about) {
    fake *k = fake_decoder(c, WEIR_DTYPE_F32);
    shuffled s = shuffled_of(k);
    const weir_tensor_source src = source_of(&s);
    weir_model_facts f;
    weir_err err = {""};
    s.only = only;
    const weir_status st = weir__decoder_measure(c, &src, place, &f, &err);
    cr_expect_eq(st, about ? WEIR_ENOTSUP : WEIR_OK, "%s: %s", only, err.text);
    cr_expect(!about || err_is_line(&err, about), "want \"%s\", got: %s", about, err.text);
    forget(&s), fake_free(k);
}

Test(order, products_that_cannot_have_it_are_refused_before_a_byte_is_loaded) {
    const weir_decoder_config tied = gemma(), mixed = mixture();
    const weir_place alone = {0}, shared = {.rank = 1, .n_rank = 2},
                     whole = {.whole_body = true, .rank = 1, .n_rank = 2};
    check_refused(&plain, "embed_tokens", alone, "tensor model.embed_tokens.weight: its inputs are in act-");
    check_refused(&tied, "embed_tokens", alone, "is not supported of a table that is looked up");
    check_refused(&plain, "lm_head", alone, NULL);
    check_refused(&mixed, "experts.2.up_proj", alone, "mlp.experts.2.up_proj.weight: its inputs are in act-");
    check_refused(&mixed, "experts.0.down_proj", alone, "is not supported of experts");
    check_refused(&mixed, "shared_expert.", alone, NULL);
    check_refused(&plain, "1.self_attn.o_proj", shared,
                  "layers.1.self_attn.o_proj.weight: its inputs are in ");
    check_refused(&plain, "down_proj", shared,
                  "which -tp cannot share out: run it without, a drafter with --draft-tp 1");
    check_refused(&mixed, "shared_expert.down_proj", shared, "-tp cannot share out");
    check_refused(&plain, "q_proj", shared, NULL);
    check_refused(&plain, "_proj", whole, NULL);
}
