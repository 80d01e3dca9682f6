#include "host/tokenizers/pipeline/merge.h"

#include <string.h>

#include "kernels/base/mem.h"

void weir__merger_free(weir__merger *m) {
    weir_free(m->symbols);
    weir_free(m->heap);
    weir_free(m->first);
    weir_free(m->waiting);
    weir_free(m->batch);
    weir_free(m->room);
    memset(m, 0, sizeof *m);
}

weir_status weir__merger_grow(void *block, size_t n, size_t *cap, size_t size, weir_err *err) {
    void *old, *more = weir_alloc(*cap * 2 + 64, size);
    if (!more) return weir_fail(err, WEIR_ENOMEM, "no memory to merge %zu symbols", n);
    memcpy(&old, block, sizeof old); /* block is a pointer to a pointer of either type */
    if (n) memcpy(more, old, n * size);
    weir_free(old);
    memcpy(block, &more, sizeof more);
    *cap = *cap * 2 + 64;
    return WEIR_OK;
}

weir_status weir__merger_push(weir__merger *m, size_t n, int32_t id, weir_err *err) {
    if (m->n_symbol == m->symbol_cap)
        WEIR_TRY(weir__merger_grow(&m->symbols, m->n_symbol, &m->symbol_cap, sizeof *m->symbols, err));
    const int32_t i = (int32_t)m->n_symbol++;
    weir__symbol *s = &m->symbols[i];
    *s = (weir__symbol){.n = (uint32_t)n, .id = id, .prev = i - 1, .next = -1};
    if (i > 0) {
        s->at = s[-1].at + s[-1].n;
        s[-1].next = i;
    }
    return WEIR_OK;
}

/* ---- the heap: least first ----------------------------------------------------------------------------- */

static bool before(const weir__bigram *a, const weir__bigram *b) {
    return a->rank < b->rank || (a->rank == b->rank && a->left < b->left);
}

/* Four children per node: half the levels of two, and the four fit in one or two cache lines. */
weir_status weir__merger_keep(weir__merger *m, weir__bigram x, weir_err *err) {
    if (m->n_heap == m->heap_cap)
        WEIR_TRY(weir__merger_grow(&m->heap, m->n_heap, &m->heap_cap, sizeof *m->heap, err));
    size_t i = m->n_heap++;
    for (; i > 0 && before(&x, &m->heap[(i - 1) / 4]); i = (i - 1) / 4) m->heap[i] = m->heap[(i - 1) / 4];
    m->heap[i] = x;
    return WEIR_OK;
}

weir__bigram weir__merger_least(weir__merger *m) {
    const weir__bigram top = m->heap[0], last = m->heap[--m->n_heap];
    size_t i = 0;
    for (size_t k; (k = 4 * i + 1) < m->n_heap; i = k) {
        const size_t end = k + 4 < m->n_heap ? k + 4 : m->n_heap;
        for (size_t j = k + 1; j < end; j++)
            if (before(&m->heap[j], &m->heap[k])) k = j;
        if (!before(&m->heap[k], &last)) break;
        m->heap[i] = m->heap[k];
    }
    if (m->n_heap > 0) m->heap[i] = last;
    return top;
}

/* ---- merging ------------------------------------------------------------------------------------------- */

static weir_status offer(weir__merger *m, int32_t left, int32_t right, const char *word,
                         weir__merge_rule *rule, const void *ud, weir_err *err) {
    if (left < 0 || right < 0) return WEIR_OK;
    const weir__symbol *l = &m->symbols[left], *r = &m->symbols[right];
    weir__bigram x = {.left = left, .n = l->n + r->n};
    if (!rule(ud, word, l, r, &x.rank, &x.merged)) return WEIR_OK;
    return weir__merger_keep(m, x, err);
}

void weir__merger_join(weir__merger *m, int32_t left, int32_t merged) {
    weir__symbol *l = &m->symbols[left], *r = &m->symbols[l->next];
    l->n += r->n;
    l->id = merged;
    l->next = r->next;
    r->n = 0;
    if (l->next >= 0) m->symbols[l->next].prev = left;
}

weir_status weir__merger_run(weir__merger *m, const char *word, weir__merge_rule *rule, const void *ud,
                             weir_err *err) {
    m->n_heap = 0;
    for (size_t i = 1; i < m->n_symbol; i++)
        WEIR_TRY(offer(m, (int32_t)i - 1, (int32_t)i, word, rule, ud, err));
    while (m->n_heap > 0) {
        const weir__bigram x = weir__merger_least(m);
        const weir__symbol *l = &m->symbols[x.left];
        if (l->n == 0 || l->next < 0) continue;
        const weir__symbol *r = &m->symbols[l->next];
        if (l->n + r->n != x.n) continue;
        weir__merger_join(m, x.left, x.merged);
        WEIR_TRY(offer(m, l->prev, x.left, word, rule, ud, err));
        WEIR_TRY(offer(m, x.left, l->next, word, rule, ud, err));
    }
    return WEIR_OK;
}
