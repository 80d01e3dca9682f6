/* The config of a T5 or umT5 from GGUF metadata. Keys, and what follows from tensors instead (gate,
 * activation, head, biases in every layer), are those of llama.cpp's converter and of its models t5
 * (src/models/t5*.cpp). */
#include <string.h>

#include "host/formats/gguf/gguf_file.h"
#include "host/formats/gguf/gguf_model.h"
#include "host/formats/json/json_file.h"

enum { MAX_DIM = 1 << 20, MAX_LAYER = 1024, MAX_BUCKET = 1 << 16 };

#define TOKENIZER "tokenizer.ggml."

/* ---- sizes --------------------------------------------------------------------------------------------- */

static weir_status read_heads(const gguf_reader *r, weir_t5_config *c) {
    const char *label = weir__label(r->g->label);
    WEIR_TRY(weir__gguf_read_int(r, "attention.head_count", 1, MAX_DIM, &c->n_head));
    int32_t n_kv = c->n_head;
    WEIR_TRY(weir__gguf_read_int(r, "attention.head_count_kv", 1, MAX_DIM, &n_kv));
    if (n_kv != c->n_head)
        return weir_fail(r->err, WEIR_ENOTSUP,
                         "%s: %d heads of keys for %d of queries: not supported in a T5", label, n_kv,
                         c->n_head);
    c->head_dim = c->dim / c->n_head;
    WEIR_TRY(weir__gguf_read_int(r, "attention.key_length", 1, MAX_DIM, &c->head_dim));
    int32_t value = c->head_dim;
    WEIR_TRY(weir__gguf_read_int(r, "attention.value_length", 1, MAX_DIM, &value));
    if (value != c->head_dim)
        return weir_fail(r->err, WEIR_ENOTSUP,
                         "%s: attention.value_length = %d differs from key_length = %d: not supported", label,
                         value, c->head_dim);
    if (c->head_dim < 1 || (int64_t)c->n_head * c->head_dim > MAX_DIM)
        return weir_fail(r->err, WEIR_EFORMAT, "%s: %d heads of %d elements, expected at most %d together",
                         label, c->n_head, c->head_dim, MAX_DIM);
    return WEIR_OK;
}

/* No key has the largest distance: 128 in llama.cpp, as T5's configurations have it. */
static weir_status read_sizes(const gguf_reader *r, weir_t5_config *c) {
    static const char *const needed[] = {"embedding_length",
                                         "block_count",
                                         "feed_forward_length",
                                         "attention.head_count",
                                         "attention.layer_norm_rms_epsilon",
                                         "attention.relative_buckets_count"};
    double eps = 0;
    *c = r->f->t5;
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++) WEIR_TRY(weir__gguf_need(r, needed[i]));
    WEIR_TRY(weir__gguf_read_int(r, "embedding_length", 1, MAX_DIM, &c->dim));
    WEIR_TRY(weir__gguf_read_int(r, "feed_forward_length", 1, MAX_DIM, &c->ff_dim));
    WEIR_TRY(weir__gguf_read_int(r, "block_count", 1, MAX_LAYER, &c->n_enc_layer));
    c->n_dec_layer = c->n_enc_layer;
    WEIR_TRY(weir__gguf_read_int(r, "decoder_block_count", 1, MAX_LAYER, &c->n_dec_layer));
    WEIR_TRY(weir__gguf_read_int(r, "attention.relative_buckets_count", 4, MAX_BUCKET, &c->n_bucket));
    if (c->max_distance <= c->n_bucket / 2)
        return weir_fail(r->err, WEIR_EFORMAT, "%s: %d buckets of relative positions, expected fewer than %d",
                         weir__label(r->g->label), c->n_bucket, 2 * c->max_distance);
    WEIR_TRY(weir__gguf_read_real(r, "attention.layer_norm_rms_epsilon", 1e-30, 1, &eps));
    c->eps = (float)eps;
    WEIR_TRY(read_heads(r, c));
    return weir__gguf_read_rows(r, c->dim, &c->n_vocab_rows);
}

/* ---- tokens -------------------------------------------------------------------------------------------- */

static bool token(const weir_gguf *g, size_t i, const char *start, const char **rest, size_t *n) {
    const char *text;
    const size_t m = strlen(start);
    if (!weir__gguf_array_string(g, TOKENIZER "tokens", i, &text, n) || *n < m || memcmp(text, start, m) != 0)
        return false;
    *rest = text + m;
    *n -= m;
    return true;
}

/* "<extra_id_K>" of this K. */
static bool is_sentinel(const weir_gguf *g, size_t i, int32_t k) {
    const char *rest;
    size_t n;
    int64_t v = 0;
    if (!token(g, i, "<extra_id_", &rest, &n) || n < 2 || n > 9 || rest[n - 1] != '>') return false;
    for (size_t d = 0; d + 1 < n; d++) {
        if (rest[d] < '0' || rest[d] > '9') return false;
        v = 10 * v + (rest[d] - '0');
    }
    return v == k;
}

void weir__gguf_pieces(const weir_gguf *g, int32_t *n_piece, int32_t *n_sentinel) {
    size_t n = 0, bytes;
    const char *rest;
    int32_t k = 0;
    (void)weir__gguf_array_length(g, TOKENIZER "tokens", &n);
    while (n > 0 && token(g, n - 1, "[PAD", &rest, &bytes)) n--;
    while (n > 0 && is_sentinel(g, n - 1, k)) n--, k++;
    *n_piece = (int32_t)n;
    *n_sentinel = k;
}

/* llama.cpp takes these ids where a file is silent. A T5 appends the end to what it reads, and starts the
 * decoder with padding unless the file says otherwise. */
static weir_status read_ids(const weir_gguf *g, const family_row *f, weir_gguf_model *m, weir_err *err) {
    const int32_t rows = m->t5.n_vocab_rows;
    int32_t n_piece;
    char key[128];
    m->pad_id = 0;
    m->eos[0] = 1;
    WEIR_TRY(weir__gguf_get_id(g, TOKENIZER "padding_token_id", rows, &m->pad_id, err));
    WEIR_TRY(weir__gguf_get_id(g, TOKENIZER "eos_token_id", rows, &m->eos[0], err));
    if (m->eos[0] >= rows)
        return weir_fail(err, WEIR_EFORMAT, "%s: no " TOKENIZER "eos_token_id, and 1 is outside %d rows",
                         weir__label(g->label), rows);
    m->n_eos = 1;
    m->start_id = m->pad_id;
    weir__gguf_key(f, "decoder_start_token_id", key);
    WEIR_TRY(weir__gguf_get_id(g, key, rows, &m->start_id, err));
    WEIR_TRY(weir__gguf_refuse_flag(g, TOKENIZER "add_eos_token", false, err));
    WEIR_TRY(weir__gguf_refuse_flag(g, TOKENIZER "add_bos_token", true, err));
    weir__gguf_pieces(g, &n_piece, &m->n_sentinel);
    return WEIR_OK;
}

weir_status weir__gguf_read_t5(const gguf_reader *r, weir_gguf_model *m) {
    WEIR_TRY(read_sizes(r, &m->t5));
    WEIR_TRY(weir__gguf_check_tensors(r->g, r->f, m, r->err));
    m->t5.act = m->t5.gated ? WEIR_ACT_GELU_TANH : WEIR_ACT_RELU;
    return read_ids(r->g, r->f, m, r->err);
}
