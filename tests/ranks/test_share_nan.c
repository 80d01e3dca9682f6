/* NaN in one rank's share: a session ends as it does on one rank, and the group lives on. */
#include <criterion/criterion.h>
#include <string.h>

#include "host/state.h"
#include "tests/host/pairs/tiny_pair.h"

/* On 2 and 4 ranks the last one owns these: the last of 4 heads, the second half of the feed-forward, and the
 * ids from 1,024. */
enum { HEAD = 60, COLUMN = 100, ID = 1050, DIM = 64 };

static weir_engine *open_ranks(const tiny_pair *p, int tp) {
    weir_engine_options o = tiny_options(p, "cpu", 1);
    weir_engine *e = NULL;
    weir_err err = {""};
    o.tp = o.draft_tp = tp;
    o.comm_timeout = 60.0;
    cr_assert_eq(weir_engine_open(&e, &o, &err), WEIR_OK, "%s", err.text);
    const weir_share *h = &e->pair.side[0].facts.share;
    cr_assert(tp == 1 || (h->n_head * 16 <= HEAD && h->n_ff <= COLUMN && h->n_id <= ID));
    return e;
}

static weir_session_options setting(weir_method method) {
    weir_session_options o = method_options(method, 20);
    o.ignore_eos = true;
    return o;
}

/* The line of a session on this prompt, which fails at its first token. */
static void expect_failure(weir_engine *e, weir_method method, const int32_t *prompt, size_t n,
                           weir_err *err) {
    const weir_session_options o = setting(method);
    weir_session *s = NULL;
    weir_session_view v;
    cr_assert_eq(weir_session_create(e, &o, prompt, n, NULL, NULL, &s, err), WEIR_OK, "%s", err->text);
    cr_expect_eq(weir_step(e, &s, 1, 10, err), WEIR_ELOGITS, "%s", err->text);
    weir_session_get(s, &v);
    cr_expect(v.finish == WEIR_FINISH_CANCELLED && v.n == 0);
    weir_session_free(s);
}

static const weir_method methods[] = {WEIR_METHOD_SPECULATIVE, WEIR_METHOD_VERIFIER, WEIR_METHOD_DRAFTER};
enum { METHODS = 3 };

/* Partial sums, activations of a head, columns of logits: whatever is exchanged carries it to rank 0. */
Test(share_nan, in_a_matrix_ends_every_session_with_the_words_of_one_rank) {
    static const tiny_flaw flaws[] = {{"decoder.block.0.layer.0.SelfAttention.o.weight", HEAD},
                                      {"decoder.block.0.layer.1.EncDecAttention.v.weight", HEAD * DIM},
                                      {"encoder.block.0.layer.1.DenseReluDense.wo.weight", COLUMN},
                                      {"lm_head.weight", ID * DIM}};
    static const int32_t prompt[] = {17, 233, 401, 8, 1};
    for (size_t i = 0; i < sizeof flaws / sizeof *flaws; i++) {
        tiny_pair p;
        weir_err want[METHODS + 1], got;
        tiny_pair_write(&p, WEIR_DTYPE_F32, &flaws[i]);
        for (int tp = 1; tp <= 4; tp *= 2) {
            weir_engine *e = open_ranks(&p, tp);
            float scores[2];
            for (int m = 0; m < METHODS; m++) {
                expect_failure(e, methods[m], prompt, 5, tp == 1 ? &want[m] : &got);
                cr_expect(tp == 1 || strcmp(got.text, want[m].text) == 0, "%s, %d ranks: %s", flaws[i].tensor,
                          tp, got.text);
            }
            weir_err *err = tp == 1 ? &want[METHODS] : &got;
            cr_expect_eq(weir_score(e, prompt, 3, prompt + 3, 2, scores, err), WEIR_ELOGITS);
            cr_expect(tp == 1 || strcmp(got.text, want[METHODS].text) == 0, "%s, %d ranks: %s",
                      flaws[i].tensor, tp, got.text);
            weir_engine_close(e);
        }
        tiny_pair_remove(&p);
    }
}

/* The embedding of one id: only a prompt that has it fails. Others, in the same pages, write what they write
 * on one rank, and the group goes on until it is closed. */
Test(share_nan, in_an_embedding_ends_the_prompts_that_have_it) {
    static const int32_t broken[] = {17, ID, 8, 1};
    static answer want[METHODS], got;
    weir_err first = {""}, err;
    tiny_pair p;
    tiny_pair_write(&p, WEIR_DTYPE_F32, &(tiny_flaw){"shared.weight", ID * DIM});
    for (int tp = 1; tp <= 4; tp *= 2) {
        weir_engine *e = open_ranks(&p, tp);
        for (int m = 0; m < METHODS; m++) {
            const weir_session_options o = setting(methods[m]);
            expect_failure(e, methods[m], broken, 4, &err);
            if (!first.text[0]) first = err;
            cr_expect_str_eq(err.text, first.text, "%d ranks: %s", tp, err.text);
            tiny_run(e, &o, m, tp == 1 ? &want[m] : &got);
            if (tp > 1) answer_assert_same(&want[m], &got, "after a prompt with NaN");
        }
        weir_engine_close(e);
    }
    tiny_pair_remove(&p);
}
