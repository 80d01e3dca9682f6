/* Text of a session while its tokens come. A token's text is the difference between two decodes of a short
 * window (before and after it), so that the cost does not grow with the output; bytes of an unfinished
 * character are held back; text that a stop string may still take back is not told. */
#include <string.h>

#include "host/engine.h"
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

/* U+FFFD at the end: the bytes of a character are still incomplete. */
static bool ends_unfinished(const char *text, size_t n) {
    return n >= 3 && memcmp(text + n - 3, "\xef\xbf\xbd", 3) == 0;
}

/* Appends the text that token n - 1 made printable. */
static weir_status decode_last(weir_session *s) {
    const int32_t *ids = s->timeline + 1;
    char *before = NULL, *after = NULL;
    size_t n_before = 0, n_after = 0;
    const weir_tokenizer *tok = s->e->tok;
    WEIR_TRY(weir_tokenizer_decode(tok, ids + s->win_from, (size_t)(s->win_read - s->win_from), &before, &n_before,
                                   NULL));
    weir_status st = weir_tokenizer_decode(tok, ids + s->win_from, (size_t)(s->n - s->win_from), &after, &n_after, NULL);
    if (st == WEIR_OK && n_after > n_before && !ends_unfinished(after, n_after)) {
        if (!add_text(s, after + n_before, n_after - n_before)) st = WEIR_ENOMEM;
        s->win_from = s->win_read;
        s->win_read = s->n;
    }
    weir_free(before);
    weir_free(after);
    return st;
}

/* First place at or after `from` where a stop string begins; false if there is none. */
static bool find_stop(const weir_session *s, size_t from, size_t *at) {
    bool found = false;
    for (int i = 0; i < s->opt.n_stop; i++) {
        const size_t n = strlen(s->stop[i]);
        if (s->text_len < n) continue;
        const char *p = memmem(s->text + from, s->text_len - from, s->stop[i], n);
        if (!p || (found && (size_t)(p - s->text) >= *at)) continue;
        *at = (size_t)(p - s->text);
        found = true;
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
        if (!s->on_token) continue;
        const weir_token_event ev = {.id = s->timeline[1 + i], .source = s->sources[i],
                                     .logprob = s->logprobs[i], .policy_logprob = s->policy_logprobs[i],
                                     .text = s->streams ? s->text + begin : "",
                                     .bytes = s->streams ? end - begin : 0};
        if (!s->on_token(s->ud, s, &ev)) {
            s->n_told++;
            return false;
        }
    }
    return true;
}

/* Cuts output and text where a stop string begins; the token that straddles it stays. */
static void cut_at(weir_session *s, size_t at) {
    int64_t n = s->n_told;
    while (n < s->n && (n > 0 ? s->token_end[n - 1] : 0) < at) n++;
    s->n = n;
    s->text_len = at;
    s->text[at] = '\0';
    if (n > 0 && s->token_end[n - 1] > at) s->token_end[n - 1] = at;
    s->text_whole = true;
}

void weir_text_push(weir_session *s) {
    if (!s->streams) {
        if (!s->mute && !tell(s, 0)) weir_session_end(s, WEIR_FINISH_CANCELLED);
        return;
    }
    const size_t before = s->text_len;
    if (decode_last(s) != WEIR_OK) {
        s->token_end[s->n - 1] = s->text_len;
        weir_session_end(s, WEIR_FINISH_CANCELLED);
        return;
    }
    s->token_end[s->n - 1] = s->text_len;
    size_t at = 0;
    if (s->text_len > before && find_stop(s, before > s->stop_max ? before - s->stop_max : 0, &at)) {
        cut_at(s, at);
        weir_session_end(s, WEIR_FINISH_STOP);
        return;
    }
    if (!s->mute && !tell(s, s->text_len - held_bytes(s))) weir_session_end(s, WEIR_FINISH_CANCELLED);
}

weir_status weir_text_whole(weir_session *s) {
    if (s->text_whole || !s->e->tok) return WEIR_OK;
    char *text = NULL;
    size_t bytes = 0;
    WEIR_TRY(weir_tokenizer_decode(s->e->tok, s->timeline + 1, (size_t)s->n, &text, &bytes, NULL));
    /* while tokens come, what was told must stay a prefix; the end adds bytes that were held as unfinished */
    weir_status st = WEIR_OK;
    if (!s->streams) s->text_len = 0;
    if (bytes > s->text_len && !add_text(s, text + s->text_len, bytes - s->text_len)) st = WEIR_ENOMEM;
    weir_free(text);
    s->text_whole = st == WEIR_OK;
    return st;
}

weir_status weir_text_tell_all(weir_session *s) {
    if (s->mute) return WEIR_OK;
    if (s->streams && s->n > 0) {
        WEIR_TRY(weir_text_whole(s));
        s->token_end[s->n - 1] = s->text_len;
    }
    tell(s, s->text_len);
    return WEIR_OK;
}
