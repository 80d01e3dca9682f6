#include "tests/models/t5_fixture.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const golden_names[] = {"gated_f32",      "relu_f32",    "gelu_f32",     "silu_f32",
                                    "gated_bf16",     "mixed_bf16",  "relu_f16",     "umt5_f32",
                                    "umt5_tied_bf16", "t5gemma_f32", "t5gemma_bf16", NULL};

static weir_status create(fixture *f, weir_err *err) {
    const weir_tensor_source src = weir__checkpoint_source(&f->ck);
    const weir_t5gemma_config both = {&f->ck.encoder, &f->ck.decoder};
    return f->ck.kind == WEIR_FAMILY_T5
               ? weir__t5_create(&f->m, f->be, &f->ck.t5, &src, false, FIX_ROW, FIX_PROMPT, err)
               : weir__t5gemma_create(&f->m, f->be, &both, &src, false, FIX_ROW, FIX_PROMPT, err);
}

static weir_backend *cpu(weir_isa isa, int n_thread) {
    weir_backend *be = NULL;
    cr_assert_eq(weir__backend_cpu_open(&be, n_thread, isa, NULL), WEIR_OK);
    return be;
}

void t5_open(fixture *f, const char *dir, weir_isa isa, int n_thread) {
    t5_open_on(f, dir, cpu(isa, n_thread));
}

void t5_open_on(fixture *f, const char *dir, weir_backend *be) {
    weir_err err = {""};
    memset(f, 0, sizeof *f);
    f->be = be;
    cr_assert_eq(weir__checkpoint_open(&f->ck, dir, false, &err), WEIR_OK, "%s", err.text);
    cr_assert_eq(create(f, &err), WEIR_OK, "%s", err.text);
    cr_assert(f->ck.start_id == 0 && f->ck.ignored[0] == '\0', "%s", f->ck.ignored);
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
    f->dev_cross_len = backend_zeros(f->be, sizeof f->cross_len);
    f->dev_rows = backend_zeros(f->be, 4 * FIX_ROW * sizeof *f->dev_rows);
    f->dev_logits = backend_zeros(f->be, (size_t)FIX_ROW * (size_t)f->n_vocab * sizeof *f->dev_logits);
    f->kv = (weir_kv){.self = *weir__kv_pool_view(f->self),
                      .cross = *weir__kv_pool_view(f->cross),
                      .cross_len = f->dev_cross_len};
}

void t5_open_golden_on(fixture *f, const char *name, weir_backend *be) {
    char dir[512];
    snprintf(dir, sizeof dir, WEIR_SOURCE_DIR "/tests/golden/t5/%s", name);
    t5_open_on(f, dir, be);
}

void t5_open_golden(fixture *f, const char *name, weir_isa isa, int n_thread) {
    t5_open_golden_on(f, name, cpu(isa, n_thread));
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
    const call_room room = {.be = f->be,
                            .m = f->m,
                            .self = f->self,
                            .kv = &f->kv,
                            .dev_rows = f->dev_rows,
                            .dev_logits = f->dev_logits,
                            .n_row = FIX_ROW,
                            .n_vocab = f->n_vocab,
                            .group = f->group};
    return call_rows(&room, r, n, out, n_out, logits);
}

void t5_rows_of(row *r, int32_t slot, int32_t first, int32_t n, const int32_t *token) {
    for (int32_t i = 0; i < n; i++) {
        const int32_t pos = first + i;
        r[i] = (row){slot, pos, pos == 0 ? 0 : token[pos - 1]};
    }
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
