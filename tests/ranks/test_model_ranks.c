/* Models over 1, 2, 4 and 8 ranks: the logits of one rank, bit for bit. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "tests/ranks/model_ranks.h"
#include "tests/support/build.h"

static void check_both(subject s, weir_isa isa, weir_dtype dtype) {
    if (isa > weir__isa_best()) cr_skip("this machine has no %s", weir__isa_name(isa));
    s.isa = isa, s.dtype = dtype;
    for (int i = 0; i < 2; i++) {
        if (build_is_sanitized() && i != (dtype == WEIR_DTYPE_BF16)) continue;
        s.whole_body = i == 1;
        model_check_ranks(&s, WEIR_RANKS);
    }
}

static void check_all(subject s, weir_isa isa) {
    check_both(s, isa, WEIR_DTYPE_F32);
    check_both(s, isa, WEIR_DTYPE_BF16);
}

Test(model_ranks, fourteen_heads_on_two_of_keys) {
    check_all(model_qwen(), WEIR_ISA_PORTABLE);
    check_all(model_qwen(), weir__isa_best());
}
Test(model_ranks, fewer_heads_than_ranks) {
    check_all(model_gemma(), WEIR_ISA_PORTABLE);
    check_all(model_gemma(), weir__isa_best());
}
Test(model_ranks, heads_that_divide) { check_all(model_llama(), weir__isa_best()); }
Test(model_ranks, multipliers_and_fused_tensors) {
    check_all(model_granite(), WEIR_ISA_PORTABLE);
    check_all(model_granite(), WEIR_ISA_AVX2);
    check_all(model_granite(), weir__isa_best());
}
Test(model_ranks, norms_over_all_heads) {
    check_all(model_olmo(), WEIR_ISA_PORTABLE);
    check_all(model_olmo(), WEIR_ISA_AVX2);
    check_all(model_olmo(), weir__isa_best());
    check_all(model_few_olmo(), weir__isa_best());
}
Test(model_ranks, experts) {
    check_all(model_mixture(), WEIR_ISA_PORTABLE);
    check_all(model_mixture(), WEIR_ISA_AVX2);
    check_all(model_mixture(), weir__isa_best());
}
Test(model_ranks, fewer_experts_than_ranks) {
    check_all(model_few_experts(), WEIR_ISA_PORTABLE);
    check_all(model_few_experts(), weir__isa_best());
}
Test(model_ranks, avx2_too) { check_all(model_qwen(), WEIR_ISA_AVX2); }
Test(model_ranks, t5_gated_with_a_head_of_its_own) {
    check_all(model_t5(6, 16, true, false), WEIR_ISA_PORTABLE);
    check_all(model_t5(6, 16, true, false), weir__isa_best());
}
Test(model_ranks, t5gemma) {
    check_all(model_t5gemma(), WEIR_ISA_PORTABLE);
    check_all(model_t5gemma(), weir__isa_best());
}
Test(model_ranks, t5_tied) { check_all(model_t5(8, 8, false, true), weir__isa_best()); }

/* ---- in blocks ---- */

Test(model_ranks, blocks_of_32) {
    static const weir_dtype dtype[] = {WEIR_DTYPE_Q8_0, WEIR_DTYPE_Q4_0, WEIR_DTYPE_Q5_1};
    for (int i = 0; i < 3; i++) check_both(model_small_blocks(), weir__isa_best(), dtype[i]);
    for (int isa = 0; isa < (int)weir__isa_best(); isa++)
        check_both(model_small_blocks(), (weir_isa)isa, dtype[isa % 3]);
}

Test(model_ranks, blocks_of_256) {
    subject slow = model_large_blocks();
    slow.isa = WEIR_ISA_PORTABLE, slow.dtype = WEIR_DTYPE_Q6_K, slow.decoder.n_layer = 1;
    model_check_ranks(&slow, WEIR_RANKS);
    check_both(model_large_blocks(), weir__isa_best(), WEIR_DTYPE_Q6_K);
    check_both(model_large_blocks(), weir__isa_best(), WEIR_DTYPE_Q4_K);
}

