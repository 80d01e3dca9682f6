/* Matrices of 4-bit codes in groups: their blocks are the elements that the files mean, models of them score
 * what transformers scores with the dequantised weights (tests/golden/make_int4.py), and what does not fit is
 * refused. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/formats/checkpoint.h"
#include "host/formats/safetensors/int4.h"
#include "kernels/base/isa.h"
#include "kernels/base/mem.h"
#include "tests/host/int4_golden.h"
#include "tests/support/alloc.h"
#include "tests/support/compare.h"
#include "tests/support/files.h"
#include "tests/support/safetensors_write.h"

/* ---- a file with one matrix, "a" ----------------------------------------------------------------------- */

enum { MOST_ROWS = 72, MOST_COLS = 256, MOST_GROUPS = 8 };

typedef struct case_ {
    weir_int4 c;
    int64_t rows, cols;
    bool bf16, symmetric, no_zeros;
    bool large;   /* scales past the largest of f16 */
    bool almost;  /* the first eight zeros are 8 */
    bool ordered; /* inputs are in groups at random */
} case_;

typedef struct made {
    int64_t n_group, group;
    uint8_t code[MOST_ROWS][MOST_COLS], zero[MOST_ROWS][MOST_GROUPS];
    uint16_t scale[MOST_ROWS][MOST_GROUPS];
    int32_t index[MOST_COLS], order[MOST_COLS]; /* the group of each input, and the inputs sorted by it */
} made;

/* Groups of the natural sizes, dealt out at random. */
static void fill_index(const case_ *k, made *m, uint64_t *rng) {
    int64_t n = 0;
    for (int64_t c = 0; c < k->cols; c++) m->index[c] = (int32_t)(c / m->group);
    for (int64_t c = k->cols - 1; k->ordered && c > 0; c--) {
        const int64_t other = (int64_t)(rng_u64(rng) % (uint64_t)(c + 1));
        const int32_t g = m->index[c];
        m->index[c] = m->index[other], m->index[other] = g;
    }
    for (int32_t g = 0; g < m->n_group; g++)
        for (int64_t c = 0; c < k->cols; c++)
            if (m->index[c] == g) m->order[n++] = (int32_t)c;
}

static void fill(const case_ *k, made *m, uint64_t *rng) {
    m->group = k->c.group > 0 ? k->c.group : k->cols;
    m->n_group = (k->cols + m->group - 1) / m->group;
    cr_assert(k->rows <= MOST_ROWS && k->cols <= MOST_COLS && m->n_group <= MOST_GROUPS);
    fill_index(k, m, rng);
    for (int64_t r = 0; r < k->rows; r++) {
        for (int64_t c = 0; c < k->cols; c++) m->code[r][c] = (uint8_t)(rng_u64(rng) >> 60);
        for (int64_t g = 0; g < m->n_group; g++) {
            m->zero[r][g] =
                k->symmetric || (k->almost && r < 8 && g == 0) ? 8 : (uint8_t)(rng_u64(rng) >> 60);
            const uint32_t u = (uint32_t)(rng_u64(rng) >> 40);
            m->scale[r][g] = (uint16_t)((u & 0x83ffu) | 0x1c00u); /* about 2^-8 */
            if (k->bf16) m->scale[r][g] = (uint16_t)((u & 0x80ffu) | (k->large ? 0x4780u : 0x3b80u));
        }
    }
}

static float value(const case_ *k, const made *m, int64_t r, int64_t c) {
    const int32_t g = m->index[c];
    const float s = k->bf16 ? weir_f32_from_bf16(m->scale[r][g]) : weir_f32_from_f16(m->scale[r][g]);
    return s * (float)(m->code[r][c] - m->zero[r][g]);
}

static void nibble(uint32_t *word, int64_t i, unsigned v) { word[i / 8] |= v << (4 * (i % 8)); }

/* Where output r of eight is in a word of awq. */
static int64_t awq_at(int64_t r) { return r / 8 * 8 + (r % 2 ? 4 + r % 8 / 2 : r % 8 / 2); }

static void put_words(st_blob *b, const char *name, int64_t rows, int64_t cols, const uint32_t *word) {
    st_put(b, name, "I32", (int64_t[]){rows, cols}, 2, word, (size_t)(rows * cols) * 4);
}

