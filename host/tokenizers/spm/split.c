#include "host/tokenizers/spm/split.h"

#include <string.h>

#include "host/tokenizers/text/utf8.h"
#include "host/tokenizers/text/white.h"
#include "kernels/base/mem.h"

/* ---- the set ------------------------------------------------------------------------------------------- */

void weir__split_set_free(weir__split_set *s) {
    weir__vocab_free(&s->texts);
    weir__trie_free(&s->trie);
    weir_free(s->ids);
    memset(s, 0, sizeof *s);
}

static weir_status grow_ids(weir__split_set *s, weir_err *err) {
    const size_t n = (size_t)s->texts.cap;
    int32_t *more = weir_alloc(n, sizeof *more);
    if (!more) return weir_fail(err, WEIR_ENOMEM, "no memory for %zu added tokens", n);
    if (s->n_id) memcpy(more, s->ids, s->n_id * sizeof *more);
    weir_free(s->ids);
    s->ids = more;
    s->n_id = n;
    return WEIR_OK;
}

weir_status weir__split_set_put(weir__split_set *s, const char *text, size_t bytes, int32_t id,
                                unsigned flags, weir_err *err) {
    int32_t i = weir__vocab_find(&s->texts, text, bytes);
    if (bytes == 0) return WEIR_OK; /* would be found everywhere */
    if (i < 0) {
        WEIR_TRY(weir__vocab_add(&s->texts, text, bytes, (weir__token_kind)flags, 0, err));
        i = s->texts.n - 1;
        if ((size_t)i >= s->n_id) WEIR_TRY(grow_ids(s, err));
    }
    s->ids[i] = id;
    s->texts.kind[i] = (uint8_t)flags;
    return WEIR_OK;
}

static size_t step(const char *s, size_t n, int32_t *cp) {
    bool broken = false;
    uint32_t c;
    const size_t k = weir__utf8_step(s, n, &c, &broken);
    *cp = (int32_t)c;
    return k;
}

weir_status weir__split_set_finish(weir__split_set *s, weir_err *err) {
    WEIR_TRY(weir__trie_reserve(&s->trie, s->texts.text_n, err));
    for (int32_t i = 0; i < s->texts.n; i++) {
        const char *text = weir__vocab_text(&s->texts, i);
        const size_t n = weir__vocab_bytes(&s->texts, i);
        int32_t node = 0, cp;
        for (size_t at = 0; at < n;) {
            at += step(text + at, n - at, &cp);
            node = weir__trie_grow(&s->trie, node, cp);
        }
        s->trie.value[node] = i;
    }
    return WEIR_OK;
}

/* ---- parts --------------------------------------------------------------------------------------------- */

void weir__slow_parts_free(weir__slow_parts *p) {
    for (size_t i = 0; i < p->n; i++) weir_free(p->list[i].owned);
    weir_free(p->list);
    memset(p, 0, sizeof *p);
}

static weir_status add_part(weir__slow_parts *p, const char *text, size_t begin, size_t end, weir_err *err) {
    if (begin >= end) return WEIR_OK;
    if (p->n == p->cap) {
        const size_t cap = p->cap + p->cap / 2 + 16;
        weir__slow_part *more = weir_alloc(cap, sizeof *more);
        if (!more) return weir_fail(err, WEIR_ENOMEM, "no memory for %zu parts of a text", cap);
        if (p->n) memcpy(more, p->list, p->n * sizeof *more);
        weir_free(p->list);
        p->list = more;
        p->cap = cap;
    }
    p->list[p->n++] =
        (weir__slow_part){.s = text + begin, .n = end - begin, .begin = begin, .end = end, .id = -1};
    return WEIR_OK;
}

/* a = a b, or b = a b; the other is empty afterwards. */
static weir_status join(weir__slow_part *a, weir__slow_part *b, bool into_a, weir_err *err) {
    char *s = weir_alloc(a->n + b->n, 1);
    if (!s) return weir_fail(err, WEIR_ENOMEM, "no memory for a text of %zu bytes", a->n + b->n);
    memcpy(s, a->s, a->n);
    memcpy(s + a->n, b->s, b->n);
    const weir__slow_part both = {
        .s = s, .n = a->n + b->n, .begin = a->begin, .end = b->end, .id = -1, .owned = s};
    weir_free(a->owned);
    weir_free(b->owned);
    *a = *b = (weir__slow_part){.id = -1};
    *(into_a ? a : b) = both;
    return WEIR_OK;
}

/* ---- the search ---------------------------------------------------------------------------------------- */

/* A place where a token may have begun, and how far it has come. */
typedef struct state {
    size_t start;
    int32_t node;
} state;

typedef struct search {
    const weir__split_set *set;
    const char *text;
    size_t n;
    const weir__ranges *special;
    state *states; /* by their starts; at most one for each character of the longest token, and one */
    size_t n_state, cap;
    size_t skip;       /* what is before it is taken */
    size_t start, end; /* of the token found */
} search;

static bool ends_token(const search *f, int32_t node, size_t start, size_t end) {
    const int32_t i = f->set->trie.value[node];
    if (i < 0) return false;
    return !(f->set->texts.kind[i] & WEIR__ADDED_SPECIAL) || weir__ranges_hold(f->special, start, end);
}

