#include "host/tokenizers/spm/spm_check.h"

#include <math.h>
#include <string.h>

#include "host/tokenizers/spm/wire.h"
#include "kernels/base/mem.h"

enum {
    MAX_PIECES = 1 << 24,
    MAX_PIECE_BYTES = 4096, /* the library's trie builder recurses once a byte */
    MAX_MATCHES = 32,       /* Normalizer::kMaxTrieResultsSize: a fixed array on its stack */
};

/* ---- the normaliser's double array --------------------------------------------------------------------- */

/* A unit of the double array (Darts-clone): its label, the distance to its children's base, whether the unit
 * at that base is a value. A unit q with label c is a child of the base q ^ c and of no other, so each unit
 * is one edge from that base to its own, and the reachable part must be without cycles. */
static uint32_t unit_label(uint32_t u) { return u & (1u << 31 | 0xff); }
static uint32_t unit_offset(uint32_t u) { return (u >> 10) << ((u & 1u << 9) >> 6); }
static bool unit_has_leaf(uint32_t u) { return u >> 8 & 1; }
static uint32_t unit_value(uint32_t u) { return u & 0x7fffffff; }

typedef struct trie {
    const uint8_t *units; /* unaligned little-endian */
    uint32_t n;
    size_t n_text;   /* bytes of the strings that values point into */
    uint32_t *first; /* (n + 1) children of base b: child[first[b] … first[b + 1]) */
    uint32_t *child;
    uint32_t *next;  /* (n) walk: next child to look at */
    uint32_t *stack; /* (n) walk: bases on the path */
    uint8_t *state;  /* (n) 0 unseen, 1 on the path, 2 done */
    uint8_t *depth;  /* (n) most values on any path below the base */
} trie;

