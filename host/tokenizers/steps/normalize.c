#include "host/tokenizers/steps/normalize.h"

#include <string.h>

#include "host/tokenizers/steps/characters.h"
#include "host/tokenizers/text/white.h"
#include "kernels/base/mem.h"

/* ---- lists of steps ------------------------------------------------------------------------------------ */

void weir__steps_free(weir__steps *s) {
    for (int i = 0; i < s->n; i++) {
        weir__pretok_free(s->list[i].pattern);
        weir__charsmap_free(s->list[i].charsmap);
    }
    s->n = 0;
}

weir_status weir__step_add(weir__steps *s, weir__step_kind kind, const char *from, const char *to,
                           weir_err *err) {
    const size_t n_from = strlen(from), n_to = strlen(to);
    if (s->n == WEIR__MAX_STEPS)
        return weir_fail(err, WEIR_ENOTSUP, "more than %d steps on a text", WEIR__MAX_STEPS);
    if (n_from > WEIR__STEP_BYTES || n_to > WEIR__STEP_BYTES)
        return weir_fail(err, WEIR_ENOTSUP, "a step on a text has more than %d bytes", WEIR__STEP_BYTES);
    weir__step *x = &s->list[s->n++];
    *x = (weir__step){.kind = kind, .n_from = n_from, .n_to = n_to};
    memcpy(x->from, from, n_from);
    memcpy(x->to, to, n_to);
    return WEIR_OK;
}

weir_status weir__step_add_pattern(weir__steps *s, weir__pretok *pattern, const char *to, weir_err *err) {
    const weir_status st = weir__step_add(s, WEIR__STEP_REPLACE_PATTERN, "", to, err);
    if (st == WEIR_OK)
        s->list[s->n - 1].pattern = pattern;
    else
        weir__pretok_free(pattern);
    return st;
}

weir_status weir__step_add_charsmap(weir__steps *s, weir__charsmap *map, weir_err *err) {
    const weir_status st = weir__step_add(s, WEIR__STEP_CHARSMAP, "", "", err);
    if (st == WEIR_OK)
        s->list[s->n - 1].charsmap = map;
    else
        weir__charsmap_free(map);
    return st;
}

/* ---- a text and its marks ------------------------------------------------------------------------------ */

void weir__marked_free(weir__marked *t) {
    weir_free(t->text);
    weir_free(t->special.list);
    memset(t, 0, sizeof *t);
}

weir_status weir__marked_copy(weir__marked *out, const char *text, size_t bytes, const weir__ranges *special,
                              size_t from, weir_err *err) {
    memset(out, 0, sizeof *out);
    out->text = weir_alloc(bytes + 1, 1);
    if (!out->text) return weir_fail(err, WEIR_ENOMEM, "no memory for a text of %zu bytes", bytes);
    if (bytes) memcpy(out->text, text, bytes);
    out->text[bytes] = '\0';
    out->bytes = bytes;
    return special ? weir__ranges_clip(special, from, from + bytes, &out->special, err) : WEIR_OK;
}

/* Ends of ranges, in order: 2 i is where range i begins, 2 i + 1 where it ends. */
static size_t *mark(weir__ranges *r, size_t k) { return k % 2 ? &r->list[k / 2].end : &r->list[k / 2].begin; }

/* The step's result takes the text's place. */
static weir_status take(weir__marked *t, weir__out *out, weir_status s, weir_err *err) {
    if (s == WEIR_OK && !out->failed)
        s = weir__out_put(out, "", 1) ? WEIR_OK : WEIR_ENOMEM; /* the zero byte */
    if (s != WEIR_OK || out->failed) {
        weir_free(out->s);
        if (s != WEIR_OK && s != WEIR_ENOMEM) return s;
        return out->too_long
                   ? weir_fail(err, WEIR_EINVAL, "text of %zu bytes grows past %zu by its normaliser",
                               t->bytes, out->most)
                   : weir_fail(err, WEIR_ENOMEM, "no memory for a text of %zu bytes", t->bytes);
    }
    weir_free(t->text);
    t->text = out->s;
    t->bytes = out->n - 1;
    return WEIR_OK;
}

/* ---- replacing ----------------------------------------------------------------------------------------- */

typedef struct hits {
    const weir__step *step;
    weir__words words; /* of a pattern */
    size_t i;
} hits;

/* The next hit at or after `from`; false: no more. Only a faulty file has an empty `from`; then nothing is
 * replaced. */
static bool next_hit(hits *h, const weir__marked *t, size_t from, size_t *begin, size_t *end) {
    if (h->step->kind == WEIR__STEP_REPLACE_PATTERN) {
        if (h->i == h->words.n) return false;
        *begin = h->words.list[h->i].begin;
        *end = h->words.list[h->i++].end;
        return true;
    }
    const char *at =
        h->step->n_from ? memmem(t->text + from, t->bytes - from, h->step->from, h->step->n_from) : NULL;
    if (!at) return false;
    *begin = (size_t)(at - t->text);
    *end = *begin + h->step->n_from;
    return true;
}

