#include "host/tokenizers/pipeline/unigram.h"

#include <stdlib.h>
#include <string.h>

#include "host/tokenizers/text/utf8.h"
#include "host/tokenizers/vocab/trie.h"
#include "kernels/base/mem.h"

struct weir__unigram {
    weir__trie tokens;  /* by their bytes */
    int32_t first[256]; /* node of a first byte, -1: no token begins so */
    double *score;      /* (n) */
    double unk_score;
    int32_t unk_id;
};

/* ---- open ---------------------------------------------------------------------------------------------- */

static int by_text(const void *a, const void *b, void *vocab) {
    const weir__vocab *v = vocab;
    const int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    const size_t nx = weir__vocab_bytes(v, x), ny = weir__vocab_bytes(v, y);
    const int c = memcmp(weir__vocab_text(v, x), weir__vocab_text(v, y), nx < ny ? nx : ny);
    return c != 0 ? c : (nx > ny) - (nx < ny);
}

static size_t common(const weir__vocab *v, int32_t a, int32_t b) {
    const char *x = weir__vocab_text(v, a), *y = weir__vocab_text(v, b);
    const size_t nx = weir__vocab_bytes(v, a), ny = weir__vocab_bytes(v, b);
    size_t k = 0;
    while (k < nx && k < ny && x[k] == y[k]) k++;
    return k;
}

/* In the order of their texts, a token needs a node for each byte that it does not share with the one before.
 * */
static size_t count_nodes(const weir__vocab *v, const int32_t *sorted, int32_t n) {
    size_t nodes = 1;
    for (int32_t i = 0; i < n; i++)
        nodes += weir__vocab_bytes(v, sorted[i]) - (i > 0 ? common(v, sorted[i - 1], sorted[i]) : 0);
    return nodes;
}

static void add_token(weir__unigram *u, const weir__vocab *v, int32_t id) {
    const uint8_t *s = (const uint8_t *)weir__vocab_text(v, id);
    int32_t node = 0;
    for (size_t i = 0; i < weir__vocab_bytes(v, id); i++) node = weir__trie_grow(&u->tokens, node, s[i]);
    if (node > 0) u->tokens.value[node] = id;
}

static weir_status build(weir__unigram *u, const weir__vocab *v, int32_t *sorted, int32_t n, weir_err *err) {
    for (int32_t i = 0; i < n; i++) sorted[i] = i;
    qsort_r(sorted, (size_t)n, sizeof *sorted, by_text, (void *)(uintptr_t)v);
    WEIR_TRY(weir__trie_reserve(&u->tokens, count_nodes(v, sorted, n), err));
    for (int32_t i = 0; i < n; i++) add_token(u, v, sorted[i]);
    for (int32_t b = 0; b < 256; b++) u->first[b] = weir__trie_next(&u->tokens, 0, b);
    return WEIR_OK;
}

weir_status weir__unigram_new(weir__unigram **out, const weir__vocab *v, const double *scores, int32_t n,
                              int32_t unk_id, weir_err *err) {
    static const double PENALTY = 10; /* of an unknown character, below the least score */
    weir__unigram *u = weir_calloc(1, sizeof *u);
    int32_t *sorted = weir_alloc((size_t)n, sizeof *sorted);
    if (u) u->score = weir_alloc((size_t)n, sizeof *u->score);
    weir_status s = WEIR_OK;
    if (!u || !sorted || !u->score) s = weir_fail(err, WEIR_ENOMEM, "no memory for %d tokens", (int)n);
    if (s == WEIR_OK) s = build(u, v, sorted, n, err);
    weir_free(sorted);
    if (s != WEIR_OK) {
        weir__unigram_free(u);
        return s;
    }
    double least = n > 0 ? scores[0] : 0;
    for (int32_t i = 1; i < n; i++) least = scores[i] < least ? scores[i] : least;
    memcpy(u->score, scores, (size_t)n * sizeof *scores);
    u->unk_score = least - PENALTY;
    u->unk_id = unk_id;
    *out = u;
    return WEIR_OK;
}

void weir__unigram_free(weir__unigram *u) {
    if (!u) return;
    weir__trie_free(&u->tokens);
    weir_free(u->score);
    weir_free(u);
}

void weir__lattice_free(weir__lattice *l) {
    weir_free(l->nodes);
    memset(l, 0, sizeof *l);
}

/* ---- search -------------------------------------------------------------------------------------------- */

static weir_status reserve(weir__lattice *l, size_t n, weir_err *err) {
    if (n + 1 > l->cap) {
        weir_free(l->nodes);
        l->cap = n + 1 + n / 2;
        l->nodes = weir_alloc(l->cap, sizeof *l->nodes);
        if (!l->nodes) {
            l->cap = 0;
            return weir_fail(err, WEIR_ENOMEM, "no memory for a word of %zu bytes", n);
        }
    }
    for (size_t i = 0; i <= n; i++) l->nodes[i].id = -1;
    l->nodes[0].score = 0;
    return WEIR_OK;
}

/* A cut into [from, to) is taken where it is the first or a better one. */
static void offer(weir__lattice *l, size_t from, size_t to, double score, int32_t id) {
    weir__lattice_node *node = &l->nodes[to];
    score += l->nodes[from].score;
    if (node->id >= 0 && score <= node->score) return;
    *node = (weir__lattice_node){score, id, (uint32_t)from};
}

weir_status weir__unigram_search(const weir__unigram *u, weir__lattice *l, const char *word, size_t n,
                                 weir_err *err) {
    WEIR_TRY(reserve(l, n, err));
    for (size_t at = 0, character; at < n; at += character) {
        bool whole = false; /* the character is a token */
        character = weir__utf8_length(word[at]);
        if (character > n - at) character = n - at;
        int32_t node = 0;
        for (size_t end = at; end < n;) {
            const uint8_t byte = (uint8_t)word[end];
            node = end++ == at ? u->first[byte] : weir__trie_next(&u->tokens, node, byte);
            if (node < 0) break;
            const int32_t id = u->tokens.value[node];
            if (id < 0) continue;
            whole |= end - at == character;
            offer(l, at, end, u->score[id], id);
        }
        if (whole) continue;
        if (u->unk_id < 0)
            return weir_fail(err, WEIR_EINVAL,
                             "text: a character has no token, and the vocabulary has no unk_id");
        offer(l, at, at + character, u->unk_score, u->unk_id);
    }
    return WEIR_OK;
}
