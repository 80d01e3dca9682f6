#include "tests/host/pairs/t5_gguf.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/formats/checkpoint.h"
#include "host/formats/safetensors/safetensors.h"
#include "host/tokenizers/spm/wire.h"
#include "kernels/weight/quant.h"
#include "tests/support/files.h"

#define TOKENIZER "tokenizer.ggml."

static bool wants(const t5_change *c, const char *name) { return !c->skip || strcmp(c->skip, name) != 0; }

static const char *arch_of(const t5_change *c) { return c->arch ? c->arch : "t5"; }

static void put_u32(gguf_blob *b, const t5_change *c, const char *name, int32_t v) {
    char key[96];
    snprintf(key, sizeof key, "%s.%s", arch_of(c), name);
    if (wants(c, name)) gguf_u32(b, key, (uint32_t)v);
}

static void put_sizes(gguf_blob *b, const t5_change *c, const weir_checkpoint *ck) {
    const weir_t5_config *t = &ck->t5;
    char key[96];
    gguf_text(b, "general.architecture", arch_of(c));
    put_u32(b, c, "context_length", 512);
    put_u32(b, c, "embedding_length", t->dim);
    put_u32(b, c, "feed_forward_length", t->ff_dim);
    put_u32(b, c, "block_count", t->n_enc_layer);
    put_u32(b, c, "decoder_block_count", t->n_dec_layer);
    put_u32(b, c, "attention.head_count", t->n_head);
    put_u32(b, c, "attention.key_length", t->head_dim);
    put_u32(b, c, "attention.value_length", t->head_dim);
    put_u32(b, c, "attention.relative_buckets_count", t->n_bucket);
    put_u32(b, c, "decoder_start_token_id", ck->start_id);
    snprintf(key, sizeof key, "%s.attention.layer_norm_rms_epsilon", arch_of(c));
    if (wants(c, "attention.layer_norm_rms_epsilon")) gguf_f32(b, key, t->eps);
}

/* ---- tokens: out of spiece.model ----------------------------------------------------------------------- */

enum { MOST = 1 << 16 };

typedef struct pieces {
    char *text[MOST];
    uint64_t score[MOST], type[MOST]; /* bits of an f32 */
    size_t n;
    uint64_t *charsmap;
    size_t n_charsmap;
    bool prefix, collapses;
} pieces;

static void read_piece(pieces *p, weir__wire s) {
    weir__wire_field f;
    p->type[p->n] = 1;
    while (s.at < s.end) {
        cr_assert(weir__wire_next(&s, &f));
        if (f.number == 1)
            p->text[p->n] = strndup((const char *)f.bytes.at, (size_t)(f.bytes.end - f.bytes.at));
        if (f.number == 2) p->score[p->n] = f.fixed32;
        if (f.number == 3) p->type[p->n] = f.varint;
    }
    p->n++;
}

static void read_normalizer(pieces *p, weir__wire s) {
    weir__wire_field f;
    while (s.at < s.end) {
        cr_assert(weir__wire_next(&s, &f));
        if (f.number == 3) p->prefix = f.varint != 0;
        if (f.number == 4) p->collapses = f.varint != 0;
        if (f.number != 2) continue;
        p->n_charsmap = (size_t)(f.bytes.end - f.bytes.at);
        p->charsmap = malloc((p->n_charsmap + 1) * sizeof *p->charsmap);
        for (size_t i = 0; i < p->n_charsmap; i++) p->charsmap[i] = f.bytes.at[i];
    }
}

static pieces *read_pieces(const char *path) {
    pieces *p = calloc(1, sizeof *p);
    size_t n;
    uint8_t *bytes = files_read(path, &n);
    weir__wire s = {bytes, bytes + n};
    weir__wire_field f;
    p->prefix = p->collapses = true;
    while (s.at < s.end) {
        cr_assert(weir__wire_next(&s, &f) && p->n < MOST - 256);
        if (f.number == 1) read_piece(p, f.bytes);
        if (f.number == 3) read_normalizer(p, f.bytes);
    }
    free(bytes);
    return p;
}