static uint32_t unit_at(const trie *t, uint32_t i) {
    const uint8_t *p = t->units + (size_t)i * 4;
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void trie_free(trie *t) {
    weir_free(t->first);
    weir_free(t->child);
    weir_free(t->next);
    weir_free(t->stack);
    weir_free(t->state);
    weir_free(t->depth);
}

/* Children by base, counted and then filled; units with a label past a byte are values. */
static bool trie_index(trie *t) {
    t->first = weir_calloc((size_t)t->n + 1, sizeof *t->first);
    t->child = weir_alloc(t->n, sizeof *t->child);
    t->next = weir_alloc(t->n, sizeof *t->next);
    t->stack = weir_alloc(t->n, sizeof *t->stack);
    t->state = weir_calloc(t->n, sizeof *t->state);
    t->depth = weir_calloc(t->n, sizeof *t->depth);
    if (!t->first || !t->child || !t->next || !t->stack || !t->state || !t->depth) return false;

    for (uint32_t q = 0; q < t->n; q++) {
        uint32_t c = unit_label(unit_at(t, q)), b = q ^ c;
        if (c <= 0xff && b < t->n) t->first[b + 1]++;
    }
    for (uint32_t b = 0; b < t->n; b++) t->first[b + 1] += t->first[b];
    memcpy(t->next, t->first, t->n * sizeof *t->next);
    for (uint32_t q = 0; q < t->n; q++) {
        uint32_t c = unit_label(unit_at(t, q)), b = q ^ c;
        if (c <= 0xff && b < t->n) t->child[t->next[b]++] = q;
    }
    memcpy(t->next, t->first, t->n * sizeof *t->next);
    return true;
}

/* The base that unit q leads to; a search may look at any of the 256 units of its block. */
static const char *trie_target(const trie *t, uint32_t q, uint32_t *base) {
    uint32_t u = unit_at(t, q), b = q ^ unit_offset(u);
    if (b >= t->n || (b | 0xff) >= t->n) return "its trie leads out of bounds";
    if (unit_has_leaf(u) && unit_value(unit_at(t, b)) >= t->n_text)
        return "its trie has a value out of bounds";
    *base = b;
    return NULL;
}

/* Depth-first over what is reachable from the root, without recursion. NULL if all is well. */
static const char *trie_walk(trie *t) {
    uint32_t base, top = 0;
    const char *why = trie_target(t, 0, &base);
    if (why) return why;
    t->stack[top++] = base;
    t->state[base] = 1;
    while (top > 0) {
        uint32_t b = t->stack[top - 1];
        if (t->next[b] == t->first[b + 1]) {
            t->state[b] = 2;
            top--;
            continue;
        }
        uint32_t q = t->child[t->next[b]];
        if ((why = trie_target(t, q, &base)) != NULL) return why;
        if (t->state[base] == 1) return "its trie runs in a circle";
        if (t->state[base] == 0) {
            t->state[base] = 1;
            t->stack[top++] = base;
            continue; /* q again when its base is done */
        }
        unsigned d = t->depth[base] + (unit_has_leaf(unit_at(t, q)) ? 1u : 0u);
        if (d > MAX_MATCHES) return "its trie has too many matches on one path";
        if (d > t->depth[b]) t->depth[b] = (uint8_t)d;
        t->next[b]++;
    }
    return NULL;
}

/* precompiled_charsmap: u32 size of the double array, the array, zero-terminated strings. */
static weir_status check_charsmap(weir__wire s, const char *label, weir_err *err) {
    size_t n = (size_t)(s.end - s.at);
    if (n == 0) return WEIR_OK;
    const char *why = NULL;
    trie t = {0};
    uint32_t size = 0;
    if (n >= 4)
        size = (uint32_t)s.at[0] | (uint32_t)s.at[1] << 8 | (uint32_t)s.at[2] << 16 | (uint32_t)s.at[3] << 24;
    if (n < 4 || size >= n - 4 || size < 4)
        why = "its sizes do not fit";
    else if (s.end[-1] != 0)
        why = "its strings are not terminated";
    if (!why) {
        t.units = s.at + 4;
        t.n = size / 4;
        t.n_text = n - 4 - size;
        if (!trie_index(&t)) {
            trie_free(&t);
            return weir_fail(err, WEIR_ENOMEM, "%s: no memory to check its normaliser", label);
        }
        why = trie_walk(&t);
        trie_free(&t);
    }
    if (why) return weir_fail(err, WEIR_EFORMAT, "%s: broken normaliser: %s", label, why);
    return WEIR_OK;
}

/* ---- messages ------------------------------------------------------------------------------------------ */

static weir_status fail_wire(weir_err *err, const char *label) {
    return weir_fail(err, WEIR_EFORMAT, "%s: not a SentencePiece model, or a damaged one", label);
}

static weir_status check_piece(weir__wire s, int id, const char *label, weir_err *err) {
    weir__wire_field f;
    while (s.at < s.end) {
        if (!weir__wire_next(&s, &f)) return fail_wire(err, label);
        if (f.number == 1 && f.type == 2) {
            size_t n = (size_t)(f.bytes.end - f.bytes.at);
            if (n > MAX_PIECE_BYTES)
                return weir_fail(err, WEIR_EFORMAT, "%s: piece %d has %zu bytes, expected at most %d", label,
                                 id, n, MAX_PIECE_BYTES);
            if (memchr(f.bytes.at, 0, n))
                return weir_fail(err, WEIR_EFORMAT, "%s: piece %d holds a zero byte", label, id);
        } else if (f.number == 2 && f.type == 5) {
            float score;
            memcpy(&score, &f.fixed32, 4);
            if (!isfinite(score))
                return weir_fail(err, WEIR_EFORMAT, "%s: score of piece %d is not finite", label, id);
        }
    }
    return WEIR_OK;
}

static weir_status check_normalizer(weir__wire s, const char *label, weir_err *err) {
    weir__wire_field f;
    while (s.at < s.end) {
        if (!weir__wire_next(&s, &f)) return fail_wire(err, label);
        if (f.number == 2 && f.type == 2) WEIR_TRY(check_charsmap(f.bytes, label, err));
    }
    return WEIR_OK;
}

weir_status weir__spm_check(const void *model, size_t bytes, const char *label, weir_err *err) {
    weir__wire s = {model, (const uint8_t *)model + bytes};
    weir__wire_field f;
    int n_piece = 0;
    while (s.at < s.end) {
        if (!weir__wire_next(&s, &f)) return fail_wire(err, label);
        if (f.type != 2) continue;
        if (f.number == 1) {
            if (n_piece == MAX_PIECES)
                return weir_fail(err, WEIR_EFORMAT, "%s: more than %d pieces", label, MAX_PIECES);
            WEIR_TRY(check_piece(f.bytes, n_piece++, label, err));
        } else if (f.number == 3 || f.number == 5) {
            WEIR_TRY(check_normalizer(f.bytes, label, err));
        }
    }
    if (n_piece == 0) return fail_wire(err, label);
    return WEIR_OK;
}