static void put_codes(st_blob *b, const case_ *k, const made *m) {
    static uint32_t word[MOST_ROWS * MOST_COLS / 8];
    const bool packed = k->c.form == WEIR_INT4_PACKED, awq = k->c.form == WEIR_INT4_AWQ;
    memset(word, 0, sizeof word);
    for (int64_t r = 0; r < k->rows; r++) {
        for (int64_t c = 0; c < k->cols; c++) {
            if (packed)
                nibble(word + r * (k->cols / 8), c, m->code[r][c]);
            else if (awq)
                nibble(word + c * (k->rows / 8), awq_at(r), m->code[r][c]);
            else
                word[c / 8 * k->rows + r] |= (uint32_t)m->code[r][c] << (4 * (c % 8));
        }
    }
    if (packed)
        put_words(b, "a.weight_packed", k->rows, k->cols / 8, word);
    else if (awq)
        put_words(b, "a.qweight", k->cols, k->rows / 8, word);
    else
        put_words(b, "a.qweight", k->cols / 8, k->rows, word);
}

static void put_zeros(st_blob *b, const case_ *k, const made *m) {
    uint32_t word[MOST_ROWS * MOST_GROUPS] = {0};
    const bool packed = k->c.form == WEIR_INT4_PACKED;
    const int64_t n = (k->rows + 7) / 8;
    if (k->no_zeros) return;
    for (int64_t r = 0; r < k->rows; r++) {
        for (int64_t g = 0; g < m->n_group; g++) {
            if (packed)
                word[r / 8 * m->n_group + g] |= (uint32_t)m->zero[r][g] << (4 * (r % 8));
            else
                nibble(word + g * n, k->c.form == WEIR_INT4_AWQ ? awq_at(r) : r, m->zero[r][g]);
        }
    }
    for (int64_t i = 0; i < n * m->n_group && k->c.form == WEIR_INT4_GPTQ; i++) word[i] -= 0x11111111u;
    if (packed)
        put_words(b, "a.weight_zero_point", n, m->n_group, word);
    else
        put_words(b, "a.qzeros", m->n_group, n, word);
}

static void put_rest(st_blob *b, const case_ *k, const made *m) {
    uint16_t scale[MOST_ROWS * MOST_GROUPS];
    const bool packed = k->c.form == WEIR_INT4_PACKED, awq = k->c.form == WEIR_INT4_AWQ;
    for (int64_t r = 0; r < k->rows; r++)
        for (int64_t g = 0; g < m->n_group; g++)
            scale[packed ? r * m->n_group + g : g * k->rows + r] = m->scale[r][g];
    const int64_t shape[2] = {packed ? k->rows : m->n_group, packed ? m->n_group : k->rows};
    st_put(b, packed ? "a.weight_scale" : "a.scales", k->bf16 ? "BF16" : "F16", shape, 2, scale,
           (size_t)(k->rows * m->n_group) * 2);
    if (packed) st_put(b, "a.weight_shape", "I64", (int64_t[]){2}, 1, (int64_t[]){k->rows, k->cols}, 16);
    if (packed ? k->ordered : !awq)
        st_put(b, packed ? "a.weight_g_idx" : "a.g_idx", "I32", &k->cols, 1, m->index, (size_t)k->cols * 4);
}

typedef struct file {
    weir_safetensors *s;
    uint8_t *bytes;
    weir_entry codes;
} file;

static file open_blob(st_blob *b, weir_int4 c) {
    file f = {0};
    size_t n;
    weir_err err = {""};
    f.bytes = st_bytes(b, &n);
    cr_assert_eq(weir__safetensors_open_bytes(&f.s, f.bytes, n, "made", &err), WEIR_OK, "%s", err.text);
    cr_assert(weir__int4_find(f.s, c, "a.weight", &f.codes) && weir__is_int4(c, &f.codes));
    return f;
}

static void close_file(file *f) {
    weir__safetensors_close(f->s);
    free(f->bytes);
}

/* ---- elements ------------------------------------------------------------------------------------------ */

