#ifndef WEIR_KERNELS_LOOP_LOOKUP_IMPL_H
#define WEIR_KERNELS_LOOP_LOOKUP_IMPL_H

#include "kernels/accept/sweep/qp.h"
#include "kernels/loop/lookup.h"

/* Internal to the loop: the tokens of a block by prompt lookup. The includer has declared the type
 * weir_scan_env, what a scan runs on, and
 *   weir_match weir__scan(const weir_scan_env *env, const int32_t *history, int32_t n, int32_t from,
 *                         int32_t longest);                                   weir__match_scan of all entries
 *   void weir__scan_append(const weir_scan_env *env, int32_t *at, int32_t token);
 *                                  *at = token, which the next scan reads; no scan follows another without it
 * On a device every thread of a block runs this with equal values. */

/* The match of n + 1 entries, the last one what `m`, the match of the n before, found. Where m is shorter
 * than `longest` nothing else has to be looked at: whatever matches n + 1 entries matched n of them with one
 * token less, so that m and its next entry are still the longest and, of equals, the latest. A suffix of
 * `longest` tokens may have been seen later than that. */
WEIR_STEP_FN weir_match weir__match_next(const weir_scan_env *env, const int32_t *history, int32_t n,
                                         weir_match m, int32_t longest) {
    const bool capped = m.length == longest;
    m.at++;
    if (history[m.at] < 0) return weir__scan(env, history, n + 1, 1, longest);
    if (!capped) {
        m.length++;
        return m;
    }
    return weir__match_best(m, weir__scan(env, history, n + 1, m.at + 1, longest));
}

/* The drafts of a seat whose n_draft says how many it wants at most, and one more where its bonus may need a
 * row; as many as are found, none after an end of text. They are in the history then, too. */
WEIR_STEP_FN int32_t weir__lookup_tokens(const weir_scan_env *env, const weir_loop *l, const weir_seat *s,
                                         int32_t token[WEIR_GAMMA_MAX + 1]) {
    const int32_t longest = l->lookup.longest, want = s->n_draft + (s->bonus_from < INT32_MAX);
    int32_t *history = weir__seat_history(l, s), n = s->before + s->n, found = 0;
    if (s->n_draft == 0 || !history) return 0;
    weir_match m = weir__scan(env, history, n, 1, longest);
    while (m.length >= l->lookup.shortest) {
        const int32_t x = history[m.at];
        token[found++] = x;
        if (found == want || weir__seat_ends_text(s, x)) break;
        weir__scan_append(env, &history[n], x);
        m = weir__match_next(env, history, n++, m, longest);
    }
    return found;
}

#endif /* WEIR_KERNELS_LOOP_LOOKUP_IMPL_H */
