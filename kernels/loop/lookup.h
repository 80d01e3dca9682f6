#ifndef WEIR_KERNELS_LOOP_LOOKUP_H
#define WEIR_KERNELS_LOOP_LOOKUP_H

#include "kernels/loop/seat.h"

/* Prompt lookup: the search in a history, and the rows of q that a found token stands for. One source for
 * every backend. */

/* A suffix of the history and where it was seen before: entries [at - length, at) equal the last `length`
 * ones. Entry `at` is the draft. length 0: there is none. */
typedef struct weir_match {
    int32_t at, length;
} weir_match;

/* How many of the last `longest` of n entries the ones before `at` equal. */
WF_FN int32_t weir__match_length(const int32_t *history, int32_t n, int32_t at, int32_t longest) {
    int32_t k = 0;
    while (k < longest && k < at && history[at - 1 - k] == history[n - 1 - k]) k++;
    return k;
}

/* The longer one, the later one of equals. */
WF_FN weir_match weir__match_best(weir_match a, weir_match b) {
    if (a.length != b.length) return a.length > b.length ? a : b;
    return a.at > b.at ? a : b;
}

/* The best match at n - 1 - first, and every stride-th entry from there down to `from` (at least 1). None is
 * better than the first of `longest` tokens. */
WF_FN weir_match weir__match_scan(const int32_t *history, int32_t n, int32_t from, int32_t longest,
                                  int32_t first, int32_t stride) {
    weir_match best;
    best.at = best.length = 0;
    for (int32_t at = n - 1 - first; at >= from && best.length < longest; at -= stride) {
        weir_match m;
        m.at = at;
        m.length = history[at] < 0 ? 0 : weir__match_length(history, n, at, longest);
        best = weir__match_best(best, m);
    }
    return best;
}

/* ---- rows of q ----------------------------------------------------------------------------------------- */

/* Statistics of a row that is 0 at `token` and -inf elsewhere, under any law: q(token) = 1. */
WF_FN weir_row_stats weir__one_hot_stats(int32_t token) {
    weir_row_stats s;
    s.max = s.dot = s.pdot = 0.0f;
    s.argmax = token;
    s.sum = s.psum = 1.0f;
    s.thr = -INFINITY;
    s.tie = INT32_MAX;
    return s;
}

/* Draft j of seat i, its row of q and the row's statistics; j = n_draft: the row alone. */
WF_FN void weir__lookup_put(const weir_loop *l, int32_t i, const weir_seat *s, int32_t j, int32_t token) {
    float *row = weir__seat_q_row(l, i, j);
    int32_t *hot = &l->lookup.hot[(int64_t)j * l->n_seat + i];
    if (*hot >= 0) row[*hot] = -INFINITY;
    row[token] = 0.0f;
    *hot = token;
    weir__seat_q_stats(l, i)[j] = weir__one_hot_stats(token);
    if (j < s->n_draft) weir__seat_draft(l, i)[j] = token;
}

/* How many drafts a seat's block has, of n tokens that were found. */
WF_FN void weir__lookup_close(weir_seat *s, int32_t n) {
    if (n < s->n_draft) s->n_draft = n;
    s->unmatched = n <= s->n_draft;
}

#endif /* WEIR_KERNELS_LOOP_LOOKUP_H */
