/* The decoder-only families against transformers: values made by tests/golden/make_decoder.py. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/decoder/decoder.h"
#include "tests/models/decoder_fixture.h"

/* f32 sums of other orders, some 10 ulp each, through a few layers whose softmax and logits of 15 multiply
 * them: what T5's golden test allows as well. Decode rows meet bf16 weights with bf16 inputs on one ISA:
 * there the golden's own bound holds. */
static double bound_of(const fixture *f, const golden_case *c) {
    return f->be->isa >= WEIR_ISA_AVX512BF16 && f->g->bf16 ? (double)c->bf16_bound : 1e-4;
}

static double larger(double worst, double d) { return !(d <= worst) ? d : worst; } /* NaN is kept */

/* The first k positions by prefill, the others by rows, `step` a call. Log-probabilities are blind to a shift
 * of a row: the last row's logits too. */
static void check_case(fixture *f, int32_t slot, const golden_case *c, int32_t k, int32_t step) {
    static matrix logits;
    double lp = 0.0, lg = 0.0;
    if (k > 0) fixture_prefill(f, slot, c->token, k);
    fixture_run(f, slot, c->token, k, c->n - k, step, logits);
    for (int32_t i = k; i + 1 < c->n; i++) {
        const double got = logprob(logits + (int64_t)(i - k) * f->n_vocab, f->n_vocab, c->token[i + 1]);
        lp = larger(lp, fabs(got - (double)c->logprobs[i]));
    }
    const float *last = logits + (int64_t)(c->n - 1 - k) * f->n_vocab;
    for (int32_t v = 0; v < f->n_vocab; v++)
        lg = larger(lg, fabs((double)last[v] - (double)c->last_logits[v]));
    const double bound = bound_of(f, c);
    printf("%-11s %-10s prefill %3d rows %3d by %-3d  logprob error %.2e  logit error %.2e  bound %.1e\n",
           f->g->name, weir__isa_name(f->be->isa), k, c->n - k, step, lp, lg, bound);
    cr_expect(lp <= bound, "%s %d+%d: logprob error %g, bound %g", f->g->name, k, c->n - k, lp, bound);
    cr_expect(lg <= 2 * bound, "%s %d+%d: logit error %g, bound %g", f->g->name, k, c->n - k, lg, 2 * bound);
}

static void check_model(const golden_model *m, weir_isa isa, int n_thread) {
    fixture f;
    golden *g = golden_read(m);
    fixture_open(&f, m, isa, n_thread);
    cr_assert_eq(f.n_vocab, g->n_vocab);
    for (int i = 0; i < g->n_case; i++) {
        const golden_case *c = &g->c[i];
        check_case(&f, 0, c, 0, c->n);
        if (c->n == 1) continue;
        check_case(&f, 1, c, c->n / 2, 1);
        check_case(&f, 2, c, c->n - 1, 1);
        check_case(&f, 3, c, c->n == 130 ? 64 : 1, 6);
    }
    fixture_close(&f);
    free(g);
}

static void check_isa(weir_isa isa) {
    if (isa > weir__isa_best()) cr_skip("this machine has no %s", weir__isa_name(isa));
    for (const golden_model *m = golden_models(); m->name; m++) check_model(m, isa, 1);
    check_model(golden_find("gemma3_f32"), isa, 2);
}

Test(decoder_golden, agrees_with_transformers_portable) { check_isa(WEIR_ISA_PORTABLE); }
Test(decoder_golden, agrees_with_transformers_avx2) { check_isa(WEIR_ISA_AVX2); }
Test(decoder_golden, agrees_with_transformers_avx512) { check_isa(WEIR_ISA_AVX512); }
Test(decoder_golden, agrees_with_transformers_avx512bf16) { check_isa(WEIR_ISA_AVX512BF16); }
Test(decoder_golden, agrees_with_transformers_amx) { check_isa(WEIR_ISA_AMX); }

/* ---- pairs side by side, as GGUF's llama rows are stored ----------------------------------------------- */

/* Rows of q and k in GGUF's order: row 2 i + j of a head is Hugging Face's row i + j * head_dim / 2. */
typedef struct paired {
    weir_tensor_source from;
    int32_t head_dim;
    float *copy[64];
    int n;
} paired;

static bool paired_find(void *ud, const char *name, weir_tensor *out) {
    paired *p = ud;
    if (!p->from.find(p->from.ud, name, out)) return false;
    if (!strstr(name, "q_proj") && !strstr(name, "k_proj")) return true;
    float *to = malloc((size_t)(out->rows * out->cols) * sizeof *to);
    cr_assert(to && p->n < 64 && out->dtype == WEIR_DTYPE_F32);
    for (int64_t r = 0; r < out->rows; r++) {
        const int64_t i = r % p->head_dim, from = r - i + i / 2 + i % 2 * (p->head_dim / 2);
        memcpy(to + r * out->cols, (const float *)out->data + from * out->cols,
               (size_t)out->cols * sizeof *to);
    }
    out->data = p->copy[p->n++] = to;
    return true;
}

/* The same scores from sums in another order: the golden bound holds. */
Test(decoder_golden, interleaved_pairs_are_the_same_model) {
    const golden_model *g = golden_find("llama_f32");
    golden *values = golden_read(g);
    for (int isa = 0; isa <= (int)weir__isa_best(); isa++) {
        golden_model other = *g;
        fixture f;
        fixture_open(&f, g, (weir_isa)isa, 1);
        weir__model_free(f.m);
        other.c.rope.interleaved = true;
        paired p = {.from = fixture_source(f.tensors), .head_dim = g->c.head_dim};
        const weir_tensor_source src = {.find = paired_find, .ud = &p};
        cr_assert_eq(weir__decoder_create(&f.m, f.be, &other.c, &src, false, FIX_ROW, FIX_PROMPT, NULL),
                     WEIR_OK);
        check_case(&f, 0, &values->c[3], 40, 7);
        fixture_close(&f);
        for (int i = 0; i < p.n; i++) free(p.copy[i]);
        cr_expect(p.n > 0 && p.n % (2 * g->c.n_layer) == 0); /* every walk over the tensors asks for all */
    }
    free(values);
}