static void add_token(pieces *p, const char *before, int number, const char *after, uint64_t type) {
    char text[32];
    snprintf(text, sizeof text, "%s%d%s", before, number, after);
    p->text[p->n] = strdup(text);
    p->type[p->n++] = type;
}

static void put_tokens(gguf_blob *b, const t5_change *c, const weir_checkpoint *ck) {
    pieces *p = read_pieces(ck->tokenizer_path);
    for (int k = c->sentinels; k > 0; k--) add_token(p, "<extra_id_", k - 1, ">", 4);
    for (int k = 0; k < c->padding; k++) add_token(p, "[PAD", (int)p->n, "]", 5);
    gguf_text(b, TOKENIZER "model", "t5");
    gguf_text(b, TOKENIZER "pre", "default");
    if (wants(c, "tokens")) gguf_texts(b, TOKENIZER "tokens", (const char *const *)p->text, p->n);
    if (wants(c, "scores")) gguf_ints(b, TOKENIZER "scores", KV_F32, p->score, p->n);
    if (wants(c, "token_type")) gguf_ints(b, TOKENIZER "token_type", KV_I32, p->type, p->n);
    gguf_bool(b, TOKENIZER "add_space_prefix", p->prefix);
    gguf_bool(b, TOKENIZER "remove_extra_whitespaces", p->collapses);
    if (p->n_charsmap)
        gguf_ints(b, TOKENIZER "precompiled_charsmap", KV_U8, p->charsmap,
                  c->charsmap_bytes ? (size_t)c->charsmap_bytes : p->n_charsmap);
    if (wants(c, "eos_token_id")) gguf_u32(b, TOKENIZER "eos_token_id", (uint32_t)ck->eos[0]);
    gguf_u32(b, TOKENIZER "unknown_token_id", 2);
    gguf_u32(b, TOKENIZER "padding_token_id", (uint32_t)ck->pad_id);
    if (wants(c, "add_eos_token")) gguf_bool(b, TOKENIZER "add_eos_token", true);
    for (size_t i = 0; i < p->n; i++) free(p->text[i]);
    free(p->charsmap);
    free(p);
}

/* ---- tensors ------------------------------------------------------------------------------------------- */

/* Parts of names, the longest first. */
static const char *const PARTS[][2] = {
    {"layer.0.SelfAttention.relative_attention_bias.", "attn_rel_b."},
    {"layer.0.SelfAttention.", "attn_"},
    {"layer.0.layer_norm.", "attn_norm."},
    {"layer.1.EncDecAttention.", "cross_attn_"},
    {"DenseReluDense.wi_0.", "ffn_gate."},
    {"DenseReluDense.wi_1.", "ffn_up."},
    {"DenseReluDense.wi.", "ffn_up."},
    {"DenseReluDense.wo.", "ffn_down."},
};

static void rename_tensor(const char *hf, char out[65]) {
    int layer;
    char rest[128];
    const bool decoder = strncmp(hf, "decoder.", 8) == 0;
    const char *side = decoder ? "dec" : "enc";
    if (strcmp(hf, "shared.weight") == 0 || strcmp(hf, "lm_head.weight") == 0) {
        snprintf(out, 65, "%s", *hf == 's' ? "token_embd.weight" : "output.weight");
        return;
    }
    if (sscanf(hf + 8, "block.%d.%127s", &layer, rest) != 2) {
        cr_assert_str_eq(hf + 8, "final_layer_norm.weight");
        snprintf(out, 65, "%s.output_norm.weight", side);
        return;
    }
    if (strcmp(rest, "layer.1.layer_norm.weight") == 0 || strcmp(rest, "layer.2.layer_norm.weight") == 0) {
        snprintf(out, 65, "%s.blk.%d.%s_norm.weight", side, layer,
                 decoder && rest[6] == '1' ? "cross_attn" : "ffn");
        return;
    }
    for (size_t i = 0; i < sizeof PARTS / sizeof *PARTS; i++) {
        const char *at = strstr(rest, PARTS[i][0]);
        if (!at) continue;
        snprintf(out, 65, "%s.blk.%d.%s%s", side, layer, PARTS[i][1], at + strlen(PARTS[i][0]));
        return;
    }
    cr_assert_fail("no name for %s", hf);
}

