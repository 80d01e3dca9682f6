/* Mixtures of experts in GGUF files: what their keys and tensors say, and what is refused. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "tests/formats/gguf_made.h"

static const made mixtures[] = {{.arch = "llama", .n_layer = 2, .experts = 5},
                                {.arch = "qwen2moe", .n_layer = 2, .experts = 3},
                                {.arch = "qwen3moe", .n_layer = 2, .experts = 7}};

static weir_gguf_model read_made(const made *m, weir_gguf **g, gguf_blob *b) {
    weir_gguf_model out;
    weir_err err = {""};
    *g = open_made(m, b);
    cr_assert_eq(weir__gguf_read_model(*g, &out, &err), WEIR_OK, "%s: %s", m->arch, err.text);
    return out;
}

Test(gguf_experts, families) {
    for (int i = 0; i < 3; i++) {
        gguf_blob b;
        weir_gguf *g;
        weir_model_facts f;
        weir_err err = {""};
        const weir_gguf_model m = read_made(&mixtures[i], &g, &b);
        const weir_decoder_config *c = &m.config;
        const weir_expert_config *e = &c->experts;
        cr_expect(e->n == mixtures[i].experts && e->n_used == EXPERTS_USED &&
                  e->names == WEIR_EXPERTS_STACKED);
        cr_expect_eq(e->ff_dim, i == 0 ? FF : EXPERT_FF);
        cr_expect_eq(e->shared_ff, i == 1 ? SHARED_FF : 0);
        cr_expect_eq(e->normed, i != 1);
        cr_expect(c->qk_norm == (i == 2) && c->rope.interleaved == (i == 0) && !c->dense[0] && !c->dense[1]);
        cr_expect_str_eq(m.architecture, mixtures[i].arch);
        const weir_tensor_source src = weir__gguf_source(g);
        cr_expect_eq(weir__decoder_measure(c, &src, (weir_place){0}, &f, &err), WEIR_OK, "%s: %s",
                     mixtures[i].arch, err.text);
        const int64_t each = 3 * (i == 0 ? FF : EXPERT_FF) * DIM;
        cr_expect(f.n_param > 2 * e->n * each && f.n_param < 2 * (e->n + 1) * each + 200000);
        weir__gguf_close(g);
        gguf_free(&b);
    }
}

/* llama.cpp's defaults, where a file does not say how wide experts are. */
Test(gguf_experts, widths_follow_from_the_feed_forward) {
    static const char *const left_out[] = {"expert_feed_forward_length", "expert_shared_feed_forward_length"};
    for (int i = 0; i < 2; i++) {
        gguf_blob b;
        weir_gguf *g;
        made m = mixtures[1];
        m.skip = left_out[i];
        const weir_gguf_model out = read_made(&m, &g, &b);
        cr_expect_eq(out.config.experts.ff_dim, i == 0 ? FF / EXPERTS_USED : EXPERT_FF);
        cr_expect_eq(out.config.experts.shared_ff, i == 1 ? FF : SHARED_FF);
        weir__gguf_close(g);
        gguf_free(&b);
    }
}

static uint32_t count, used;
static void more_counts(gguf_blob *b, const char *arch) {
    gguf_u32(b, key_of(arch, "expert_count"), count);
    gguf_u32(b, key_of(arch, "expert_used_count"), used);
}

Test(gguf_experts, counts_out_of_range_are_refused) {
    static const struct {
        const char *arch;
        uint32_t count, used;
        const char *part;
    } t[] = {{"qwen3moe", 0, 1, "qwen3moe.expert_count = 0, expected 1 to 1024"},
             {"qwen3moe", 1025, 2, "qwen3moe.expert_count = 1025"},
             {"qwen3moe", 8, 0, "qwen3moe.expert_used_count = 0, expected 1 to 8"},
             {"qwen3moe", 8, 9, "qwen3moe.expert_used_count = 9"},
             {"llama", 64, 33, "llama.expert_used_count = 33, expected 1 to 32"},
             {"llama", 8, 2, "tensor blk.0.ffn_down.weight is not one of a llama"}}; /* a dense one's */
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        count = t[i].count, used = t[i].used;
        expect_refused(&(made){.arch = t[i].arch, .n_layer = 1, .more = more_counts},
                       i == 5 ? WEIR_ENOTSUP : WEIR_EFORMAT, t[i].part);
    }
    expect_refused(&(made){.arch = "qwen2moe", .n_layer = 1}, WEIR_EFORMAT, "no key qwen2moe.expert_count");
    made m = mixtures[2];
    m.skip = "expert_used_count";
    expect_refused(&m, WEIR_EFORMAT, "no key qwen3moe.expert_used_count");
    m = mixtures[0];
    m.stray = "blk.0.ffn_gate.3.weight"; /* the form of 2023: a tensor for each expert */
    expect_refused(&m, WEIR_ENOTSUP, "tensor blk.0.ffn_gate.3.weight is not one of a llama");
    m.stray = "blk.0.ffn_gate_shexp.weight";
    expect_refused(&m, WEIR_ENOTSUP, "tensor blk.0.ffn_gate_shexp.weight is not one of a llama");
}

/* Found when the model is measured: the tensor is named, and what was expected of it. */
Test(gguf_experts, tensors_that_are_missing_or_misshapen_are_named) {
    static const char *const names[] = {"ffn_gate_exps", "ffn_up_exps",        "ffn_down_exps",
                                        "ffn_gate_inp",  "ffn_gate_inp_shexp", "ffn_down_shexp"};
    for (int i = 0; i < 6; i++) {
        for (int how = 0; how < 2; how++) {
            gguf_blob b;
            weir_gguf *g;
            char name[64];
            int64_t two[] = {DIM, EXPERT_FF, 2};
            weir_model_facts f;
            weir_err err = {""};
            made m = mixtures[1];
            snprintf(name, sizeof name, "blk.1.%s.weight", names[i]);
            m.skip = name;
            if (how == 1) m.stray = name, m.stray_dims = 3, m.stray_shape = two;
            const weir_gguf_model out = read_made(&m, &g, &b);
            const weir_tensor_source src = weir__gguf_source(g);
            cr_expect_eq(weir__decoder_measure(&out.config, &src, (weir_place){0}, &f, &err), WEIR_EFORMAT);
            cr_expect(strstr(err.text, "model.layers.1.mlp."), "%s: %s", name, err.text);
            cr_expect(strstr(err.text, how ? "file has (2, 32, 64)" : "missing; want ("), "%s: %s", name,
                      err.text);
            weir__gguf_close(g);
            gguf_free(&b);
        }
    }
}
