/* Text of a session while its tokens come. A token's text is the difference between two decodes of a short
 * window (before and after it), so that the cost does not grow with the output; bytes of an unfinished
 * character are held back; text that a stop string may still take back is not told. */
#include <string.h>

#include "host/session/session.h"
#include "kernels/base/mem.h"

static bool grow_text(weir_session *s, size_t need) {
    if (need <= s->text_cap) return true;
    size_t cap = s->text_cap ? s->text_cap : 256;
    while (cap < need) cap *= 2;
    char *p = weir_alloc(cap, 1);
    if (!p) return false;
    if (s->text_len > 0) memcpy(p, s->text, s->text_len);
    weir_free(s->text);
    s->text = p;
    s->text_cap = cap;
    return true;
}

static bool add_text(weir_session *s, const char *bytes, size_t n) {
    if (!grow_text(s, s->text_len + n + 1)) return false;
    memcpy(s->text + s->text_len, bytes, n);
    s->text_len += n;
    s->text[s->text_len] = '\0';
    return true;
}

/* Bytes at the front that no later token changes: U+FFFD at the end may stand for the bytes of an unfinished
 * character, of which there are at most three. */
static size_t certain_bytes(const char *text, size_t n) {
    for (int i = 0; i < 3 && n >= 3 && memcmp(text + n - 3, "\xef\xbf\xbd", 3) == 0; i++) n -= 3;
    return n;
}

typedef struct decoded {
    char *text;
    size_t n;
} decoded;

static weir_status decode(const weir_session *s, int64_t from, int64_t to, decoded *out) {
    *out = (decoded){NULL, 0};
    return weir__tokenizer_decode_run(s->e->pair.tok, s->timeline + 1 + from, (size_t)(to - from), from == 0,
                                      &out->text, &out->n, NULL);
}

/* Tokens at the end that are nothing without those that follow wait for them. Control tokens, which have no
 * text, do not part them. */
static int64_t settled(const weir_session *s) {
    int64_t n = s->n;
    for (int64_t i = n; i > s->win.read; i--) {
        if (weir__tokenizer_is_open(s->e->pair.tok, s->timeline[i]))
            n = i - 1;
        else if (!weir__tokenizer_is_control(s->e->pair.tok, s->timeline[i]))
            break;
    }
    return n;
}

/* Begins a window that has grown long nearer to the end: only where the texts prove that nothing is lost, and
 * never among the tokens that an unfinished character may begin in. `all`: the text of the window as it
 * is. */
static weir_status shorten(weir_session *s, const decoded *all, size_t have) {
    enum { LONG = 16, CONTEXT = 8, OPEN = 4 };
    if (s->n - s->win.read <= LONG) return WEIR_OK;
    const int64_t from = s->n - CONTEXT, read = s->n - OPEN;
    decoded front, before, after = {NULL, 0};
    WEIR_TRY(decode(s, s->win.from, read, &front));
    weir_status st = decode(s, from, read, &before);
    if (st == WEIR_OK) st = decode(s, from, s->n, &after);
    const bool parts = st == WEIR_OK && before.n > 0 && before.n <= after.n && front.n <= have &&
                       front.n + (after.n - before.n) == all->n;
    if (parts && memcmp(front.text, all->text, front.n) == 0 &&
        memcmp(before.text, after.text, before.n) == 0 &&
        memcmp(after.text + before.n, all->text + front.n, after.n - before.n) == 0)
        s->win = (weir_text_window){from, read, have - front.n, s->win.open};
    weir_free(front.text);
    weir_free(before.text);
    weir_free(after.text);
    return st;
}

/* Appends what became printable since the last call; `last`: nothing follows, so all of it is. */
static weir_status advance(weir_session *s, bool last) {
    weir_text_window *w = &s->win;
    decoded before, after = {NULL, 0};
    const int64_t end = last ? s->n : settled(s);
    WEIR_TRY(decode(s, w->from, w->read, &before));
    weir_status st = decode(s, w->from, end, &after);
    const size_t have = before.n + w->told, upto = last ? after.n : certain_bytes(after.text, after.n);
    if (st == WEIR_OK && upto > have) {
        if (!add_text(s, after.text + have, upto - have))
            st = WEIR_ENOMEM;
        else
            w->told = upto - before.n;
    }
    w->open = upto < after.n || end < s->n;
    if (last && st == WEIR_OK) s->n_shown = s->n;
    if (st == WEIR_OK && upto == after.n && after.n > before.n)
        *w = (weir_text_window){w->read, end, 0, w->open};
    else if (st == WEIR_OK && end == s->n)
        st = shorten(s, &after, before.n + w->told);
    weir_free(before.text);
    weir_free(after.text);
    return st;
}

/* First place at or after `from` where a stop string begins, and which one (of several the first of the
 * list); -1 if there is none. */
