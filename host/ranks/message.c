#include "host/ranks/message.h"

#include <string.h>

#include "kernels/base/mem.h"

static bool grow(ranks_words *w, size_t more) {
    if (w->failed) return false;
    if (w->n + more <= w->cap) return true;
    const size_t cap = (w->n + more) * 2;
    int32_t *word = weir_alloc(cap, sizeof *word);
    if (!word) {
        w->failed = true;
        return false;
    }
    if (w->n > 0) memcpy(word, w->word, w->n * sizeof *word);
    weir_free(w->word);
    w->word = word;
    w->cap = cap;
    return true;
}

void weir__words_put(ranks_words *w, int32_t value) { weir__words_put_all(w, &value, 1); }

void weir__words_put_all(ranks_words *w, const int32_t *value, size_t n) {
    if (n == 0 || !grow(w, n)) return;
    memcpy(w->word + w->n, value, n * sizeof *value);
    w->n += n;
}

int32_t weir__words_get(ranks_reader *r) {
    const int32_t *p = weir__words_get_all(r, 1);
    return p ? *p : 0;
}

const int32_t *weir__words_get_all(ranks_reader *r, int32_t n) {
    if (n < 0 || (size_t)n > r->n - r->at) {
        r->wrong = true;
        return NULL;
    }
    r->at += (size_t)n;
    return r->word + r->at - n;
}

const char *weir__rank_words(const weir_backend *be, weir_status s) {
    return s == WEIR_ECUDA && be->err.text[0] ? be->err.text : weir_status_str(s);
}