/* What quantisers keep finer: the ids, a layer's down, which then decides where all layers are cut. */
Test(model_ranks, blocks_of_two_sizes) {
    static const char *const redtyped[] = {"lm_head.weight", "model.embed_tokens.weight",
                                           "model.layers.1.mlp.down_proj.weight",
                                           "model.layers.0.self_attn.v_proj.weight"};
    for (int i = 0; i < 4; i++) {
        subject s = model_large_blocks();
        s.redtyped = redtyped[i], s.other = WEIR_DTYPE_Q6_K;
        check_both(s, weir__isa_best(), i == 2 ? WEIR_DTYPE_Q8_0 : WEIR_DTYPE_Q4_K);
    }
}

/* ---- shares ---- */

/* Every head, column and id has one owner, in order; KV heads are those that the heads read. Weights of the
 * largest rank: a share, and what every rank has (here the embedding's last chunk makes the difference). */
Test(model_ranks, shares_cover_the_model_once) {
    subject all[] = {model_qwen(),
                     model_gemma(),
                     model_llama(),
                     model_t5(6, 16, true, false),
                     model_t5(8, 8, false, true),
                     model_t5gemma()};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        subject *s = &all[i];
        s->isa = weir__isa_best(), s->dtype = WEIR_DTYPE_BF16;
        const bool is_t5 = s->t5.n_head > 0;
        const int64_t n_vocab = is_t5 ? s->t5.n_vocab_rows : s->decoder.n_vocab_rows,
                      n_ff = is_t5 ? s->t5.ff_dim : s->decoder.ff_dim;
        const int32_t n_head = is_t5 ? s->t5.n_head : s->decoder.n_head,
                      n_kv = is_t5 ? s->t5.n_head : s->decoder.n_head_kv;
        s->logits = calloc((size_t)RANK_CALLS * FAKE_ROW * (size_t)n_vocab, sizeof *s->logits);
        for (int n_rank = 1; n_rank <= WEIR_RANKS; n_rank *= 2) {
            group_run(n_rank, 60.0, model_on_rank, s);
            int32_t head = 0;
            int64_t ff = 0, id = 0;
            for (int r = 0; r < n_rank; r++) {
                const weir_share *h = &s->share[r];
                cr_expect(h->n_head == 0 || h->head == head);
                cr_expect(h->n_ff == 0 || h->ff == ff);
                cr_expect(h->n_id == 0 || h->id == id);
                cr_expect(r + 1 == n_rank || h->n_id % 1024 == 0);
                if (h->n_head > 0) {
                    cr_expect_eq(h->head_kv, h->head / (n_head / n_kv));
                    cr_expect_eq(h->head_kv + h->n_head_kv - 1, (h->head + h->n_head - 1) / (n_head / n_kv));
                }
                head += h->n_head, ff += h->n_ff, id += h->n_id;
            }
            cr_expect_eq(head, n_head);
            cr_expect_eq(ff, n_ff);
            cr_expect_eq(id, n_vocab);
        }
        free(s->logits);
    }
}

/* What a rank gives in exchanges, against the formula that the memory plan prints: a row of a call gives dim
 * floats to every reduction and one embedding row; logits come once, from the other ranks. */
Test(model_ranks, bytes_exchanged_are_those_of_the_model) {
    subject s = model_llama();
    s.isa = weir__isa_best(), s.dtype = WEIR_DTYPE_BF16;
    s.logits = calloc((size_t)RANK_CALLS * FAKE_ROW * (size_t)s.decoder.n_vocab_rows, sizeof *s.logits);
    group_run(4, 60.0, model_on_rank, &s);
    const uint64_t dim = (uint64_t)s.decoder.dim * sizeof(float), layers = (uint64_t)s.decoder.n_layer;
    /* prompts of 81 and 7 rows stop before the last layer's products; calls of 12, 7 and 12 rows drop those
     * without logits after the last layer's keys */
    const uint64_t rows = 12 + 7 + 12, wanted = 9 + 5 + 9, prompt = 81 + 7;
    const uint64_t sums = prompt * 2 * (layers - 1) + rows * 2 * (layers - 1) + wanted * 2;
    cr_expect_eq(s.bytes, dim * (sums + rows + prompt), "%lu, want %lu", (unsigned long)s.bytes,
                 (unsigned long)(dim * (sums + rows + prompt)));
    free(s.logits);
}