/* How long a token from `start` can get, whose node is that of the text before `at`. */
static void look_ahead(search *f, size_t start, int32_t node, size_t at) {
    int32_t cp;
    if (ends_token(f, node, start, at)) {
        f->start = start;
        f->end = f->skip = at;
    }
    while (at < f->n) {
        const size_t k = step(f->text + at, f->n - at, &cp);
        node = weir__trie_next(&f->set->trie, node, cp);
        if (node < 0) return;
        at += k;
        if (!ends_token(f, node, start, at)) continue;
        f->start = start;
        f->end = f->skip = at;
    }
}

/* State i ends a token before `at`, whose character has k bytes. One that began earlier wins if it ends too;
 * it skips the unread rest of that character, as in the original. */
static void take_longest(search *f, size_t i, size_t at, size_t k) {
    f->start = f->states[i].start;
    f->end = at;
    for (size_t j = 0; j <= i && f->states[j].start <= f->start; j++)
        look_ahead(f, f->states[j].start, f->states[j].node, j < i ? at + k : at);
}

/* The character at `at`; true: a token was found. */
static bool advance(search *f, size_t at, size_t k, int32_t cp, bool *gone) {
    for (size_t i = 0; i < f->n_state; i++) {
        gone[i] = false;
        if (ends_token(f, f->states[i].node, f->states[i].start, at)) {
            take_longest(f, i, at, k);
            f->n_state = 0;
            return true;
        }
        const int32_t next = weir__trie_next(&f->set->trie, f->states[i].node, cp);
        gone[i] = next < 0;
        if (next >= 0) f->states[i].node = next;
    }
    size_t left = 0;
    for (size_t i = 0; i < f->n_state; i++)
        if (!gone[i]) f->states[left++] = f->states[i];
    f->n_state = left;
    return false;
}

static weir_status cut(search *f, bool *gone, weir__slow_parts *out, weir_err *err) {
    size_t from = 0, k;
    int32_t cp;
    for (size_t at = 0; at < f->n; at += k) {
        k = step(f->text + at, f->n - at, &cp);
        if (at < f->skip) continue;
        if (advance(f, at, k, cp, gone)) {
            if (f->start >= from) {
                WEIR_TRY(add_part(out, f->text, from, f->start, err));
                from = f->start;
            }
            if (f->end >= from) {
                WEIR_TRY(add_part(out, f->text, from, f->end, err));
                from = f->end;
            }
        }
        const int32_t node = at >= f->skip ? weir__trie_next(&f->set->trie, 0, cp) : -1;
        if (node >= 0 && f->n_state < f->cap) f->states[f->n_state++] = (state){at, node};
    }
    for (size_t i = 0; i < f->n_state; i++) {
        if (!ends_token(f, f->states[i].node, f->states[i].start, f->n)) continue;
        WEIR_TRY(add_part(out, f->text, from, f->states[i].start, err));
        from = f->states[i].start;
        break;
    }
    return add_part(out, f->text, from, f->n, err);
}

/* ---- flags --------------------------------------------------------------------------------------------- */

static int32_t token_of(const weir__split_set *s, const weir__slow_part *p, const weir__ranges *special) {
    const int32_t i = weir__vocab_find(&s->texts, p->s, p->n);
    const bool counts =
        i >= 0 && (!(s->texts.kind[i] & WEIR__ADDED_SPECIAL) || weir__ranges_hold(special, p->begin, p->end));
    return counts ? i : -1;
}

static weir_status apply_flags(const weir__split_set *s, unsigned flags, weir__slow_parts *p, size_t i,
                               weir_err *err) {
    (void)s;
    weir__slow_part *left = i > 0 ? &p->list[i - 1] : NULL, *right = i + 1 < p->n ? &p->list[i + 1] : NULL;
    const bool touches_left = left && left->n > 0 && left->s[left->n - 1] != ' ';
    const bool touches_right = right && right->n > 0 && right->s[0] != ' ';
    if ((flags & WEIR__ADDED_RSTRIP) && right) weir__white_strip_left(&right->s, &right->n);
    if ((flags & WEIR__ADDED_LSTRIP) && left) weir__white_strip_right(left->s, &left->n);
    if (!(flags & WEIR__ADDED_WORD)) return WEIR_OK;
    if (touches_left) return join(left, &p->list[i], true, err);
    return touches_right ? join(&p->list[i], right, false, err) : WEIR_OK;
}

weir_status weir__slow_split(const weir__split_set *s, const char *text, size_t n,
                             const weir__ranges *special, weir__slow_parts *out, weir_err *err) {
    search f = {.set = s, .text = text, .n = n, .special = special, .cap = s->texts.longest + 1};
    f.states = weir_alloc(f.cap, sizeof *f.states);
    bool *gone = weir_alloc(f.cap, sizeof *gone);
    weir_status st = f.states && gone ? cut(&f, gone, out, err)
                                      : weir_fail(err, WEIR_ENOMEM, "no memory to find added tokens");
    weir_free(f.states);
    weir_free(gone);
    for (size_t i = 0; i < out->n && st == WEIR_OK; i++) {
        const int32_t token = token_of(s, &out->list[i], special);
        if (token >= 0) st = apply_flags(s, s->texts.kind[token], out, i, err);
    }
    for (size_t i = 0; i < out->n && st == WEIR_OK; i++) {
        const int32_t token = token_of(s, &out->list[i], special);
        if (token >= 0) out->list[i].id = s->ids[token];
    }
    return st;
}
