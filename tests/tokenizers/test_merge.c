/* Merging of long words: what the heap makes of a word, the lists of ranks make too. */
#include <criterion/criterion.h>
#include <string.h>

#include "host/tokenizers/pipeline/merge.h"
#include "host/tokenizers/vocab/vocab.h"
#include "tests/support/alloc.h"

enum { N_SYMBOL = 6, N_RANK = 400, N_WORD = 3000 };

static uint32_t next(uint32_t *x) { return (*x = *x * 1664525u + 1013904223u) >> 8; }

/* A symbol below `known`, often one of the first. */
static uint32_t pick(uint32_t *seed, uint32_t known) {
    const uint32_t few = N_SYMBOL + 24, most = next(seed) % 4 && few < known ? few : known;
    return next(seed) % most;
}

/* Merges of symbols of a small alphabet and of what they merge into. trained: a symbol is merged further only
 * by later ranks, as in vocabularies that were trained; else any rank leads anywhere. same: ranks that
 * several merges share. */
static void make_rules(weir__pairs *p, uint32_t seed, bool trained, bool same) {
    cr_assert_eq(weir__pairs_reserve(p, N_RANK, NULL), WEIR_OK);
    for (uint32_t r = 0; r < N_RANK; r++) {
        const uint32_t known = trained ? N_SYMBOL + r : N_SYMBOL + N_RANK;
        const weir__pair x = {.left = (int32_t)pick(&seed, known),
                              .right = (int32_t)pick(&seed, known),
                              .rank = same ? r / 3 : r,
                              .merged = (int32_t)(N_SYMBOL + r)};
        weir__pairs_add(p, x);
    }
}

static bool rule(const void *ud, const char *word, const weir__symbol *left, const weir__symbol *right,
                 uint32_t *rank, int32_t *merged) {
    const weir__pair *x = weir__pairs_find(ud, left->id, right->id);
    (void)word;
    if (!x) return false;
    *rank = x->rank;
    *merged = x->merged;
    return true;
}

static void push_word(weir__merger *m, uint32_t seed, uint32_t alphabet) {
    m->n_symbol = 0;
    for (int i = 0; i < N_WORD; i++)
        cr_assert_eq(weir__merger_push(m, 1, (int32_t)(next(&seed) % alphabet), NULL), WEIR_OK);
}

static int expect_same(const weir__merger *a, const weir__merger *b, uint32_t seed) {
    int32_t i = 0, k = 0;
    int left = 0;
    for (; i >= 0 && k >= 0; i = a->symbols[i].next, k = b->symbols[k].next, left++)
        cr_assert(i == k && a->symbols[i].id == b->symbols[k].id && a->symbols[i].n == b->symbols[k].n,
                  "seed %u, symbol %d", seed, i);
    cr_assert(i < 0 && k < 0, "seed %u", seed);
    return left;
}

Test(merge, lists_of_ranks_do_what_the_heap_does) {
    static char word[N_WORD];
    weir__merger heap = {0}, lists = {0};
    long merged[2] = {0, 0};
    for (uint32_t seed = 0; seed < 200; seed++) {
        weir__pairs p = {0};
        make_rules(&p, seed, seed % 2 == 0, seed % 3 == 0);
        push_word(&heap, seed, 1 + seed % N_SYMBOL);
        push_word(&lists, seed, 1 + seed % N_SYMBOL);
        cr_assert_eq(weir__merger_run(&heap, word, rule, &p, NULL), WEIR_OK);
        cr_assert_eq(weir__merger_run_long(&lists, word, rule, &p, N_RANK, NULL), WEIR_OK);
        merged[seed % 2] += N_WORD - expect_same(&heap, &lists, seed);
        weir__pairs_free(&p);
    }
    weir__merger_free(&heap);
    weir__merger_free(&lists);
    cr_assert(merged[0] > 100 * 500 && merged[1] > 100 * 500, "%ld and %ld merges", merged[0], merged[1]);
}

Test(merge, failing_allocations_are_reported) {
    static char word[N_WORD];
    weir__pairs p = {0};
    make_rules(&p, 4, true, false);
    for (long fail = 1;; fail++) {
        weir__merger m = {0};
        push_word(&m, 4, N_SYMBOL);
        alloc_install(fail);
        const weir_status s = weir__merger_run_long(&m, word, rule, &p, N_RANK, NULL);
        alloc_uninstall();
        weir__merger_free(&m);
        cr_assert(s == WEIR_OK || s == WEIR_ENOMEM);
        if (s != WEIR_OK) continue;
        cr_assert_gt(fail, 4);
        break;
    }
    weir__pairs_free(&p);
}
