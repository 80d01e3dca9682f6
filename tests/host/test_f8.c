/* Directories whose matrices are 8-bit floats with scales: the same bits as their values in f32, or in bf16
 * where blocks of fp8 cannot hold them. The matrices of the demo's drafter, rounded, once in either form. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/formats/checkpoint.h"
#include "host/formats/safetensors/safetensors.h"
#include "tests/host/pairs/pair_fixture.h"
#include "tests/support/alloc.h"
#include "tests/support/costs.h"
#include "tests/support/files.h"
#include "tests/support/safetensors_write.h"

#define DEMO WEIR_SOURCE_DIR "/models/demo/drafter"

/* ---- a directory --------------------------------------------------------------------------------------- */

typedef enum scale_kind { ONE, ONE_IN_A_VECTOR, A_ROW, A_BLOCK, WIDE_BLOCK } scale_kind;

typedef struct written {
    scale_kind kind;
    const char *values;    /* not codes but values, "F32" or "BF16" */
    const char *config;    /* quantization_config */
    const char *no_scale;  /* a matrix that gets none */
    const char *bad_scale; /* a matrix whose scale has a row too many */
    const char *type;      /* of the matrices; NULL: F8_E4M3 */
} written;

/* What a code means (arXiv 2209.05433, table 1). */
static double meaning(int code) {
    const int e = code >> 3 & 15, m = code & 7;
    const double size = e ? ldexp(1 + m / 8.0, e - 7) : ldexp(m / 8.0, -6);
    return (code & 127) == 127 ? NAN : code & 128 ? -size : size;
}

static int nearest(double v) {
    static double of[256]; /* meanings, which cost more than the search */
    int best = 0;
    for (int code = 0; of[1] == 0 && code < 256; code++) of[255 - code] = meaning(255 - code);
    for (int code = 1; code < 256; code++)
        if (fabs(of[code] - v) < fabs(of[best] - v)) best = code;
    return best;
}

/* Of rows and columns that share a scale: what differs is what a reader could mistake. */
static int block_cols(scale_kind kind) { return kind == WIDE_BLOCK ? 64 : 16; }

static float scale_at(scale_kind kind, int64_t r, int64_t c) {
    const bool block = kind == A_BLOCK || kind == WIDE_BLOCK;
    const int64_t i = kind == A_ROW ? r : block ? 3 * (r / 32) + c / block_cols(kind) : 0;
    return (1.0f + (float)(i % 7) / 8) * 0x1p-9f;
}

static void put_scale(st_blob *b, const written *w, const char *name, int64_t rows, int64_t cols) {
    char scale[160];
    float value[4096];
    int64_t shape[2] = {rows + (w->bad_scale && strcmp(w->bad_scale, name) == 0), 1};
    const int n_dim = w->kind == ONE ? 0 : w->kind == ONE_IN_A_VECTOR ? 1 : 2, each = block_cols(w->kind);
    const bool block = w->kind == A_BLOCK || w->kind == WIDE_BLOCK;
    if (w->no_scale && strcmp(w->no_scale, name) == 0) return;
    if (n_dim < 2) shape[0] -= rows - 1;
    if (block) shape[0] = (shape[0] + 31) / 32, shape[1] = (cols + each - 1) / each;
    const int64_t n = n_dim ? shape[0] * shape[1] : 1;
    cr_assert_leq(n, 4096);
    for (int64_t i = 0; i < n; i++)
        value[i] =
            block ? scale_at(w->kind, i / shape[1] * 32, i % shape[1] * each) : scale_at(w->kind, i, 0);
    snprintf(scale, sizeof scale, "%s%s", name, block ? "_scale_inv" : "_scale");
    st_put(b, scale, "F32", shape, n_dim, value, (size_t)n * 4);
}