static int find_stop(const weir_session *s, size_t from, size_t *at) {
    int found = -1;
    for (int i = 0; i < s->opt.n_stop; i++) {
        const size_t n = strlen(s->stop[i]);
        if (s->text_len < n) continue;
        const char *p = memmem(s->text + from, s->text_len - from, s->stop[i], n);
        if (!p || (found >= 0 && (size_t)(p - s->text) >= *at)) continue;
        *at = (size_t)(p - s->text);
        found = i;
    }
    return found;
}

/* Bytes at the end of the text that may be the beginning of a stop string. */
static size_t held_bytes(const weir_session *s) {
    size_t held = 0;
    for (int i = 0; i < s->opt.n_stop; i++) {
        size_t n = strlen(s->stop[i]) - 1;
        if (n > s->text_len) n = s->text_len;
        for (; n > held; n--)
            if (memcmp(s->text + s->text_len - n, s->stop[i], n) == 0) held = n;
    }
    return held;
}

/* Hands out tokens whose text ends at or before `limit`; false when the callback wants to end. */
static bool tell(weir_session *s, size_t limit) {
    for (; s->n_told < s->n; s->n_told++) {
        const int64_t i = s->n_told;
        const size_t begin = i > 0 ? s->token_end[i - 1] : 0, end = s->token_end[i];
        if (s->streams && end > limit) return true;
        if (s->streams && begin == end && end == limit && limit < s->text_len)
            return true;                                  /* it may belong to what is held */
        if (s->win.open && i >= s->win.read) return true; /* their text is not known yet */
        if (!s->on_token) continue;
        const weir_token_event ev = {.id = s->timeline[1 + i],
                                     .source = s->sources[i],
                                     .logprob = s->logprobs[i],
                                     .policy_logprob = s->policy_logprobs[i],
                                     .text = s->text ? s->text + begin : "", /* never NULL */
                                     .bytes = s->streams ? end - begin : 0,
                                     .top = s->top ? s->top + i * s->opt.n_top : NULL,
                                     .n_top = weir__session_n_top(s, i)};
        if (!s->on_token(s->ud, s, &ev)) {
            s->n_told++;
            return false;
        }
    }
    return true;
}

/* Cuts output and text where a stop string begins. The token that straddles it stays, and its text ends there
 * once all text is reported. */
static void cut_at(weir_session *s, size_t at) {
    int64_t n = s->n_told;
    while (n < s->n && (n > 0 ? s->token_end[n - 1] : 0) < at) n++;
    s->n = n;
    s->text_len = at;
    s->text[at] = '\0';
    s->win = (weir_text_window){n, n, 0, false};
}

/* Cuts at a stop string that ends after the first `before` bytes of the text. */
static bool stopped(weir_session *s, size_t before) {
    size_t at = 0;
    if (s->text_len == before) return false;
    const int found = find_stop(s, before > s->stop_max ? before - s->stop_max : 0, &at);
    if (found < 0) return false;
    s->stop_found = found;
    cut_at(s, at);
    return true;
}

weir_text_verdict weir__text_push(weir_session *s) {
    if (!s->streams) return s->mute || tell(s, 0) ? WEIR_TEXT_GOES_ON : WEIR_TEXT_REFUSED;
    const size_t before = s->text_len;
    const weir_status st = advance(s, false);
    s->token_end[s->n - 1] = s->text_len;
    if (st != WEIR_OK) return WEIR_TEXT_REFUSED;
    if (stopped(s, before)) return WEIR_TEXT_STOPS;
    return s->mute || tell(s, s->text_len - held_bytes(s)) ? WEIR_TEXT_GOES_ON : WEIR_TEXT_REFUSED;
}

/* Text that is not kept while tokens come: all of it at once. */
static weir_status decode_all(weir_session *s) {
    decoded all;
    const bool running = s->finish == WEIR_RUNNING;
    WEIR_TRY(decode(s, 0, running ? settled(s) : s->n, &all));
    s->text_len = 0;
    const bool ok = add_text(s, all.text, running ? certain_bytes(all.text, all.n) : all.n);
    weir_free(all.text);
    if (ok) s->n_shown = s->n;
    return ok ? WEIR_OK : WEIR_ENOMEM;
}

weir_status weir__text_show(weir_session *s) {
    if (!s->e->pair.tok || s->n_shown == s->n) return WEIR_OK;
    if (!s->streams) return decode_all(s);
    return s->finish == WEIR_RUNNING ? WEIR_OK : advance(s, true);
}

weir_text_verdict weir__text_tell_all(weir_session *s) {
    weir_text_verdict verdict = WEIR_TEXT_GOES_ON;
    if (s->mute) return verdict;
    if (s->streams && s->n > 0) {
        const size_t before = s->text_len;
        if (advance(s, true) != WEIR_OK) return WEIR_TEXT_REFUSED;
        if (stopped(s, before)) verdict = WEIR_TEXT_STOPS;
        if (s->n > 0) s->token_end[s->n - 1] = s->text_len;
    }
    (void)tell(s, s->text_len); /* there is nothing left to cancel */
    return verdict;
}
