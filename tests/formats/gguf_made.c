#include "tests/formats/gguf_made.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/kernels/op_fixture.h"
#include "tests/support/files.h"

#define LABEL "m.gguf"

const char *const ARCHS[] = {"llama", "qwen2", "qwen3",   "gemma2", "gemma3",
                             "phi3",  "olmo2", "granite", "smollm3"};

weir_gguf *open_good(const gguf_blob *b) {
    weir_gguf *g = NULL;
    weir_err err = {""};
    cr_assert_eq(weir__gguf_open_bytes(&g, b->p, b->n, LABEL, &err), WEIR_OK, "%s", err.text);
    return g;
}

/* From an exactly sized block: a read past the end is an error under ASan. */
void expect_bytes(const uint8_t *p, size_t n, weir_status want, const char *part) {
    weir_err err = {""};
    weir_gguf *g = NULL;
    uint8_t *exact = files_exact(p, n);
    weir_status st = weir__gguf_open_bytes(&g, exact, n, LABEL, &err);
    cr_assert_eq(st, want, "status %d instead of %d with \"%s\": %s", st, want, part, err.text);
    cr_assert_null(g);
    cr_assert(err_is_line(&err, part) && strstr(err.text, LABEL), "want \"%s\", got: %s", part, err.text);
    free(exact);
}

gguf_blob good_file(void) {
    static const char *const tokens[] = {"<s>", "", "a b", "\xf0\x9f\x98\x80"};
    static const uint64_t types[] = {3, 1, (uint64_t)-1};
    static const int64_t row[] = {4}, two_rows[] = {32, 2}, cube[] = {2, 2, 2};
    gguf_blob b = gguf_begin(3);
    gguf_text(&b, "general.architecture", "llama");
    gguf_u32(&b, "general.alignment", 32);
    gguf_texts(&b, "tokens", tokens, 4);
    gguf_ints(&b, "types", KV_I32, types, 3);
    gguf_f32(&b, "eps", 1e-5f);
    gguf_bool(&b, "flag", true);
    gguf_tensor(&b, "norm", GGML_F32, 1, row, NULL, 16);
    gguf_tensor(&b, "embd", GGML_Q8_0, 2, two_rows, NULL, 68);
    gguf_tensor(&b, "cube", GGML_F32, 3, cube, NULL, 32);
    gguf_finish(&b);
    return b;
}

char *key_of(const char *arch, const char *name) {
    static char buf[4][128];
    static int turn;
    char *p = buf[turn++ % 4];
    snprintf(p, 128, "%s.%s", arch, name);
    return p;
}

static int32_t times(const made *m) { return m->wide ? m->wide : 1; }

static bool wants(const made *m, const char *name) { return !m->skip || strcmp(m->skip, name) != 0; }

static void put_u32(gguf_blob *b, const made *m, const char *name, uint32_t v) {
    if (wants(m, name)) gguf_u32(b, key_of(m->arch, name), v);
}

static void put_pairs(gguf_blob *b, const made *m) {
    static const char *const tokens[N_TOKEN] = {"<unk>", "<s>", "</s>",       "<pad>",       "a",     "b",
                                                "c",     "d",   "<|im_end|>", "<|fim_pad|>", "<|end", "_x"};
    if (wants(m, "general.architecture")) gguf_text(b, "general.architecture", m->arch);
    const uint32_t wide = (uint32_t)times(m);
    put_u32(b, m, "embedding_length", DIM * wide);
    put_u32(b, m, "block_count", (uint32_t)m->n_layer);
    put_u32(b, m, "feed_forward_length", FF * wide);
    put_u32(b, m, "context_length", 512);
    put_u32(b, m, "attention.head_count", N_HEAD * wide);
    put_u32(b, m, "attention.head_count_kv", N_KV * wide);
    put_u32(b, m, "attention.key_length", HEAD);
    put_u32(b, m, "attention.value_length", HEAD);
    if (m->experts) {
        put_u32(b, m, "expert_count", (uint32_t)m->experts);
        put_u32(b, m, "expert_used_count", EXPERTS_USED);
    }
    if (m->experts && strcmp(m->arch, "llama") != 0)
        put_u32(b, m, "expert_feed_forward_length", EXPERT_FF * wide);
    if (strcmp(m->arch, "qwen2moe") == 0)
        put_u32(b, m, "expert_shared_feed_forward_length", SHARED_FF * wide);
    if (wants(m, "attention.layer_norm_rms_epsilon"))
        gguf_f32(b, key_of(m->arch, "attention.layer_norm_rms_epsilon"), 1e-6f);
    if (wants(m, "tokenizer.ggml.tokens")) gguf_texts(b, "tokenizer.ggml.tokens", tokens, N_TOKEN);
    if (m->more) m->more(b, m->arch);
}

