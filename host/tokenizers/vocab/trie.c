#include "host/tokenizers/vocab/trie.h"

#include <string.h>

#include "kernels/base/mem.h"

void weir__trie_free(weir__trie *t) {
    weir__pairs_free(&t->edges);
    weir_free(t->value);
    memset(t, 0, sizeof *t);
}

weir_status weir__trie_reserve(weir__trie *t, size_t nodes, weir_err *err) {
    if (nodes > INT32_MAX) return weir_fail(err, WEIR_EFORMAT, "a trie of %zu nodes", nodes);
    WEIR_TRY(weir__pairs_reserve(&t->edges, nodes, err));
    t->value = weir_alloc(nodes + 1, sizeof *t->value);
    if (!t->value) return weir_fail(err, WEIR_ENOMEM, "no memory for a trie of %zu nodes", nodes);
    t->cap = nodes + 1;
    t->value[0] = -1;
    t->n = 1;
    return WEIR_OK;
}

int32_t weir__trie_next(const weir__trie *t, int32_t node, int32_t symbol) {
    const weir__pair *x = weir__pairs_find(&t->edges, node, symbol);
    return x ? x->merged : -1;
}

int32_t weir__trie_grow(weir__trie *t, int32_t node, int32_t symbol) {
    const int32_t next = weir__trie_next(t, node, symbol);
    if (next >= 0) return next;
    const int32_t made = (int32_t)t->n++;
    t->value[made] = -1;
    weir__pairs_add(&t->edges, (weir__pair){.left = node, .right = symbol, .merged = made});
    return made;
}
