#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/chat/chat.h"
#include "tests/fuzz/target.h"
#include "tests/support/files.h"

enum { MAX_MESSAGES = 64 };

/* What is marked as a token is of the template, never of a message; what is text of a message stays inside
 * it. */
static void check_text(const weir_chat_text *t, const uint8_t *data, size_t n) {
    const char *from = (const char *)data, *upto = from + n;
    for (size_t i = 0; i < t->n; i++) {
        const weir_segment *s = &t->segments[i];
        const bool of_input = s->text >= from && s->text < upto;
        FUZZ_CHECK(s->bytes > 0);
        FUZZ_CHECK(!s->special || (!of_input && s->text[0] == '<' && s->text[s->bytes - 1] == '>' &&
                                   s->text[s->bytes] == '\0'));
        FUZZ_CHECK(!of_input || s->bytes <= (size_t)(upto - s->text));
    }
}

/* The first byte chooses a format, and the rest are messages: a byte for the role, the content up to the next
 * zero byte. */
FUZZ_TARGET(chat) {
    static const char *const roles[] = {"system", "user", "assistant", "tool"};
    if (n < 2) return 0;
    weir_chat_message m[MAX_MESSAGES];
    size_t n_message = 0;
    for (size_t at = 1; at < n && n_message < MAX_MESSAGES;) {
        const uint8_t *end = memchr(data + at, 0, n - at);
        const size_t stop = end ? (size_t)(end - data) : n;
        if (stop > at) {
            const char *content = (const char *)data + at + 1;
            m[n_message++] =
                (weir_chat_message){.role = roles[data[at] % 4], .content = content, .bytes = stop - at - 1};
        }
        at = stop + 1;
    }
    int n_template = 0;
    while (weir_chat_template_at(n_template)) n_template++;
    const weir_chat_template *t = weir_chat_template_at(data[0] / 2 % n_template);
    weir_chat_text text = {0};
    weir_err err = {""};
    const weir_status s = weir_chat_render(t, m, n_message, (weir_chat_ending)(data[0] % 3), &text, &err);
    FUZZ_CHECK(s == WEIR_OK || (s == WEIR_EINVAL && err_is_line(&err, "") && text.segments == NULL));
    check_text(&text, data, n);
    weir_chat_text_free(&text);
    return 0;
}
