/* Tokens on their way from a step to who asked for them. */
#include "host/queue/queue.h"

#include <string.h>

static bool grow(void **p, size_t *cap, size_t need, size_t size) {
    if (need <= *cap) return true;
    size_t more = *cap ? *cap : 16;
    while (more < need) more *= 2;
    void *q = weir_alloc(more, size);
    if (!q) return false;
    if (*p) memcpy(q, *p, *cap * size);
    weir_free(*p);
    *p = q;
    *cap = more;
    return true;
}

bool weir__queue_add_token(weir_queue_tokens *t, const weir_token_event *ev) {
    if (!grow((void **)&t->token, &t->cap, t->n + 1, sizeof *t->token)) return false;
    if (!grow((void **)&t->text, &t->text_cap, t->text_len + ev->bytes + 1, 1)) return false;
    if (ev->bytes > 0) memcpy(t->text + t->text_len, ev->text, ev->bytes);
    t->text_len += ev->bytes;
    t->token[t->n++] = *ev;
    return true;
}

void weir__queue_free_tokens(weir_queue_tokens *t) {
    weir_free(t->token);
    weir_free(t->text);
}

/* All of `from` after what `to` has; false: no memory, nothing moved. */
bool weir__queue_move_tokens(weir_queue_tokens *to, weir_queue_tokens *from) {
    if (to->n == 0) {
        const weir_queue_tokens empty = *to;
        *to = *from;
        *from = empty;
    } else {
        if (!grow((void **)&to->token, &to->cap, to->n + from->n, sizeof *to->token)) return false;
        if (!grow((void **)&to->text, &to->text_cap, to->text_len + from->text_len + 1, 1)) return false;
        memcpy(to->token + to->n, from->token, from->n * sizeof *to->token);
        if (from->text_len > 0) memcpy(to->text + to->text_len, from->text, from->text_len);
        to->n += from->n;
        to->text_len += from->text_len;
    }
    from->n = from->text_len = 0;
    return true;
}