static void put_matrix(st_blob *b, const written *w, const weir_entry *e) {
    weir_tensor t;
    cr_assert(weir__entry_tensor(e, &t));
    uint8_t *code = malloc((size_t)(t.rows * t.cols));
    uint16_t *value = malloc((size_t)(t.rows * t.cols) * 2);
    float *wide = malloc((size_t)(t.rows * t.cols) * sizeof *wide);
    const size_t n = (size_t)(t.rows * t.cols);
    for (int64_t i = 0; i < t.rows * t.cols; i++) {
        const float scale = scale_at(w->kind, i / t.cols, i % t.cols);
        code[i] = (uint8_t)nearest((double)(weir_tensor_get(&t, i / t.cols, i % t.cols) / scale));
        wide[i] = (float)meaning(code[i]) * scale;
        value[i] = weir_bf16_from_f32(wide[i]);
    }
    const bool f32 = w->values && strcmp(w->values, "F32") == 0;
    if (w->values) {
        st_put(b, e->name, w->values, e->shape, 2, f32 ? (void *)wide : value, n * (f32 ? 4 : 2));
    } else {
        st_put(b, e->name, w->type ? w->type : "F8_E4M3", e->shape, 2, code, n);
        put_scale(b, w, e->name, t.rows, t.cols);
    }
    free(code), free(value), free(wide);
}

static bool is_rounded(const char *name) {
    return strstr(name, "Attention.") ? !strstr(name, "bias") : strstr(name, "DenseReluDense") != NULL;
}

static void put_config(const char *dir, const written *w) {
    size_t n;
    char *text = (char *)files_read(DEMO "/config.json", &n), *with = malloc(n + 1024);
    const int m = snprintf(with, n + 1024, "{%s%s%s%s", w->config ? "\"quantization_config\":" : "",
                           w->config ? w->config : "", w->config ? "," : "", strchr(text, '{') + 1);
    files_write(dir, "config.json", with, (size_t)m);
    free(text), free(with);
}

static char *write_dir(const written *w) {
    static const char *const same[] = {"generation_config.json", "tokenizer_config.json", "spiece.model"};
    char *dir = files_temp_dir(), path[256];
    st_blob *b = calloc(1, sizeof *b);
    weir_safetensors *s = NULL;
    weir_err err = {""};
    cr_assert_eq(weir__safetensors_open_dir(&s, DEMO, &err), WEIR_OK, "%s", err.text);
    for (size_t i = 0; i < weir__safetensors_count(s); i++) {
        weir_entry e;
        weir__safetensors_at(s, i, &e);
        if (is_rounded(e.name))
            put_matrix(b, w, &e);
        else
            st_put(b, e.name, e.type, e.shape, e.n_dim, e.data, e.bytes);
    }
    st_write(b, dir, "model.safetensors");
    put_config(dir, w);
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        size_t n;
        snprintf(path, sizeof path, "%s/%s", DEMO, same[i]);
        uint8_t *bytes = files_read(path, &n);
        files_write(dir, same[i], bytes, n);
        free(bytes);
    }
    weir__safetensors_close(s);
    free(b);
    return dir;
}

/* ---- the same bits ------------------------------------------------------------------------------------- */

#define COMPRESSED "{\"quant_method\":\"compressed-tensors\","
#define GROUP(weights)                                                                                \
    COMPRESSED "\"format\":\"float-quantized\",\"config_groups\":{\"group_0\":{\"weights\":{" weights \
               "},\"input_activations\":{\"dynamic\":true},\"targets\":[\"Linear\"]}}}"

static const written FORMS[] = {
    {.kind = ONE, .config = "{\"quant_method\":\"fp8\",\"activation_scheme\":\"static\"}"},
    {.kind = ONE_IN_A_VECTOR, .config = GROUP("\"num_bits\":8,\"type\":\"float\",\"strategy\":\"tensor\"")},
    {.kind = A_ROW, .config = GROUP("\"num_bits\":8,\"type\":\"float\",\"strategy\":\"channel\"")},
    {.kind = WIDE_BLOCK, .config = "{\"quant_method\":\"fp8\",\"weight_block_size\":[32,64]}"},
    {.kind = A_BLOCK, .config = "{\"quant_method\":\"fp8\",\"fmt\":\"e4m3\",\"weight_block_size\":[32,16]}"},
};
enum { N_FORM = sizeof FORMS / sizeof *FORMS };