/* Marks inside a hit move so that their range holds none of what replaces it. */
static weir_status replace(const weir__step *s, weir__marked *t, weir__out *out, weir_err *err) {
    hits h = {.step = s};
    size_t at = 0, begin = 0, end, k = 0;
    const weir_status st =
        s->pattern ? weir__pretok_split(s->pattern, t->text, t->bytes, &h.words, err) : WEIR_OK;
    for (bool more = st == WEIR_OK; more && !out->failed; at = end) {
        more = next_hit(&h, t, at, &begin, &end);
        if (!more) begin = end = t->bytes;
        for (; k < 2 * t->special.n && *mark(&t->special, k) <= begin; k++)
            *mark(&t->special, k) += out->n - at;
        weir__out_put(out, t->text + at, begin - at);
        const size_t before = out->n;
        if (more) weir__out_put(out, s->to, s->n_to);
        for (; k < 2 * t->special.n && *mark(&t->special, k) < end; k++)
            *mark(&t->special, k) = k % 2 ? before : out->n;
    }
    weir__words_free(&h.words);
    return st;
}

static void prepend(const weir__step *s, bool first, weir__marked *t, weir__out *out) {
    const bool begins = t->bytes >= s->n_to && memcmp(t->text, s->to, s->n_to) == 0;
    const bool stays = t->bytes == 0 || (s->kind != WEIR__STEP_PREPEND && begins) ||
                       (s->kind == WEIR__STEP_PREPEND_FIRST && !first);
    if (!stays) weir__out_put(out, s->to, s->n_to);
    for (size_t k = 0; k < 2 * t->special.n; k++)
        if (*mark(&t->special, k) > 0)
            *mark(&t->special, k) += out->n; /* what is put before a text belongs to its first part */
    weir__out_put(out, t->text, t->bytes);
}

static void strip(const weir__step *s, weir__marked *t, weir__out *out) {
    const bool left = s->kind == WEIR__STEP_STRIP_LEFT;
    const size_t k = left ? weir__white_at_start(t->text, t->bytes) : weir__white_at_end(t->text, t->bytes);
    const size_t begin = left ? k : 0, n = t->bytes - k;
    weir__out_put(out, t->text + begin, n);
    for (size_t i = 0; i < 2 * t->special.n; i++) {
        size_t *m = mark(&t->special, i);
        *m = *m < begin ? 0 : *m - begin;
        if (*m > n) *m = n;
    }
}

/* ---- characters ---------------------------------------------------------------------------------------- */

static bool is_normal_form(weir__step_kind kind) { return kind >= WEIR__STEP_NFC && kind <= WEIR__STEP_NFKD; }

/* Normal forms join characters across a mark: it moves to where they do not, so that its range gets smaller.
 * */
static void settle_marks(weir__marked *t) {
    for (size_t k = 0; k < 2 * t->special.n; k++) {
        size_t *m = mark(&t->special, k);
        while (*m > 0 && *m < t->bytes && weir__joins_previous(t->text + *m, t->bytes - *m)) {
            do *m += k % 2 ? (size_t)-1 : 1;
            while (*m > 0 && *m < t->bytes && ((uint8_t)t->text[*m] & 0xc0) == 0x80);
        }
        if (k > 0 && *m < *mark(&t->special, k - 1)) *m = *mark(&t->special, k - 1);
    }
}

/* A step that sees each stretch between two marks by itself. */
static weir_status by_stretches(const weir__step *s, weir__marked *t, weir__out *out, weir_err *err) {
    size_t at = 0;
    if (is_normal_form(s->kind)) settle_marks(t);
    for (size_t k = 0; k <= 2 * t->special.n; k++) {
        const bool last = k == 2 * t->special.n;
        const size_t end = last ? t->bytes : *mark(&t->special, k);
        if (s->charsmap)
            weir__charsmap_apply(s->charsmap, t->text + at, end - at, out);
        else
            WEIR_TRY(weir__characters_apply(s->kind, t->text + at, end - at, out, err));
        at = end;
        if (!last) *mark(&t->special, k) = out->n;
    }
    return WEIR_OK;
}

/* ---- run ----------------------------------------------------------------------------------------------- */

static weir_status run_step(const weir__step *s, bool first, weir__marked *t, size_t most, weir_err *err) {
    weir__out out = {.most = most + 1};
    weir_status st = WEIR_OK;
    switch (s->kind) {
    case WEIR__STEP_REPLACE:
    case WEIR__STEP_REPLACE_PATTERN: st = replace(s, t, &out, err); break;
    case WEIR__STEP_PREPEND:
    case WEIR__STEP_PREPEND_UNLESS:
    case WEIR__STEP_PREPEND_FIRST: prepend(s, first, t, &out); break;
    case WEIR__STEP_STRIP_LEFT:
    case WEIR__STEP_STRIP_RIGHT: strip(s, t, &out); break;
    default: st = by_stretches(s, t, &out, err);
    }
    return take(t, &out, st, err);
}

weir_status weir__steps_run(const weir__steps *s, bool first, weir__marked *t, weir_err *err) {
    const size_t most = 64 * t->bytes + 1024;
    for (int i = 0; i < s->n; i++) WEIR_TRY(run_step(&s->list[i], first, t, most, err));
    return WEIR_OK;
}

weir_status weir__marked_repair(weir__marked *t, weir_err *err) {
    static const weir__step repair = {.kind = WEIR__STEP_REPAIR};
    return run_step(&repair, true, t, 4 * t->bytes + 1024, err);
}
