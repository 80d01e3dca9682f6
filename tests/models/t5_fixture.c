#include "tests/models/t5_fixture.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const golden_names[] = {"gated_f32",  "relu_f32",   "gelu_f32", "silu_f32",
                                    "gated_bf16", "mixed_bf16", "relu_f16", NULL};

static void *backend_zeros(fixture *f, size_t bytes) {
    void *p = weir__backend_alloc(f->be, bytes);
    cr_assert(p && weir__backend_zero(f->be, p, bytes) == WEIR_OK);
    return p;
}

void t5_open(fixture *f, const char *dir, weir_isa isa, int n_thread) {
    weir_backend *be = NULL;
    cr_assert_eq(weir__backend_cpu_open(&be, n_thread, isa, NULL), WEIR_OK);
    t5_open_on(f, dir, be);
}

void t5_open_on(fixture *f, const char *dir, weir_backend *be) {
    weir_err err = {""};
    memset(f, 0, sizeof *f);
    f->be = be;
    cr_assert_eq(weir__checkpoint_open(&f->ck, dir, false, &err), WEIR_OK, "%s", err.text);
    const weir_tensor_source src = weir__checkpoint_source(&f->ck);
    cr_assert_eq(weir__t5_create(&f->m, f->be, &f->ck.t5, &src, FIX_ROW, FIX_PROMPT, &err), WEIR_OK, "%s",
                 err.text);
    const weir_model_facts *x = weir__model_get_facts(f->m);
    weir_kv_shape shape = {.n_slot = FIX_SLOT,
                           .max_len = FIX_LEN,
                           .n_layer = x->n_layer_self,
                           .n_head_kv = x->n_head_kv,
                           .head_dim = x->head_dim,
                           .dtype = x->kv_dtype};
    cr_assert_eq(weir__kv_pool_create(&f->self, f->be, &shape), WEIR_OK);
    shape.max_len = FIX_PROMPT;
    shape.n_layer = x->n_layer_cross;
    cr_assert_eq(weir__kv_pool_create(&f->cross, f->be, &shape), WEIR_OK);
    f->n_vocab = x->n_vocab_rows;
    f->dev_cross_len = backend_zeros(f, sizeof f->cross_len);
    f->dev_rows = backend_zeros(f, 4 * FIX_ROW * sizeof *f->dev_rows);
    f->dev_logits = backend_zeros(f, (size_t)FIX_ROW * (size_t)f->n_vocab * sizeof *f->dev_logits);
    f->kv = (weir_kv){.self = *weir__kv_pool_view(f->self),
                      .cross = *weir__kv_pool_view(f->cross),
                      .cross_len = f->dev_cross_len};
}

void t5_open_golden(fixture *f, const char *name, weir_isa isa, int n_thread) {
    char dir[512];
    snprintf(dir, sizeof dir, WEIR_SOURCE_DIR "/tests/golden/t5/%s", name);
    t5_open(f, dir, isa, n_thread);
}

void t5_close(fixture *f) {
    weir__backend_free(f->be, f->dev_cross_len);
    weir__backend_free(f->be, f->dev_rows);
    weir__backend_free(f->be, f->dev_logits);
    weir__kv_pool_free(f->self);
    weir__kv_pool_free(f->cross);
    weir__model_free(f->m);
    weir__backend_close(f->be);
    weir__checkpoint_close(&f->ck);
}

void t5_prefill(fixture *f, int32_t slot, const int32_t *prompt, int64_t n) {
    cr_assert_eq(weir__kv_pool_resize(f->cross, slot, n), WEIR_OK);
    cr_assert_eq(weir__kv_pool_sync(f->cross), WEIR_OK);
    f->cross_len[slot] = (int32_t)n;
    cr_assert_eq(weir__backend_upload(f->be, f->dev_cross_len, f->cross_len, sizeof f->cross_len), WEIR_OK);
    cr_assert_eq(weir__model_prefill(f->m, &f->kv, slot, prompt, n), WEIR_OK);
}

weir_status t5_forward(fixture *f, const row *r, int32_t n, const int32_t *out, int32_t n_out,
                       float *logits) {
    int32_t rows[4][FIX_ROW] = {{0}};
    for (int32_t i = 0; i < n; i++) {
        rows[0][i] = r[i].token, rows[1][i] = r[i].pos, rows[2][i] = r[i].slot, rows[3][i] = i;
        if (r[i].slot >= 0 && weir__kv_pool_len(f->self, r[i].slot) <= r[i].pos) {
            cr_assert_eq(weir__kv_pool_resize(f->self, r[i].slot, r[i].pos + 1), WEIR_OK);
        }
    }
    if (out)
        memcpy(rows[3], out, (size_t)n_out * sizeof *out);
    else
        n_out = n;
    cr_assert_eq(weir__kv_pool_sync(f->self), WEIR_OK);
    cr_assert_eq(weir__backend_upload(f->be, f->dev_rows, rows, sizeof rows), WEIR_OK);
    const weir_batch b = {.token = f->dev_rows,
                          .pos = f->dev_rows + FIX_ROW,
                          .slot = f->dev_rows + 2 * FIX_ROW,
                          .n_row = n,
                          .out = f->dev_rows + 3 * FIX_ROW,
                          .n_out = n_out,
                          .logits = logits ? f->dev_logits : NULL,
                          .group = f->group};
    WEIR_TRY(weir__model_forward(f->m, &f->kv, &b));
    const size_t bytes = logits ? (size_t)n_out * (size_t)f->n_vocab * sizeof *logits : 0;
    return weir__backend_download(f->be, logits, f->dev_logits, bytes);
}

void t5_rows_of(row *r, int32_t slot, int32_t first, int32_t n, const int32_t *token) {
    for (int32_t i = 0; i < n; i++) {
        const int32_t pos = first + i;
        r[i] = (row){slot, pos, pos == 0 ? 0 : token[pos - 1]};
    }
}

double t5_logprob(const float *logits, int32_t n_vocab, int32_t token) {
    double max = -INFINITY, sum = 0.0;
    for (int32_t v = 0; v < n_vocab; v++) max = fmax(max, (double)logits[v]);
    for (int32_t v = 0; v < n_vocab; v++) sum += exp((double)logits[v] - max);
    return (double)logits[token] - max - log(sum);
}

static void read_words(FILE *f, void *to, size_t n) {
    cr_assert_eq(fread(to, 4, n, f), n, "golden.bin is cut short");
}

golden *t5_golden_read(const char *name) {
    char path[512];
    snprintf(path, sizeof path, WEIR_SOURCE_DIR "/tests/golden/t5/%s/golden.bin", name);
    FILE *f = fopen(path, "rb");
    golden *g = calloc(1, sizeof *g);
    cr_assert(f && g, "cannot read %s", path);
    read_words(f, g, 2);
    cr_assert(g->n_case <= 8 && g->n_vocab <= 256);
    for (int i = 0; i < g->n_case; i++) {
        golden_case *c = &g->c[i];
        read_words(f, c, 2);
        cr_assert(c->n_prompt <= FIX_PROMPT && c->n_completion <= FIX_ROW);
        read_words(f, c->prompt, (size_t)c->n_prompt);
        read_words(f, c->completion, (size_t)c->n_completion);
        read_words(f, c->logprobs, (size_t)c->n_completion);
        read_words(f, &c->bf16_bound, 1);
        read_words(f, c->last_logits, (size_t)g->n_vocab);
    }
    fclose(f);
    return g;
}
