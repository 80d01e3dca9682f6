#include "host/tokenizers/vocab/vocab.h"

#include <string.h>

#include "kernels/base/mem.h"

/* ---- strings ------------------------------------------------------------------------------------------- */

void weir__vocab_free(weir__vocab *v) {
    weir_free(v->text);
    weir_free(v->at);
    weir_free(v->score);
    weir_free(v->kind);
    weir_free(v->slots);
    memset(v, 0, sizeof *v);
}

/* FNV-1a, its bits mixed once more: tokens share long beginnings. */
static size_t hash_bytes(const char *s, size_t n) {
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < n; i++) h = (h ^ (uint8_t)s[i]) * 0x100000001b3u;
    return (size_t)(h ^ h >> 29);
}

static void put_slot(weir__vocab *v, int32_t i) {
    size_t k = hash_bytes(weir__vocab_text(v, i), weir__vocab_bytes(v, i));
    while (v->slots[k & (v->n_slot - 1)] != 0) k++;
    v->slots[k & (v->n_slot - 1)] = (uint32_t)i + 1;
}

/* Moves n elements of `size` bytes into a block of cap; false: nothing has changed. */
static bool grow(void *block, size_t n, size_t cap, size_t size) {
    void *old, *more = weir_alloc(cap, size);
    if (!more) return false;
    memcpy(&old, block, sizeof old); /* block is a pointer to a pointer of any type */
    if (n) memcpy(more, old, n * size);
    weir_free(old);
    memcpy(block, &more, sizeof more);
    return true;
}

static bool grow_slots(weir__vocab *v, size_t n) {
    size_t n_slot = 16;
    while (n_slot < 2 * n) n_slot *= 2;
    if (n_slot <= v->n_slot) return true;
    uint32_t *slots = weir_calloc(n_slot, sizeof *slots);
    if (!slots) return false;
    uint32_t *old = v->slots;
    const size_t n_old = v->n_slot;
    v->slots = slots;
    v->n_slot = n_slot;
    for (size_t k = 0; k < n_old; k++)
        if (old[k] != 0) put_slot(v, (int32_t)(old[k] - 1));
    weir_free(old);
    return true;
}

weir_status weir__vocab_reserve(weir__vocab *v, size_t n, weir_err *err) {
    if (n > WEIR__MAX_TOKENS)
        return weir_fail(err, WEIR_EFORMAT, "%zu tokens, expected at most %d", n, WEIR__MAX_TOKENS);
    if (n <= (size_t)v->cap && v->at) return WEIR_OK;
    const size_t have = (size_t)v->n, ends = v->at ? have + 1 : 0;
    if (!grow(&v->at, ends, n + 1, sizeof *v->at) || !grow(&v->score, have, n, sizeof *v->score) ||
        !grow(&v->kind, have, n, sizeof *v->kind) || !grow_slots(v, n))
        return weir_fail(err, WEIR_ENOMEM, "no memory for %zu tokens", n);
    if (ends == 0) v->at[0] = 0;
    v->cap = (int32_t)n;
    return WEIR_OK;
}

static weir_status reserve_text(weir__vocab *v, size_t more, weir_err *err) {
    if (more <= v->text_cap - v->text_n) return WEIR_OK;
    const size_t cap = v->text_n + more + v->text_cap / 2 + 256;
    if (cap > UINT32_MAX)
        return weir_fail(err, WEIR_EFORMAT, "tokens of more than %u bytes in all", UINT32_MAX);
    if (!grow(&v->text, v->text_n, cap, 1))
        return weir_fail(err, WEIR_ENOMEM, "no memory for the text of tokens");
    v->text_cap = cap;
    return WEIR_OK;
}

weir_status weir__vocab_add(weir__vocab *v, const char *s, size_t n, weir__token_kind kind, float score,
                            weir_err *err) {
    const int32_t twin = weir__vocab_find(v, s, n), i = v->n;
    if (twin >= 0)
        return weir_fail(err, WEIR_EFORMAT, "tokens %d and %d are both \"%.*s\"", twin, v->n,
                         n < 60 ? (int)n : 60, s);
    WEIR_TRY(weir__vocab_add_apart(v, s, n, kind, score, err));
    if (n > 0) put_slot(v, i);
    if (n > v->longest) v->longest = n;
    return WEIR_OK;
}

weir_status weir__vocab_add_apart(weir__vocab *v, const char *s, size_t n, weir__token_kind kind, float score,
                                  weir_err *err) {
    if (n > WEIR__MAX_TOKEN_BYTES)
        return weir_fail(err, WEIR_EFORMAT, "token %d has %zu bytes, expected at most %d", v->n, n,
                         WEIR__MAX_TOKEN_BYTES);
    if (v->n == v->cap) WEIR_TRY(weir__vocab_reserve(v, (size_t)v->cap * 2 + 16, err));
    WEIR_TRY(reserve_text(v, n + 1, err));
    const int32_t i = v->n;
    if (n) memcpy(v->text + v->text_n, s, n);
    v->text[v->text_n + n] = '\0';
    v->text_n += n + 1;
    v->at[i + 1] = (uint32_t)v->text_n;
    v->kind[i] = (uint8_t)kind;
    v->score[i] = score;
    v->n++;
    return WEIR_OK;
}

int32_t weir__vocab_find(const weir__vocab *v, const char *s, size_t n) {
    if (n == 0 || n > v->longest) return -1;
    for (size_t k = hash_bytes(s, n);; k++) {
        const uint32_t slot = v->slots[k & (v->n_slot - 1)];
        if (slot == 0) return -1;
        const int32_t i = (int32_t)(slot - 1);
        if (weir__vocab_bytes(v, i) == n && memcmp(weir__vocab_text(v, i), s, n) == 0) return i;
    }
}

/* ---- pairs --------------------------------------------------------------------------------------------- */

void weir__pairs_free(weir__pairs *p) {
    weir_free(p->slots);
    memset(p, 0, sizeof *p);
}

weir_status weir__pairs_reserve(weir__pairs *p, size_t n, weir_err *err) {
    size_t n_slot = 16;
    while (n_slot < 2 * n) n_slot *= 2;
    p->slots = weir_alloc(n_slot, sizeof *p->slots);
    if (!p->slots) return weir_fail(err, WEIR_ENOMEM, "no memory for %zu merges", n);
    for (size_t i = 0; i < n_slot; i++) p->slots[i].left = -1;
    p->n_slot = n_slot;
    return WEIR_OK;
}

static weir__pair *pair_slot(const weir__pairs *p, int32_t left, int32_t right) {
    uint64_t h = ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) * 0x9e3779b97f4a7c15u;
    for (size_t k = (size_t)(h >> 20);; k++) {
        weir__pair *x = &p->slots[k & (p->n_slot - 1)];
        if (x->left < 0 || (x->left == left && x->right == right)) return x;
    }
}

void weir__pairs_add(weir__pairs *p, weir__pair x) {
    weir__pair *slot = pair_slot(p, x.left, x.right);
    if (slot->left >= 0) return;
    *slot = x;
    p->n++;
}

const weir__pair *weir__pairs_find(const weir__pairs *p, int32_t left, int32_t right) {
    if (left < 0 || right < 0 || p->n == 0) return NULL;
    const weir__pair *x = pair_slot(p, left, right);
    return x->left < 0 ? NULL : x;
}