static void check_elements(const case_ *k, weir_dtype dtype, uint64_t *rng) {
    static made m;
    st_blob *b = calloc(1, sizeof *b);
    weir_tensor t;
    int32_t *order;
    weir_err err = {""};
    fill(k, &m, rng);
    put_codes(b, k, &m), put_zeros(b, k, &m), put_rest(b, k, &m);
    file f = open_blob(b, k->c);
    cr_assert_eq(weir__int4_check(f.s, k->c, &f.codes, "made", &order, &err), WEIR_OK, "%s", err.text);
    cr_assert(weir__int4_tensor(f.s, k->c, &f.codes, order, &t));
    cr_assert(t.rows == k->rows && t.cols == k->cols && t.n_outer == 0 && t.data == NULL);
    cr_assert_eq(t.dtype, dtype, "form %d: %s", (int)k->c.form, weir_dtype_name(t.dtype));
    cr_assert(order ? k->ordered && memcmp(order, m.order, (size_t)k->cols * sizeof *order) == 0
                    : !k->ordered || m.n_group == 1);
    cr_assert_eq(t.order, order);
    void *data = weir__int4_pack(f.s, k->c, &f.codes, order);
    cr_assert(data);
    t.data = data;
    for (int64_t r = 0; r < k->rows; r++) {
        for (int64_t c = 0; c < k->cols; c++) {
            const float want = value(k, &m, r, order ? order[c] : c);
            cr_assert_eq(weir_tensor_get(&t, r, c), want, "form %d (%ld, %ld): %a, want %a", (int)k->c.form,
                         (long)r, (long)c, (double)weir_tensor_get(&t, r, c), (double)want);
        }
    }
    weir_free(order);
    weir_free(data);
    close_file(&f);
    free(b);
}

Test(int4, blocks_are_the_elements_of_every_form) {
    uint64_t rng = 3;
    for (int form = WEIR_INT4_GPTQ; form <= WEIR_INT4_PACKED; form++) {
        static const int32_t groups[] = {32, 64, 96, 128, 0};
        for (size_t g = 0; g < sizeof groups / sizeof *groups; g++) {
            for (int i = 0; i < 4; i++) {
                /* 72 outputs are more than a tile; 96 do not divide 256, so the last group is short */
                const case_ k = {.c = {(weir_int4_form)form, groups[g]},
                                 .rows = i % 2 ? 72 : 8,
                                 .cols = i < 2 ? 256 : 128,
                                 .bf16 = i % 3 == 1};
                case_ ordered = k;
                ordered.ordered = form != WEIR_INT4_AWQ;
                check_elements(&k, groups[g] % 128 ? WEIR_DTYPE_INT4 : WEIR_DTYPE_INT4_128, &rng);
                check_elements(&ordered, groups[g] % 128 ? WEIR_DTYPE_INT4 : WEIR_DTYPE_INT4_128, &rng);
            }
        }
    }
    /* groups of 128, but rows that are none */
    check_elements(&(case_){.c = {WEIR_INT4_AWQ, 128}, .rows = 8, .cols = 160}, WEIR_DTYPE_INT4, &rng);
    /* outputs that are not eights, of the only form that may have them */
    case_ odd = {.c = {WEIR_INT4_PACKED, 32}, .rows = 13, .cols = 64};
    check_elements(&odd, WEIR_DTYPE_INT4, &rng);
    odd.ordered = true;
    check_elements(&odd, WEIR_DTYPE_INT4, &rng);
}

Test(int4, zeros_of_8_are_a_q4_0_where_scales_are_numbers_of_f16) {
    uint64_t rng = 5;
    for (int form = WEIR_INT4_GPTQ; form <= WEIR_INT4_PACKED; form++) {
        case_ k = {.c = {(weir_int4_form)form, 32}, .rows = 24, .cols = 64, .symmetric = true};
        check_elements(&k, WEIR_DTYPE_Q4_0, &rng);
        k.bf16 = true;
        check_elements(&k, WEIR_DTYPE_Q4_0, &rng);
        k.large = true;
        check_elements(&k, WEIR_DTYPE_INT4, &rng);
        k = (case_){.c = k.c, .rows = 24, .cols = 64, .almost = true};
        check_elements(&k, WEIR_DTYPE_INT4, &rng);
        k = (case_){.c = {k.c.form, 128}, .rows = 24, .cols = 256, .symmetric = true, .bf16 = true};
        check_elements(&k, WEIR_DTYPE_INT4_128, &rng); /* fewer bytes */
    }
    const case_ none = {
        .c = {WEIR_INT4_PACKED, 0}, .rows = 21, .cols = 96, .symmetric = true, .no_zeros = true};
    check_elements(&none, WEIR_DTYPE_Q4_0, &rng);
}