static weir_dtype dtype_of(uint32_t type) {
    switch (type) {
    case GGML_F32: return WEIR_DTYPE_F32;
    case GGML_F16: return WEIR_DTYPE_F16;
    case GGML_BF16: return WEIR_DTYPE_BF16;
    case GGML_Q4_0: return WEIR_DTYPE_Q4_0;
    case GGML_Q8_0: return WEIR_DTYPE_Q8_0;
    case GGML_Q4_K: return WEIR_DTYPE_Q4_K;
    case GGML_Q6_K: return WEIR_DTYPE_Q6_K;
    case GGML_Q2_K: return WEIR_DTYPE_Q2_K;
    case GGML_Q3_K: return WEIR_DTYPE_Q3_K;
    case GGML_IQ4_NL: return WEIR_DTYPE_IQ4_NL;
    case GGML_IQ4_XS: return WEIR_DTYPE_IQ4_XS;
    case GGML_MXFP4: return WEIR_DTYPE_MXFP4;
    default: abort();
    }
}

/* (rows, cols); of a vector rows is 1. n > 0: so many of them. */
static void put_stack(gguf_blob *b, const made *m, const char *name, uint32_t type, int64_t n, int64_t each,
                      int64_t cols) {
    const int64_t shape[] = {cols, each, n}, rows = n > 0 ? n * each : each;
    const weir_dtype dtype = dtype_of(type);
    uint64_t seed = m->seed + b->n_tensor;
    matrix random = {0};
    if (!wants(m, name)) return;
    if (m->seed) random = matrix_new(dtype, rows, cols, 0.3f, &seed);
    gguf_tensor(b, name, type,
                n > 0      ? 3
                : rows > 1 ? 2
                           : 1,
                shape, random.file.data, (size_t)(rows * weir_dtype_row_bytes(dtype, cols)));
    matrix_free(&random);
}

static void put_tensor(gguf_blob *b, const made *m, const char *name, uint32_t type, int64_t rows,
                       int64_t cols) {
    put_stack(b, m, name, type, 0, rows, cols);
}

static void put_matrix(gguf_blob *b, const made *m, const char *name, int64_t rows, int64_t cols) {
    put_tensor(b, m, name, m->matrix, rows, cols);
}

static void put_vector(gguf_blob *b, const made *m, const char *name, int64_t n) {
    put_tensor(b, m, name, GGML_F32, 1, n);
}

/* What a tensor of a layer is a sign of. */
enum { PRE = 1, POST = 2, BIAS = 4, HEAD_NORM = 8, WHOLE_NORM = 16, SPLIT = 32, FUSED = 64 };
enum { DENSE = 128, MIXED = 256, SHARED = 512, PAIR = 1024 };

static int signs_of(const made *m) {
    const bool gemma = strncmp(m->arch, "gemma", 5) == 0, olmo = strcmp(m->arch, "olmo2") == 0;
    const bool head_norm = strncmp(m->arch, "qwen3", 5) == 0 || strcmp(m->arch, "gemma3") == 0;
    const bool fused = strcmp(m->arch, "phi3") == 0;
    return (olmo ? WHOLE_NORM : PRE) | (gemma || olmo ? POST : 0) | (m->bias && !fused ? BIAS : 0) |
           (head_norm ? HEAD_NORM : 0) | (fused ? FUSED : SPLIT) |
           (m->experts ? MIXED : DENSE | (fused ? 0 : PAIR)) |
           (strcmp(m->arch, "qwen2moe") == 0 ? SHARED : 0);
}

static void put_experts(gguf_blob *b, const made *m, int32_t i) {
    const int32_t dim = DIM * times(m);
    const int32_t ff = (strcmp(m->arch, "llama") == 0 ? FF : EXPERT_FF) * times(m);
    static const char *const parts[] = {"ffn_gate_exps", "ffn_up_exps", "ffn_down_exps"};
    char name[64];
    for (int k = 0; k < 3; k++) {
        snprintf(name, sizeof name, "blk.%d.%s.weight", i, parts[k]);
        put_stack(b, m, name, m->matrix, m->experts, k < 2 ? ff : dim, k < 2 ? dim : ff);
    }
    snprintf(name, sizeof name, "blk.%d.ffn_gate_inp.weight", i);
    put_tensor(b, m, name, GGML_F32, m->experts, dim);
}