static weir_engine *open_dir(const char *dir, int n_rank) {
    weir_engine_options o = weir_engine_options_default();
    weir_engine *e = NULL;
    weir_err err = {""};
    o.costs = TEST_COSTS;
    o.model = dir;
    o.device = "cpu";
    o.n_thread = 1;
    /* of those that round no row to bf16: there the last bit of a sum may become 2^-9 of an input */
    o.isa = weir__isa_best() >= WEIR_ISA_AVX2 ? "avx2" : "portable";
    o.tp = n_rank;
    cr_assert_eq(weir_engine_open(&e, &o, &err), WEIR_OK, "%s", err.text);
    return e;
}

/* Blocks of 64 move the ends of segments (kernels/weight/segments.h), which floats have every 32 inputs here:
 * the same numbers in another order of sums. Had they been rounded to bf16, log-probabilities would move by
 * 2^-9 of their logits. */
static void assert_close(const answer *want, const answer *got) {
    cr_assert(want->n == got->n && memcmp(want->ids, got->ids, want->n * sizeof *want->ids) == 0);
    for (size_t i = 0; i < want->n; i++)
        cr_expect(fabsf(want->logprobs[i] - got->logprobs[i]) < 1e-4f, "%zu: %g, %g", i,
                  (double)want->logprobs[i], (double)got->logprobs[i]);
}

/* Rows of 64 and 192 inputs. */
Test(f8, a_model_of_8_bit_floats_writes_what_its_values_write) {
    static answer want, got;
    for (int i = 0; i < N_FORM; i++) {
        written plain = FORMS[i];
        const bool fp8 = plain.kind != A_BLOCK;
        plain.values = fp8 ? "F32" : "BF16", plain.config = NULL;
        char *f8 = write_dir(&FORMS[i]), *values = write_dir(&plain);
        /* each of two ranks makes the elements for itself */
        const int n_rank = i >= N_FORM - 2 ? 2 : 1;
        weir_engine *a = open_dir(values, 1), *b = open_dir(f8, n_rank);
        weir_engine_facts has, is;
        weir_engine_get_facts(a, &has), weir_engine_get_facts(b, &is);
        /* a code of a byte and a 64th of a scale of four, for an f32; bf16 for bf16 */
        const size_t elements = 176128, saved = fp8 ? elements * 4 - elements / 64 * 68 : 0;
        cr_expect(n_rank > 1 || has.weights[0] - is.weights[0] == saved, "form %d: %zu, %zu bytes", i,
                  is.weights[0], has.weights[0]);
        weir_session_options o = method_options(WEIR_METHOD_VERIFIER, 24);
        o.seed = 3;
        answer_run(a, &o, demo_prompts[i], &want);
        answer_run(b, &o, demo_prompts[i], &got);
        if (fp8)
            assert_close(&want, &got);
        else
            answer_assert_same(&want, &got, "8 bits");
        weir_engine_close(a), weir_engine_close(b);
        files_remove_dir(f8), files_remove_dir(values);
    }
}