Test(int4, mxfp4_is_its_own_blocks) {
    static const float size[8] = {0.0f, 0.5f, 1.0f, 1.5f, 2.0f, 3.0f, 4.0f, 6.0f};
    enum { ROWS = 70, COLS = 96 };
    static uint8_t code[ROWS][COLS / 2], exponent[ROWS][COLS / 32];
    const weir_int4 c = {WEIR_INT4_MXFP4, 32};
    st_blob *b = calloc(1, sizeof *b);
    weir_tensor t;
    int32_t *order;
    weir_err err = {""};
    uint64_t rng = 9;
    for (int i = 0; i < ROWS * COLS / 2; i++)
        code[i / (COLS / 2)][i % (COLS / 2)] = (uint8_t)(rng_u64(&rng) >> 56);
    for (int i = 0; i < ROWS * COLS / 32; i++)
        exponent[i / (COLS / 32)][i % (COLS / 32)] = (uint8_t)(100 + rng_u64(&rng) % 60);
    st_put(b, "a.weight_packed", "U8", (int64_t[]){ROWS, COLS / 2}, 2, code, sizeof code);
    st_put(b, "a.weight_scale", "U8", (int64_t[]){ROWS, COLS / 32}, 2, exponent, sizeof exponent);
    file f = open_blob(b, c);
    cr_assert_eq(weir__int4_check(f.s, c, &f.codes, "made", &order, &err), WEIR_OK, "%s", err.text);
    cr_assert(weir__int4_tensor(f.s, c, &f.codes, NULL, &t) && t.dtype == WEIR_DTYPE_MXFP4 && t.rows == ROWS);
    void *data = weir__int4_pack(f.s, c, &f.codes, NULL);
    cr_assert(data);
    t.data = data;
    for (int r = 0; r < ROWS; r++) {
        for (int k = 0; k < COLS; k++) {
            const int q = code[r][k / 2] >> (k % 2 * 4) & 15;
            const float want = ldexpf(q & 8 ? -size[q & 7] : size[q & 7], exponent[r][k / 32] - 127);
            cr_assert_eq(weir_tensor_get(&t, r, k), want, "(%d, %d)", r, k);
        }
    }
    weir_free(data);
    close_file(&f);
    free(b);
}

Test(int4, no_memory_for_blocks_is_no_blocks) {
    static made m;
    const case_ k = {.c = {WEIR_INT4_AWQ, 32}, .rows = 8, .cols = 32};
    st_blob *b = calloc(1, sizeof *b);
    uint64_t rng = 7;
    fill(&k, &m, &rng);
    put_codes(b, &k, &m), put_zeros(b, &k, &m), put_rest(b, &k, &m);
    file f = open_blob(b, k.c);
    for (int ordered = 0; ordered < 2; ordered++)
        for (long fail = 1; fail <= 1 + ordered; fail++) {
            alloc_install(fail);
            cr_assert_null(weir__int4_pack(f.s, k.c, &f.codes, ordered ? m.order : NULL));
            cr_assert_eq(alloc_live(), 0);
            alloc_uninstall();
        }
    close_file(&f);
    free(b);
}

/* ---- models -------------------------------------------------------------------------------------------- */

/* The portable build multiplies the elements as they are: f32's own differences, as in the golden test of
 * decoders. The others round inputs to bytes. */
static void check_scores(int i, weir_isa isa) {
    const int4_golden g = int4_golden_read(i);
    const double bound = isa == WEIR_ISA_PORTABLE ? 1e-4 : (double)g.bound;
    weir_engine *e = int4_open(i, "cpu", weir__isa_name(isa), 1);
    const double worst = int4_score_error(e, &g);
    printf("%-16s %-12s logprob error %.2e, bound %.1e\n", int4_models[i].name, weir__isa_name(isa), worst,
           bound);
    cr_expect(worst <= bound, "%s %s: %g, bound %g", int4_models[i].name, weir__isa_name(isa), worst, bound);
    weir_engine_close(e);
}