static void put_layer(gguf_blob *b, const made *m, int32_t i) {
    const int signs = signs_of(m);
    const int32_t dim = DIM * times(m), ff = FF * times(m), q = N_HEAD * HEAD * times(m),
                  kv = N_KV * HEAD * times(m), shared = SHARED_FF * times(m);
    const struct {
        const char *name;
        int32_t rows, cols; /* cols 0: a vector */
        int when;           /* one of signs_of; 0: always */
    } parts[] = {
        {"attn_norm.weight", dim, 0, PRE},
        {"ffn_norm.weight", dim, 0, PRE},
        {"post_attention_norm.weight", dim, 0, POST},
        {"post_ffw_norm.weight", dim, 0, POST},
        {"attn_qkv.weight", q + 2 * kv, dim, FUSED},
        {"attn_q.weight", q, dim, SPLIT},
        {"attn_k.weight", kv, dim, SPLIT},
        {"attn_v.weight", kv, dim, SPLIT},
        {"attn_output.weight", dim, q, 0},
        {"attn_q.bias", q, 0, BIAS},
        {"attn_k.bias", kv, 0, BIAS},
        {"attn_v.bias", kv, 0, BIAS},
        {"attn_q_norm.weight", HEAD, 0, HEAD_NORM},
        {"attn_k_norm.weight", HEAD, 0, HEAD_NORM},
        {"attn_q_norm.weight", q, 0, WHOLE_NORM},
        {"attn_k_norm.weight", kv, 0, WHOLE_NORM},
        {"ffn_gate.weight", ff, dim, PAIR},
        {"ffn_up.weight", ff, dim, PAIR},
        {"ffn_up.weight", 2 * ff, dim, FUSED},
        {"ffn_down.weight", dim, ff, DENSE},
        {"ffn_gate_inp_shexp.weight", dim, 0, SHARED},
        {"ffn_gate_shexp.weight", shared, dim, SHARED},
        {"ffn_up_shexp.weight", shared, dim, SHARED},
        {"ffn_down_shexp.weight", dim, shared, SHARED},
    };
    for (size_t k = 0; k < sizeof parts / sizeof *parts; k++) {
        char name[64];
        if (parts[k].when && !(parts[k].when & signs)) continue;
        snprintf(name, sizeof name, "blk.%d.%s", i, parts[k].name);
        if (parts[k].cols)
            put_matrix(b, m, name, parts[k].rows, parts[k].cols);
        else
            put_vector(b, m, name, parts[k].rows);
    }
    if (signs & MIXED) put_experts(b, m, i);
}

gguf_blob make(const made *m) {
    gguf_blob b = gguf_begin(3);
    put_pairs(&b, m);
    put_matrix(&b, m, "token_embd.weight", VOCAB, DIM * times(m));
    put_vector(&b, m, "output_norm.weight", DIM * times(m));
    if (m->head) put_matrix(&b, m, "output.weight", VOCAB, DIM * times(m));
    for (int32_t i = 0; i < m->n_layer; i++) put_layer(&b, m, i);
    if (m->factors) {
        float f[HEAD / 2];
        for (int i = 0; i < HEAD / 2; i++) f[i] = 1 + (float)i;
        f[0] = m->first_factor;
        gguf_tensor(&b, "rope_freqs.weight", GGML_F32, 1, (int64_t[]){HEAD / 2}, f, sizeof f);
    }
    if (m->stray) {
        size_t bytes = m->stray_type ? 66 : 4;
        for (int i = 0; m->stray_shape && i < m->stray_dims; i++) bytes *= (size_t)m->stray_shape[i];
        gguf_tensor(&b, m->stray, m->stray_type, m->stray_dims ? m->stray_dims : 1,
                    m->stray_shape ? m->stray_shape : (int64_t[]){m->stray_type ? 256 : 1, 1, 1, 1}, NULL,
                    bytes);
    }
    gguf_finish(&b);
    return b;
}

weir_gguf *open_made(const made *m, gguf_blob *b) {
    *b = make(m);
    return open_good(b);
}

void expect_refused(const made *m, weir_status want, const char *part) {
    gguf_blob b;
    weir_gguf *g = open_made(m, &b);
    weir_gguf_model out;
    weir_err err = {""};
    weir_status s = weir__gguf_read_model(g, &out, &err);
    cr_assert_eq(s, want, "%s: status %d instead of a refusal with \"%s\": %s", m->arch, s, part, err.text);
    cr_assert(err_is_line(&err, part) && strstr(err.text, LABEL), "want \"%s\", got: %s", part, err.text);
    weir__gguf_close(g);
    gguf_free(&b);
}

/* ---- parts of a split file ----------------------------------------------------------------------------- */

static uint32_t type_of(int dtype) {
    static const uint32_t types[] = {GGML_F32,  GGML_F16,  GGML_BF16, GGML_Q4_0,
                                     GGML_Q8_0, GGML_Q4_K, GGML_Q6_K};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if ((int)dtype_of(types[i]) == dtype) return types[i];
    abort();
}

gguf_blob make_part(const gguf_blob *whole, const made_part *p) {
    weir_gguf *g = open_good(whole);
    gguf_blob b = gguf_begin(3);
    const size_t n_tensor = weir__gguf_count(g);
    if (p->no == 0) {
        gguf_raw(&b, whole->p + b.n, whole->pairs_end - b.n);
        b.n_pair = whole->n_pair;
    }
    gguf_int(&b, "split.no", KV_U16, (uint64_t)p->no);
    gguf_int(&b, "split.count", KV_U16, (uint64_t)p->count);
    if (p->n_tensor >= 0) gguf_int(&b, "split.tensors.count", KV_I32, (uint64_t)p->n_tensor);
    for (size_t i = 0; i < n_tensor; i++) {
        weir_entry e;
        int64_t shape[4];
        if ((int)(i * (size_t)p->count / n_tensor) != p->holds) continue;
        weir__gguf_at(g, i, &e);
        for (int d = 0; d < e.n_dim; d++) shape[d] = e.shape[e.n_dim - 1 - d];
        gguf_tensor(&b, e.name, type_of(e.dtype), e.n_dim, shape, e.data, e.bytes);
    }
    gguf_finish(&b);
    weir__gguf_close(g);
    return b;
}