/* A row in q8_0: d is the largest over 127, as f16 rounded up, so that no code leaves its range. */
static void to_q8_0(const weir_tensor *t, unsigned char *out) {
    for (int64_t r = 0; r < t->rows; r++) {
        for (int64_t at = 0; at < t->cols; at += 32, out += 34) {
            float most = 0x1p-14f;
            for (int64_t i = 0; i < 32; i++) most = fmaxf(most, fabsf(weir_tensor_get(t, r, at + i)));
            uint32_t bits;
            memcpy(&bits, &most, sizeof bits);
            const int exponent = (int)(bits >> 23) - 127; /* d = 2^(exponent + 1 - 7) */
            const uint16_t d = (uint16_t)((exponent - 6 + 15) << 10);
            memcpy(out, &d, sizeof d);
            for (int64_t i = 0; i < 32; i++) {
                const float q = weir_tensor_get(t, r, at + i) / ldexpf(1, exponent - 6);
                out[2 + i] = (unsigned char)(int8_t)lrintf(fminf(fmaxf(q, -127), 127));
            }
        }
    }
}

/* Vectors and biases of positions are f32, as in converted files. */
static void put_tensor(gguf_blob *b, const t5_change *c, const weir_entry *e, const char *name) {
    weir_tensor t;
    int64_t shape[2] = {e->shape[e->n_dim - 1], e->n_dim > 1 ? e->shape[0] : 1};
    cr_assert(weir__entry_tensor(e, &t));
    const bool vector = e->n_dim < 2 || strstr(name, "attn_rel_b");
    const size_t n = (size_t)(t.rows * t.cols);
    if (vector) {
        float *f = malloc(n * sizeof *f);
        for (size_t i = 0; i < n; i++) f[i] = weir_tensor_get(&t, (int64_t)i / t.cols, (int64_t)i % t.cols);
        gguf_tensor(b, name, GGML_F32, e->n_dim, shape, f, n * sizeof *f);
        free(f);
    } else if (c->q8_0 && strstr(name, c->q8_0) && t.cols % 32 == 0) {
        unsigned char *q = malloc(n / 32 * 34);
        to_q8_0(&t, q);
        gguf_tensor(b, name, GGML_Q8_0, e->n_dim, shape, q, n / 32 * 34);
        free(q);
    } else {
        cr_assert_eq(e->dtype, WEIR_DTYPE_BF16);
        gguf_tensor(b, name, GGML_BF16, e->n_dim, shape, e->data, e->bytes);
    }
}

gguf_blob t5_as_gguf(const char *name, const t5_change *c) {
    char *dir = files_path(c->root ? c->root : WEIR_SOURCE_DIR "/models/demo", name), to[65];
    weir_checkpoint ck;
    weir_err err = {""};
    gguf_blob b = gguf_begin(3);
    cr_assert_eq(weir__checkpoint_open(&ck, dir, false, &err), WEIR_OK, "%s", err.text);
    put_sizes(&b, c, &ck);
    if (ck.tokenizer_path) put_tokens(&b, c, &ck);
    if (c->more) c->more(&b);
    for (size_t i = 0; i < weir__safetensors_count(ck.tensors); i++) {
        weir_entry e;
        weir__safetensors_at(ck.tensors, i, &e);
        rename_tensor(e.name, to);
        if (wants(c, to)) put_tensor(&b, c, &e, to);
    }
    if (c->tensors) c->tensors(&b);
    gguf_finish(&b);
    weir__checkpoint_close(&ck);
    free(dir);
    return b;
}