Test(int4, models_score_what_transformers_scores_with_their_dequantised_weights) {
    for (int i = 0; i < INT4_MODELS; i++)
        for (int isa = 0; isa <= (int)weir__isa_best(); isa++) check_scores(i, (weir_isa)isa);
}

Test(int4, a_model_says_which_form_its_file_has_and_in_which_it_is_computed) {
    for (int i = 0; i < INT4_MODELS; i++) {
        char dir[256];
        weir_checkpoint c;
        weir_err err = {""};
        int4_dir(dir, i);
        cr_assert_eq(weir__checkpoint_open(&c, dir, true, &err), WEIR_OK, "%s", err.text);
        cr_expect(strstr(c.family, int4_models[i].form), "%s", c.family);
        cr_expect_eq(c.dtype, int4_models[i].dtype, "%s: %s", int4_models[i].name, weir_dtype_name(c.dtype));
        weir__checkpoint_close(&c);
    }
}

Test(int4, two_ranks_score_the_same_bits) {
    float one[INT4_IDS - 1], two[INT4_IDS - 1];
    static const int models[] = {1, 2, 4, 7, 9};
    for (size_t m = 0; m < sizeof models / sizeof *models; m++) {
        const int i = models[m];
        char msg[256];
        const int4_golden g = int4_golden_read(i);
        weir_engine *a = int4_open(i, "cpu", NULL, 1), *b = int4_open(i, "cpu", NULL, 2);
        cr_assert_eq(weir_score(a, g.ids, 1, g.ids + 1, INT4_IDS - 1, one, NULL), WEIR_OK);
        cr_assert_eq(weir_score(b, g.ids, 1, g.ids + 1, INT4_IDS - 1, two, NULL), WEIR_OK);
        cr_expect(same_bits_f32(two, one, INT4_IDS - 1, msg, sizeof msg), "%s: %s", int4_models[i].name, msg);
        weir_engine_close(a), weir_engine_close(b);
    }
}

/* ---- refused: tensors ---------------------------------------------------------------------------------- */

/* A file of 8 outputs and 64 inputs in two groups; each is wrong in one place. */
typedef struct bad_part {
    const char *name, *type; /* of the tensor that is wrong; type NULL: it is missing */
    int64_t shape[3];
    int n_dim;
    weir_int4_form form;
    weir_status want;
    const char *about;
} bad_part;

