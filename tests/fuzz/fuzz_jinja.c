#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/jinja/jinja.h"
#include "tests/fuzz/target.h"
#include "tests/support/files.h"

enum { MAX_MESSAGES = 16 };

static weir_jinja_input string(const char *key, const char *text, size_t bytes, bool trusted) {
    return (weir_jinja_input){.key = key, .kind = WEIR_JINJA_STRING, .as.string = {text, bytes, trusted}};
}

/* A template up to the first zero byte, then messages: a byte for the role, the content up to the next
 * zero byte. */
static size_t messages_of(const uint8_t *data, size_t n, size_t at, weir_jinja_input *list,
                          weir_jinja_input (*fields)[3]) {
    static const char *const roles[] = {"system", "user", "assistant", "tool"};
    size_t n_message = 0;
    while (at < n && n_message < MAX_MESSAGES) {
        const uint8_t *end = memchr(data + at, 0, n - at);
        const size_t stop = end ? (size_t)(end - data) : n;
        if (stop > at) {
            weir_jinja_input *f = fields[n_message];
            f[0] = string("role", roles[data[at] % 4], strlen(roles[data[at] % 4]), true);
            f[1] = string("content", (const char *)data + at + 1, stop - at - 1, false);
            f[2] = (weir_jinja_input){.key = "n", .kind = WEIR_JINJA_INT, .as.integer = data[at]};
            list[n_message++] = (weir_jinja_input){.kind = WEIR_JINJA_DICT, .as.items = {f, 3}};
        }
        at = stop + 1;
    }
    return n_message;
}

static void check_text(const weir_jinja_text *t) {
    size_t at = 0;
    for (size_t i = 0; i < t->n; i++) {
        FUZZ_CHECK(t->spans[i].text == t->text + at && t->spans[i].bytes > 0);
        FUZZ_CHECK(i == 0 || t->spans[i].of_template != t->spans[i - 1].of_template);
        at += t->spans[i].bytes;
    }
    FUZZ_CHECK(at == t->bytes && t->text[at] == '\0');
}

FUZZ_TARGET(jinja) {
    static const struct tm day = {.tm_year = 124, .tm_mon = 6, .tm_mday = 26};
    const weir_jinja_options small = {
        .now = &day, .max_steps = 20000, .max_bytes = 4 << 20, .max_output = 1 << 16, .max_depth = 100};
    const uint8_t *zero = n > 0 ? memchr(data, 0, n) : NULL;
    const size_t bytes = zero ? (size_t)(zero - data) : n;
    weir_jinja_input list[MAX_MESSAGES], fields[MAX_MESSAGES][3];
    const size_t n_message = messages_of(data, n, bytes + 1, list, fields);
    const weir_jinja_input v[] = {
        {.key = "messages", .kind = WEIR_JINJA_LIST, .as.items = {list, n_message}},
        {.key = "tools", .kind = WEIR_JINJA_NONE},
        {.key = "x", .kind = WEIR_JINJA_FLOAT, .as.real = 2.5},
        {.key = "add_generation_prompt", .kind = WEIR_JINJA_BOOL, .as.boolean = true},
        string("bos_token", "<s>", 3, true)};
    weir_jinja *t = NULL;
    weir_jinja_text text = {0};
    weir_err err = {""};
    weir_status s = weir__jinja_parse(&t, (const char *)data, bytes, &err);
    FUZZ_CHECK(s == WEIR_OK ||
               ((s == WEIR_EFORMAT || s == WEIR_ENOTSUP) && err_is_line(&err, "line ") && !t));
    if (s != WEIR_OK) return 0;
    s = weir__jinja_render(t, v, sizeof v / sizeof *v, &small, &text, &err);
    FUZZ_CHECK(s == WEIR_OK ||
               ((s == WEIR_EINVAL || s == WEIR_ENOTSUP) && err_is_line(&err, "line ") && !text.text));
    if (s == WEIR_OK) check_text(&text);
    weir__jinja_text_free(&text);
    weir__jinja_free(t);
    return 0;
}