/* All codes, NaN among them, through the source that a model loads from. */
Test(f8, every_code_is_its_value_times_its_scale) {
    static const char header[] =
        "{\"model_type\":\"t5\",\"architectures\":[\"T5ForConditionalGeneration\"],\"d_model\":16,"
        "\"vocab_size\":16,\"num_layers\":1,\"d_kv\":4,\"num_heads\":1,\"d_ff\":8}";
    char *dir = files_temp_dir();
    st_blob *b = calloc(1, sizeof *b);
    uint8_t code[256];
    const float scale = 0.3f;
    weir_checkpoint c;
    weir_err err = {""};
    for (int i = 0; i < 256; i++) code[i] = (uint8_t)i;
    st_put(b, "shared.weight", "F8_E4M3", (int64_t[]){16, 16}, 2, code, sizeof code);
    st_put(b, "shared.weight_scale", "F32", NULL, 0, &scale, sizeof scale);
    st_write(b, dir, "model.safetensors");
    files_write(dir, "config.json", header, sizeof header - 1);
    cr_assert_eq(weir__checkpoint_open(&c, dir, false, &err), WEIR_OK, "%s", err.text);
    const weir_tensor_source s = weir__checkpoint_source(&c);
    weir_tensor t;
    cr_assert(s.find(s.ud, "shared.weight", &t) && t.dtype == WEIR_DTYPE_BF16 && t.data == NULL &&
              t.rows == 16);
    for (int round = 0; round < 2; round++) {
        const uint16_t *v = s.data(s.ud, "shared.weight");
        cr_assert(v);
        for (int i = 0; i < 256; i++) {
            const float got = weir_f32_from_bf16(v[i]), want = (float)meaning(i) * scale;
            cr_assert(isnan(want) ? isnan(got) : v[i] == weir_bf16_from_f32(want), "code %d: %a", i,
                      (double)got);
        }
        s.release(s.ud, "shared.weight");
    }
    for (long fail = 1; fail <= 2; fail++) { /* the list's node, the elements */
        alloc_install(fail);
        cr_assert_null(s.data(s.ud, "shared.weight"));
        s.release(s.ud, "shared.weight");
        cr_assert_eq(alloc_live(), 0);
        alloc_uninstall();
    }
    cr_assert_null(s.data(s.ud, "lm_head.weight"), "there is none");
    weir__checkpoint_close(&c);
    free(b);
    files_remove_dir(dir);
}

/* The same where rows are whole blocks of 64: values to the bit, and a NaN makes its block NaN. */
Test(f8, codes_and_scales_are_kept_in_blocks) {
    static const char header[] =
        "{\"model_type\":\"t5\",\"architectures\":[\"T5ForConditionalGeneration\"],\"d_model\":64,"
        "\"vocab_size\":4,\"num_layers\":1,\"d_kv\":4,\"num_heads\":1,\"d_ff\":8}";
    static const float scale[4] = {0.3f, 0x1.fp-9f, 1e-5f, 7.0f};
    char *dir = files_temp_dir();
    st_blob *b = calloc(1, sizeof *b);
    uint8_t code[256];
    weir_checkpoint c;
    weir_err err = {""};
    for (int i = 0; i < 256; i++) code[i] = (uint8_t)i;
    st_put(b, "shared.weight", "F8_E4M3", (int64_t[]){4, 64}, 2, code, sizeof code);
    st_put(b, "shared.weight_scale", "F32", (int64_t[]){4, 1}, 2, scale, sizeof scale);
    st_write(b, dir, "model.safetensors");
    files_write(dir, "config.json", header, sizeof header - 1);
    cr_assert_eq(weir__checkpoint_open(&c, dir, false, &err), WEIR_OK, "%s", err.text);
    cr_expect_eq(c.dtype, WEIR_DTYPE_FP8);
    const weir_tensor_source s = weir__checkpoint_source(&c);
    weir_tensor t;
    cr_assert(s.find(s.ud, "shared.weight", &t) && t.dtype == WEIR_DTYPE_FP8 && t.data == NULL);
    t.data = s.data(s.ud, "shared.weight");
    cr_assert(t.data);
    for (int i = 0; i < 256; i++) {
        const float got = weir_tensor_get(&t, i / 64, i % 64), want = (float)meaning(i) * scale[i / 64];
        cr_expect(i / 64 % 2 ? isnan(got) : got == want, "code %d: %a, want %a", i, (double)got,
                  (double)want);
    }
    s.release(s.ud, "shared.weight");
    weir__checkpoint_close(&c);
    free(b);
    files_remove_dir(dir);
}