static void put_part(st_blob *b, const bad_part *bad, const char *name, const char *type, int64_t rows,
                     int64_t cols) {
    static const int32_t zeros[4096], natural[64] = {[32] = 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
                                                     1,        1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    int64_t shape[3] = {rows, cols, 0};
    int n_dim = cols > 0 ? 2 : 1;
    if (strcmp(name, bad->name) == 0) {
        if (!bad->type) return;
        type = bad->type, n_dim = bad->n_dim;
        memcpy(shape, bad->shape, sizeof shape);
    }
    size_t bytes = type[1] == '3' ? 4 : type[1] == '6' ? 8 : type[1] == '8' ? 1 : 2;
    for (int i = 0; i < n_dim; i++) bytes *= (size_t)shape[i];
    cr_assert_leq(bytes, sizeof zeros);
    const int64_t size[2] = {8, 64};
    st_put(b, name, type, shape, n_dim,
           strstr(name, "g_idx")   ? natural
           : strstr(name, "shape") ? (const void *)size
                                   : zeros,
           bytes);
}

static const bad_part BAD[] = {
    {"a.qweight", "I32", {8, 8, 2}, 3, WEIR_INT4_GPTQ, WEIR_EFORMAT, "a.qweight: I32 in 3 dimensions"},
    {"a.qweight", "F32", {8, 8}, 2, WEIR_INT4_GPTQ, WEIR_EFORMAT, "expected a matrix of I32"},
    {"a.qweight", "I32", {8, 0}, 2, WEIR_INT4_GPTQ, WEIR_EFORMAT, "expected a matrix of I32"},
    {"a.qweight", "I32", {7, 8}, 2, WEIR_INT4_GPTQ, WEIR_EFORMAT, "56 inputs, expected a multiple of 32"},
    {"a.qweight", "I32", {8, 12}, 2, WEIR_INT4_GPTQ, WEIR_EFORMAT, "12 outputs, expected a multiple of 8"},
    {"a.qweight",
     "I32",
     {12, 8},
     2,
     WEIR_INT4_GPTQ,
     WEIR_EFORMAT,
     "a.scales: F16 (2, 8) in 2 dimensions, "
     "expected F16 or BF16 (3, 8)"},
    {"a.scales", NULL, {0}, 0, WEIR_INT4_GPTQ, WEIR_EFORMAT, "a.qweight: no scales beside it"},
    {"a.scales", "F32", {2, 8}, 2, WEIR_INT4_GPTQ, WEIR_EFORMAT, "a.scales: F32 (2, 8)"},
    {"a.scales", "F16", {8, 2}, 2, WEIR_INT4_GPTQ, WEIR_EFORMAT, "expected F16 or BF16 (2, 8)"},
    {"a.qzeros", NULL, {0}, 0, WEIR_INT4_GPTQ, WEIR_EFORMAT, "a.qweight: no qzeros beside it"},
    {"a.qzeros",
     "I32",
     {2, 2},
     2,
     WEIR_INT4_GPTQ,
     WEIR_EFORMAT,
     "a.qzeros: I32 (2, 2) in 2 dimensions, "
     "expected I32 (2, 1)"},
    {"a.g_idx", NULL, {0}, 0, WEIR_INT4_GPTQ, WEIR_EFORMAT, "a.qweight: no g_idx beside it"},
    {"a.g_idx", "I32", {63}, 1, WEIR_INT4_GPTQ_V2, WEIR_EFORMAT, "a.g_idx: I32 of 63 elements"},
    {"a.g_idx", "I64", {32}, 1, WEIR_INT4_GPTQ_V2, WEIR_EFORMAT, "expected I32, one for each of 64 inputs"},
    {"a.qzeros", NULL, {0}, 0, WEIR_INT4_AWQ, WEIR_EFORMAT, "a.qweight: no qzeros beside it"},
    {"a.qweight", "I32", {48, 1}, 2, WEIR_INT4_AWQ, WEIR_EFORMAT, "48 inputs, expected a multiple of 32"},
    {"a.weight_scale", NULL, {0}, 0, WEIR_INT4_PACKED, WEIR_EFORMAT, "a.weight_packed: no weight_scale"},
    {"a.weight_scale", "F16", {2, 8}, 2, WEIR_INT4_PACKED, WEIR_EFORMAT, "expected F16 or BF16 (8, 2)"},
    {"a.weight_zero_point", "F16", {1, 2}, 2, WEIR_INT4_PACKED, WEIR_EFORMAT, "expected I32 (1, 2)"},
    {"a.weight_shape", "I32", {2}, 1, WEIR_INT4_PACKED, WEIR_EFORMAT, "a.weight_shape: I32, expected two"},
    {"a.weight_packed", "I32", {8, 32}, 2, WEIR_INT4_MXFP4, WEIR_EFORMAT, "expected a matrix of U8"},
    {"a.weight_scale", "F16", {8, 2}, 2, WEIR_INT4_MXFP4, WEIR_EFORMAT, "expected U8 (8, 2)"},
    {"a.weight_packed", "U8", {8, 40}, 2, WEIR_INT4_MXFP4, WEIR_EFORMAT, "80 inputs, expected a multiple"},
    {"a.weight_packed", "I32", {16, 8}, 2, WEIR_INT4_PACKED, WEIR_EFORMAT, "expected F16 or BF16 (16, 2)"},
};

Test(int4, tensors_that_are_missing_or_of_another_shape_are_refused) {
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        const bad_part *k = &BAD[i];
        const weir_int4 c = {k->form, 32};
        st_blob *b = calloc(1, sizeof *b);
        int32_t *order;
        weir_err err = {""};
        if (k->form == WEIR_INT4_MXFP4) {
            put_part(b, k, "a.weight_packed", "U8", 8, 32);
            put_part(b, k, "a.weight_scale", "U8", 8, 2);
        } else if (k->form == WEIR_INT4_PACKED) {
            put_part(b, k, "a.weight_packed", "I32", 8, 8);
            put_part(b, k, "a.weight_scale", "F16", 8, 2);
            put_part(b, k, "a.weight_zero_point", "I32", 1, 2);
            put_part(b, k, "a.weight_shape", "I64", 2, 0);
        } else {
            const bool awq = k->form == WEIR_INT4_AWQ;
            put_part(b, k, "a.qweight", "I32", awq ? 64 : 8, awq ? 1 : 8);
            put_part(b, k, "a.scales", "F16", 2, 8);
            put_part(b, k, "a.qzeros", "I32", 2, 1);
            if (!awq) put_part(b, k, "a.g_idx", "I32", 64, 0);
        }
        file f = open_blob(b, c);
        cr_expect_eq(weir__int4_check(f.s, c, &f.codes, "made", &order, &err), k->want, "%s: %s", k->about,
                     err.text);
        cr_expect(err_is_line(&err, k->about), "want \"%s\", got: %s", k->about, err.text);
        close_file(&f);
        free(b);
    }
}

