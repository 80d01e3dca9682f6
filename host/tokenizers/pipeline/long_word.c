/* Merging of a long word: a list of symbols for each rank, taken in the order of ranks. What merging brings
 * to the rank at hand, or to one before it (which vocabularies that were trained as they should have none
 * of), goes through the heap. */
#include <string.h>

#include "host/tokenizers/pipeline/merge.h"
#include "kernels/base/mem.h"

static weir_status reserve_ranks(weir__merger *m, size_t n_rank, weir_err *err) {
    m->n_heap = m->n_waiting = 0;
    m->unused = -1;
    if (m->n_rank < n_rank) {
        weir_free(m->first);
        m->n_rank = 0;
        m->first = weir_alloc(n_rank, sizeof *m->first);
        if (!m->first) return weir_fail(err, WEIR_ENOMEM, "no memory for %zu ranks", n_rank);
        m->n_rank = n_rank;
    }
    memset(m->first, 0xff, n_rank * sizeof *m->first);
    return WEIR_OK;
}

static weir_status add_block(weir__merger *m, uint32_t rank, weir_err *err) {
    int32_t at = m->unused;
    if (at >= 0) {
        m->unused = m->waiting[at].next;
    } else {
        if (m->n_waiting == m->waiting_cap)
            WEIR_TRY(weir__merger_grow(&m->waiting, m->n_waiting, &m->waiting_cap, sizeof *m->waiting, err));
        at = (int32_t)m->n_waiting++;
    }
    m->waiting[at].next = m->first[rank];
    m->waiting[at].n = 0;
    m->first[rank] = at;
    return WEIR_OK;
}

static weir_status wait_for(weir__merger *m, uint32_t rank, int32_t left, weir_err *err) {
    if (m->first[rank] < 0 || m->waiting[m->first[rank]].n == WEIR__WAITING)
        WEIR_TRY(add_block(m, rank, err));
    weir__waiting *w = &m->waiting[m->first[rank]];
    w->left[w->n++] = left;
    return WEIR_OK;
}

/* now: the current rank. */
static weir_status offer(weir__merger *m, int32_t left, const char *word, weir__merge_rule *rule,
                         const void *ud, int64_t now, weir_err *err) {
    if (left < 0 || m->symbols[left].next < 0) return WEIR_OK;
    const weir__symbol *l = &m->symbols[left], *r = &m->symbols[l->next];
    weir__bigram x = {.left = left, .n = l->n + r->n};
    if (!rule(ud, word, l, r, &x.rank, &x.merged)) return WEIR_OK;
    return (int64_t)x.rank > now ? wait_for(m, x.rank, left, err) : weir__merger_keep(m, x, err);
}

/* ---- the symbols of one rank --------------------------------------------------------------------------- */

static weir_status reserve_batch(weir__merger *m, size_t n, weir_err *err) {
    if (n <= m->batch_cap) return WEIR_OK;
    weir_free(m->batch);
    weir_free(m->room);
    m->batch_cap = n + n / 2;
    m->batch = weir_alloc(m->batch_cap, sizeof *m->batch);
    m->room = weir_alloc(m->batch_cap, sizeof *m->room);
    if (m->batch && m->room) return WEIR_OK;
    m->batch_cap = 0;
    return weir_fail(err, WEIR_ENOMEM, "no memory to merge %zu symbols", n);
}

/* By bytes, the least first; bytes that all have in common are passed over. */
static void sort(int32_t **list, int32_t **room, size_t n) {
    for (unsigned shift = 0; shift < 32; shift += 8) {
        size_t at[257] = {0};
        for (size_t i = 0; i < n; i++) at[((uint32_t)(*list)[i] >> shift & 255) + 1]++;
        if (at[((uint32_t)(*list)[0] >> shift & 255) + 1] == n) continue;
        for (int k = 1; k <= 256; k++) at[k] += at[k - 1];
        for (size_t i = 0; i < n; i++) (*room)[at[(uint32_t)(*list)[i] >> shift & 255]++] = (*list)[i];
        int32_t *t = *list;
        *list = *room;
        *room = t;
    }
}