/* ---- refused ------------------------------------------------------------------------------------------- */

#define Q "encoder.block.0.layer.0.SelfAttention.q.weight"

Test(f8, what_is_no_8_bit_float_or_has_no_scale_is_refused) {
    static const struct {
        written w;
        weir_status want;
        const char *about;
    } bad[] = {
        {{.kind = A_ROW, .no_scale = Q}, WEIR_EFORMAT, "tensor " Q ": F8_E4M3 without a scale"},
        {{.kind = A_ROW, .bad_scale = Q}, WEIR_EFORMAT, "tensor " Q "_scale: F32 (65, 1) in 2 dimensions"},
        {{.kind = A_BLOCK, .bad_scale = Q}, WEIR_EFORMAT, "does not fit a matrix (64, 64)"},
        {{.kind = A_BLOCK}, WEIR_EFORMAT, "one, one a row, or one for 128 x 128"},
        {{.kind = ONE, .type = "F8_E5M2"}, WEIR_ENOTSUP, "the weights are quantised"},
        {{.kind = ONE, .type = "I8"}, WEIR_ENOTSUP, "the weights are quantised"},
        {{.kind = ONE, .config = "{\"quant_method\":\"hqq\",\"bits\":4}"}, WEIR_ENOTSUP, "by hqq, 4 bits"},
        {{.kind = ONE, .config = "{\"quant_method\":\"fp8\",\"fmt\":\"e5m2\"}"},
         WEIR_ENOTSUP,
         "quantization_config.fmt = \"e5m2\""},
        {{.kind = ONE, .config = "{\"quant_method\":\"fp8\",\"weight_block_size\":[128]}"},
         WEIR_EFORMAT,
         "quantization_config.weight_block_size"},
        {{.kind = ONE, .config = "{\"quant_method\":\"fp8\",\"weight_block_size\":[0,128]}"},
         WEIR_EFORMAT,
         "expected two sizes of a block"},
        {{.kind = ONE, .config = "{\"quant_method\":\"compressed-tensors\",\"format\":\"int-quantized\"}"},
         WEIR_ENOTSUP,
         "quantization_config.format = \"int-quantized\""},
        {{.kind = ONE,
          .config = "{\"quant_method\":\"compressed-tensors\",\"sparsity_config\":{\"format\":\"sparse\"}}"},
         WEIR_ENOTSUP,
         "sparsity_config.format"},
        {{.kind = ONE, .config = "{\"quant_method\":\"compressed-tensors\",\"kv_cache_scheme\":{\"a\":1}}"},
         WEIR_ENOTSUP,
         "kv_cache_scheme"},
        {{.kind = ONE, .config = GROUP("\"num_bits\":4,\"type\":\"float\"")},
         WEIR_ENOTSUP,
         "weights.num_bits = 4"},
        {{.kind = ONE, .config = GROUP("\"num_bits\":8,\"type\":\"int\"")},
         WEIR_ENOTSUP,
         "weights.type = \"int\""},
        {{.kind = ONE, .config = GROUP("\"num_bits\":8,\"type\":\"float\",\"strategy\":\"group\"")},
         WEIR_ENOTSUP,
         "weights.strategy = \"group\""},
        {{.kind = ONE, .config = GROUP("\"type\":\"float\",\"symmetric\":false")}, WEIR_ENOTSUP, "symmetric"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char *dir = write_dir(&bad[i].w);
        weir_checkpoint c;
        weir_err err = {""};
        cr_expect_eq(weir__checkpoint_open(&c, dir, false, &err), bad[i].want, "%s: %s", bad[i].about,
                     err.text);
        cr_expect(err_is_line(&err, bad[i].about), "want \"%s\", got: %s", bad[i].about, err.text);
        files_remove_dir(dir);
    }
}