/* The index of a matrix of 8 outputs and 64 inputs: two groups of 32, changed in up to two places. */
typedef struct bad_index {
    int64_t at[2];
    int32_t group[2];
    weir_status want;
    const char *about;
} bad_index;

static const bad_index INDEX[] = {
    {{5, 5}, {0, 0}, WEIR_OK, NULL},
    {{5, 40}, {1, 0}, WEIR_OK, NULL}, /* two inputs have changed places */
    {{5, 5}, {1, 1}, WEIR_EFORMAT, "a.g_idx: input 63 is of group 1, which has its 32 inputs before it"},
    {{63, 63}, {0, 0}, WEIR_EFORMAT, "a.g_idx: input 63 is of group 0, which has its 32 inputs before it"},
    {{40, 5}, {0, 0}, WEIR_EFORMAT, "a.g_idx: input 40 is of group 0, which has its 32 inputs before it"},
    {{40, 40}, {2, 2}, WEIR_EFORMAT, "a.g_idx: input 40 is of group 2, but there are 2"},
    {{0, 0}, {-1, -1}, WEIR_EFORMAT, "a.g_idx: input 0 is of group -1, but there are 2"},
    {{31, 31}, {INT32_MAX, INT32_MAX}, WEIR_EFORMAT, "group 2147483647"},
    {{31, 31}, {INT32_MIN, INT32_MIN}, WEIR_EFORMAT, "group -2147483648"},
};

static st_blob *blob_of_index(const bad_index *k) {
    static const int32_t zeros[64];
    st_blob *b = calloc(1, sizeof *b);
    int32_t index[64];
    for (int i = 0; i < 64; i++) index[i] = i / 32;
    for (int i = 0; i < 2; i++) index[k->at[i]] = k->group[i];
    st_put(b, "a.qweight", "I32", (int64_t[]){8, 8}, 2, zeros, 256);
    st_put(b, "a.scales", "F16", (int64_t[]){2, 8}, 2, zeros, 32);
    st_put(b, "a.qzeros", "I32", (int64_t[]){2, 1}, 2, zeros, 8);
    st_put(b, "a.g_idx", "I32", (int64_t[]){64}, 1, index, 256);
    return b;
}

Test(int4, an_index_deals_out_groups_of_their_size_or_is_refused) {
    const weir_int4 c = {WEIR_INT4_GPTQ, 32};
    for (size_t i = 0; i < sizeof INDEX / sizeof *INDEX; i++) {
        const bad_index *k = &INDEX[i];
        st_blob *b = blob_of_index(k);
        weir_err err = {""};
        int32_t *order;
        file f = open_blob(b, c);
        alloc_install(0);
        cr_expect_eq(weir__int4_check(f.s, c, &f.codes, "made", &order, &err), k->want, "%s", err.text);
        cr_expect(!k->about || err_is_line(&err, k->about), "want \"%s\", got: %s", k->about, err.text);
        cr_expect_eq(order != NULL, i == 1);
        weir_free(order);
        cr_expect_eq(alloc_live(), 0);
        alloc_uninstall();
        close_file(&f);
        free(b);
    }
}