static void sort_few(int32_t *list, size_t n) {
    for (size_t i = 1; i < n; i++) {
        const int32_t x = list[i];
        size_t k = i;
        for (; k > 0 && list[k - 1] > x; k--) list[k] = list[k - 1];
        list[k] = x;
    }
}

/* Takes the list of a rank, in the order of the word. */
static weir_status take_batch(weir__merger *m, size_t rank, size_t *n_out, weir_err *err) {
    size_t n = 0;
    bool sorted = true;
    for (int32_t at = m->first[rank]; at >= 0; at = m->waiting[at].next) n += (size_t)m->waiting[at].n;
    WEIR_TRY(reserve_batch(m, n, err));
    size_t k = n; /* the last that came are the first of the list */
    for (int32_t at = m->first[rank], next; at >= 0; at = next) {
        weir__waiting *w = &m->waiting[at];
        next = w->next;
        k -= (size_t)w->n;
        memcpy(m->batch + k, w->left, (size_t)w->n * sizeof *w->left);
        w->next = m->unused;
        m->unused = at;
    }
    for (size_t i = 1; i < n && sorted; i++) sorted = m->batch[i - 1] <= m->batch[i];
    m->first[rank] = -1;
    if (!sorted && n < 64)
        sort_few(m->batch, n);
    else if (!sorted)
        sort(&m->batch, &m->room, n);
    *n_out = n;
    return WEIR_OK;
}

/* ---- run ----------------------------------------------------------------------------------------------- */

static weir_status join(weir__merger *m, int32_t left, int32_t merged, const char *word,
                        weir__merge_rule *rule, const void *ud, size_t now, weir_err *err) {
    weir__merger_join(m, left, merged);
    WEIR_TRY(offer(m, m->symbols[left].prev, word, rule, ud, (int64_t)now, err));
    return offer(m, left, word, rule, ud, (int64_t)now, err);
}

/* What the heap has before (rank, left). */
static weir_status run_heap(weir__merger *m, const char *word, weir__merge_rule *rule, const void *ud,
                            size_t rank, int32_t left, weir_err *err) {
    while (m->n_heap > 0 && (m->heap[0].rank < rank || (m->heap[0].rank == rank && m->heap[0].left < left))) {
        const weir__bigram x = weir__merger_least(m);
        const weir__symbol *l = &m->symbols[x.left];
        if (l->n == 0 || l->next < 0 || l->n + m->symbols[l->next].n != x.n) continue;
        WEIR_TRY(join(m, x.left, x.merged, word, rule, ud, rank, err));
    }
    return WEIR_OK;
}

static weir_status run_rank(weir__merger *m, const char *word, weir__merge_rule *rule, const void *ud,
                            size_t rank, weir_err *err) {
    enum { AHEAD = 8 }; /* symbols of one rank are far apart */
    size_t n;
    uint32_t now;
    int32_t merged;
    WEIR_TRY(take_batch(m, rank, &n, err));
    for (size_t i = 0; i < n; i++) {
        const int32_t left = m->batch[i];
        if (i + AHEAD < n) __builtin_prefetch(&m->symbols[m->batch[i + AHEAD]]);
        WEIR_TRY(run_heap(m, word, rule, ud, rank, left, err));
        const weir__symbol *l = &m->symbols[left];
        if (l->n == 0 || l->next < 0) continue;
        /* It waited for the neighbours that it had then: only those that it has now count. */
        if (!rule(ud, word, l, &m->symbols[l->next], &now, &merged) || now != rank) continue;
        WEIR_TRY(join(m, left, merged, word, rule, ud, rank, err));
    }
    return run_heap(m, word, rule, ud, rank, INT32_MAX, err);
}

weir_status weir__merger_run_long(weir__merger *m, const char *word, weir__merge_rule *rule, const void *ud,
                                  size_t n_rank, weir_err *err) {
    WEIR_TRY(reserve_ranks(m, n_rank, err));
    for (size_t i = 0; i + 1 < m->n_symbol; i++) WEIR_TRY(offer(m, (int32_t)i, word, rule, ud, -1, err));
    for (size_t rank = 0; rank < n_rank; rank++)
        if (m->first[rank] >= 0) WEIR_TRY(run_rank(m, word, rule, ud, rank, err));
    return WEIR_OK;
}