/* compressed-tensors' own: all of -1, or none. */
Test(int4, an_index_that_was_never_filled_in_is_the_natural_one) {
    static const int32_t zeros[64];
    const weir_int4 c = {WEIR_INT4_PACKED, 32};
    for (int filled = 0; filled < 2; filled++) {
        st_blob *b = calloc(1, sizeof *b);
        int32_t index[64], *order;
        weir_err err = {""};
        for (int i = 0; i < 64; i++) index[i] = filled && i == 63 ? 1 : -1;
        st_put(b, "a.weight_packed", "I32", (int64_t[]){8, 8}, 2, zeros, 256);
        st_put(b, "a.weight_scale", "F16", (int64_t[]){8, 2}, 2, zeros, 32);
        st_put(b, "a.weight_g_idx", "I32", (int64_t[]){64}, 1, index, 256);
        file f = open_blob(b, c);
        const weir_status st = weir__int4_check(f.s, c, &f.codes, "made", &order, &err);
        cr_expect_eq(st, filled ? WEIR_EFORMAT : WEIR_OK, "%s", err.text);
        cr_expect(!filled || err_is_line(&err, "a.weight_g_idx: input 0 is of group -1, but there are 2"));
        cr_expect_null(order);
        close_file(&f);
        free(b);
    }
}

Test(int4, no_memory_for_an_order_is_said) {
    const weir_int4 c = {WEIR_INT4_GPTQ, 32};
    st_blob *b = blob_of_index(&INDEX[1]);
    file f = open_blob(b, c);
    for (int i = 1; i <= 2; i++) {
        weir_err err = {""};
        int32_t *order;
        alloc_install(i);
        cr_expect_eq(weir__int4_check(f.s, c, &f.codes, "made", &order, &err), WEIR_ENOMEM);
        cr_expect(!order && err_is_line(&err, "no memory for the order"), "%s", err.text);
        cr_expect_eq(alloc_live(), 0);
        alloc_uninstall();
    }
    close_file(&f);
    free(b);
}

/* ---- refused: directories ------------------------------------------------------------------------------ */

/* The first golden model with one tensor renamed, or changed in its first byte. */
static void check_dir(const char *name, const char *renamed, weir_status want, const char *about) {
    char from[256];
    int4_dir(from, 0);
    weir_safetensors *s = NULL;
    weir_checkpoint c;
    weir_err err = {""};
    st_blob *b = calloc(1, sizeof *b);
    char *dir = files_temp_dir(), *config = files_path(from, "config.json");
    size_t n;
    cr_assert_eq(weir__safetensors_open_dir(&s, from, &err), WEIR_OK, "%s", err.text);
    for (size_t i = 0; i < weir__safetensors_count(s); i++) {
        weir_entry e;
        weir__safetensors_at(s, i, &e);
        uint8_t *data = files_exact(e.data, e.bytes);
        const bool here = strcmp(e.name, name) == 0;
        if (here && !renamed) data[0] = 1;
        st_put(b, here && renamed ? renamed : e.name, e.type, e.shape, e.n_dim, data, e.bytes);
        free(data);
    }
    uint8_t *bytes = st_bytes(b, &n);
    files_write(dir, "model.safetensors", bytes, n);
    free(bytes);
    bytes = files_read(config, &n);
    files_write(dir, "config.json", bytes, n);
    const weir_status st = weir__checkpoint_open(&c, dir, false, &err);
    cr_expect_eq(st, want, "%s: %s", about, err.text);
    cr_expect(want == WEIR_OK || err_is_line(&err, about), "want \"%s\", got: %s", about, err.text);
    if (st == WEIR_OK) weir__checkpoint_close(&c);
    weir__safetensors_close(s);
    files_remove_dir(dir);
    free(bytes), free(config), free(b);
}

#define UP "model.layers.0.mlp.up_proj"

Test(int4, parts_that_belong_to_no_matrix_are_refused) {
    check_dir(UP ".qweight", UP ".qweight", WEIR_OK, "");
    check_dir(UP ".qweight", UP ".weights", WEIR_ENOTSUP, "tensor " UP ".g_idx: the weights are quantised");
    check_dir(UP ".qweight", "model.layers.0.mlp.more.qweight", WEIR_ENOTSUP, "the weights are quantised");
    check_dir(UP ".scales", UP ".scale", WEIR_ENOTSUP, "up_proj.scale: not supported, llama has none");
    check_dir(UP ".bias", UP ".bias", WEIR_OK, "");
    check_dir(UP ".bias", NULL, WEIR_ENOTSUP, "tensor " UP ".bias: not supported");
    check_dir("model.norm.weight", UP ".weight", WEIR_EFORMAT, "the same matrix is in the file as " UP);
}
