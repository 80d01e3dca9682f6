#include <criterion/criterion.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/weir.h"
#include "kernels/base/mem.h"
#include "tests/support/alloc.h"
#include "tests/support/files.h"

/* ---- golden texts -------------------------------------------------------------------------------------- */

enum { MAX_TALK = 16 };

/* All that a template may mark as a token. */
static const char *const tokens[] = {"<|im_start|>",
                                     "<|im_end|>",
                                     "<think>",
                                     "</think>",
                                     "<|begin_of_text|>",
                                     "<|start_header_id|>",
                                     "<|end_header_id|>",
                                     "<|eot_id|>",
                                     "<s>",
                                     "</s>",
                                     "<bos>",
                                     "<start_of_turn>",
                                     "<end_of_turn>"};

static bool is_token(const weir_segment *s) {
    for (size_t i = 0; i < sizeof tokens / sizeof tokens[0]; i++)
        if (strlen(tokens[i]) == s->bytes && memcmp(tokens[i], s->text, s->bytes) == 0) return true;
    return false;
}

static bool inside(const weir_segment *s, const weir_chat_message *m) {
    return m->bytes > 0 && s->text >= m->content && s->text < m->content + m->bytes;
}

/* The segments as one text, zero-terminated, malloc'ed. What is marked as a token is one, and is of no
 * message. */
static char *joined(const weir_chat_text *t, const weir_chat_message *messages, size_t n, size_t *bytes) {
    char *all = calloc(1, 1);
    *bytes = 0;
    for (size_t i = 0; i < t->n; i++) {
        const weir_segment *s = &t->segments[i];
        cr_assert(s->bytes > 0);
        for (size_t k = 0; s->special && k < n; k++) cr_assert(!inside(s, &messages[k]), "segment %zu", i);
        cr_assert(!s->special || is_token(s), "segment %zu: %.*s", i, (int)s->bytes, s->text);
        all = realloc(all, *bytes + s->bytes + 1);
        memcpy(all + *bytes, s->text, s->bytes);
        *bytes += s->bytes;
        all[*bytes] = '\0';
    }
    return all;
}

static weir_chat_ending ending_of(const json_t *line) {
    if (json_is_true(json_object_get(line, "open"))) return WEIR_CHAT_OPEN;
    return json_is_true(json_object_get(line, "generate")) ? WEIR_CHAT_ANSWER : WEIR_CHAT_CLOSED;
}

static size_t read_talk(const json_t *line, weir_chat_message *messages) {
    const json_t *list = json_object_get(line, "messages");
    const size_t n = json_array_size(list);
    cr_assert(n > 0 && n <= MAX_TALK);
    for (size_t i = 0; i < n; i++) {
        const json_t *m = json_array_get(list, i), *c = json_object_get(m, "content");
        messages[i] = (weir_chat_message){.role = json_string_value(json_object_get(m, "role")),
                                          .content = json_string_value(c),
                                          .bytes = json_string_length(c)};
    }
    return n;
}

static void check_line(const weir_chat_template *t, const json_t *line, const char *where) {
    weir_chat_message messages[MAX_TALK];
    const size_t n = read_talk(line, messages);
    weir_chat_text text = {0};
    weir_err err = {{0}};
    const weir_status st = weir_chat_render(t, messages, n, ending_of(line), &text, &err);
    if (json_object_get(line, "error")) {
        cr_assert(st == WEIR_EINVAL && err_is_line(&err, t->name), "%s: %d %s", where, st, err.text);
        cr_assert(text.segments == NULL);
        return;
    }
    cr_assert(st == WEIR_OK, "%s: %s", where, err.text);
    const json_t *want = json_object_get(line, "text");
    size_t bytes = 0;
    char *got = joined(&text, messages, n, &bytes);
    cr_assert(bytes == json_string_length(want) && memcmp(got, json_string_value(want), bytes) == 0,
              "%s:\n%s\nwant\n%s", where, got, json_string_value(want));
    cr_assert(!text.add_special);
    free(got);
    weir_chat_text_free(&text);
}

static void check_golden(const weir_chat_template *t) {
    char path[512], where[600], *line = NULL;
    size_t cap = 0;
    int n = 0, n_error = 0;
    snprintf(path, sizeof path, "%s/tests/golden/chat/%s.jsonl", WEIR_SOURCE_DIR, t->name);
    FILE *f = fopen(path, "r");
    cr_assert(f, "%s", path);
    while (getline(&line, &cap, f) > 0) {
        snprintf(where, sizeof where, "%s line %d", t->name, ++n);
        json_t *v = json_loads(line, JSON_ALLOW_NUL, NULL);
        cr_assert(v, "%s", where);
        check_line(t, v, where);
        n_error += json_object_get(v, "error") != NULL;
        json_decref(v);
    }
    const bool ordered = strcmp(t->name, "gemma") == 0 || strcmp(t->name, "llama2") == 0;
    cr_assert(n >= 80 && (n_error > 0) == ordered, "%s: %d lines, %d errors", t->name, n, n_error);
    free(line);
    fclose(f);
}

Test(chat, every_template_writes_what_jinja_does) {
    int n = 0;
    for (const weir_chat_template *t; (t = weir_chat_template_at(n)) != NULL; n++)
        if (t->remembers) check_golden(t);
    cr_assert_eq(n, 11);
}

/* ---- what templates do not say ------------------------------------------------------------------------- */

/* One conversation, "s:…", "u:…", "a:…" for its messages; role "x" is no role. */
static weir_status render(const char *name, const char *const *talk, weir_chat_text *out, weir_err *err) {
    weir_chat_message messages[MAX_TALK];
    size_t n = 0;
    for (; talk[n]; n++) {
        const char *role = talk[n][0] == 's'   ? "system"
                           : talk[n][0] == 'u' ? "user"
                           : talk[n][0] == 'a' ? "assistant"
                                               : "tool";
        messages[n] = (weir_chat_message){.role = role, .content = talk[n] + 2, .bytes = strlen(talk[n] + 2)};
    }
    return weir_chat_render(weir_chat_template_find(name), messages, n, WEIR_CHAT_ANSWER, out, err);
}

#define TALK(...) \
    (const char *const[]) { __VA_ARGS__, NULL }

static const struct {
    const char *name, *talk[6], *words[2];
} refused[] = {
    {"gemma", {"s:only"}, {"message 0 (system)", "first user message"}},
    {"llama2", {"s:only"}, {"message 0 (system)", "first user message"}},
    {"gemma", {"u:a", "s:b", "u:c"}, {"message 1 (system)", "in turn"}},
    {"llama2", {"u:a", "s:b", "u:c"}, {"message 1 (system)", "in turn"}},
    {"gemma", {"s:a", "s:b", "u:c"}, {"message 1 (system)", "in turn"}},
    {"gemma", {"u:a", "a:b", "a:c"}, {"message 2 (assistant)", "in turn"}},
    {"llama2", {"s:a", "a:b"}, {"message 1 (assistant)", "the user first"}},
    {"llama2", {"u:see [INST] here"}, {"message 0 (user)", "[INST]"}},
    {"llama2", {"u:a", "a:b", "u:[/INST]"}, {"message 2 (user)", "[/INST]"}},
    {"llama2", {"s:x <</SYS>> y", "u:a"}, {"message 0 (system)", "<</SYS>>"}},
    {"plain", {"s:be brief", "u:a"}, {"message 0 (system)", "no place"}},
    {"plain", {"u:a", "a:b"}, {"message 1 (assistant)", "the user's"}},
    {"chatml", {"u:a", "x:b"}, {"message 1", "role tool"}},
};

Test(chat, messages_that_a_template_cannot_carry_are_named) {
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        weir_chat_text text = {0};
        weir_err err = {{0}};
        cr_expect(render(refused[i].name, refused[i].talk, &text, &err) == WEIR_EINVAL, "case %zu", i);
        cr_expect(err_is_line(&err, refused[i].words[0]) && strstr(err.text, refused[i].words[1]),
                  "case %zu: %s", i, err.text);
        cr_expect(text.segments == NULL && text.n == 0);
    }
}

Test(chat, no_message_and_a_template_of_nobody_are_refused) {
    weir_chat_text text = {0};
    weir_err err = {{0}};
    const weir_chat_template own = *weir_chat_template_at(0);
    const weir_chat_message m = {.role = "user", .content = "a", .bytes = 1};
    cr_expect(weir_chat_render(weir_chat_template_at(0), NULL, 0, WEIR_CHAT_ANSWER, &text, &err) ==
              WEIR_EINVAL);
    cr_expect(err_is_line(&err, "without a message"));
    cr_expect(weir_chat_render(&own, &m, 1, WEIR_CHAT_ANSWER, &text, &err) == WEIR_EINVAL);
    cr_expect(err_is_line(&err, "not of the table"));
    cr_expect(weir_chat_render(NULL, &m, 1, WEIR_CHAT_ANSWER, &text, NULL) == WEIR_EINVAL);
}

Test(chat, an_answer_may_hold_llama2_s_marks) {
    weir_chat_text text = {0};
    cr_assert(render("llama2", TALK("u:a", "a:[INST] is markup", "u:b"), &text, NULL) == WEIR_OK);
    weir_chat_text_free(&text);
}

Test(chat, plain_is_the_last_message_as_it_is) {
    weir_chat_text text = {0};
    cr_assert(render("plain", TALK("u:forgotten", "a:too", "u:  <|im_end|> here "), &text, NULL) == WEIR_OK);
    cr_assert(text.n == 1 && !text.segments[0].special && text.add_special);
    cr_expect(text.segments[0].bytes == 18 && memcmp(text.segments[0].text, "  <|im_end|> here ", 18) == 0);
    weir_chat_text_free(&text);
    cr_assert(render("none", TALK("u:"), &text, NULL) == WEIR_OK && text.n == 0);
    weir_chat_text_free(&text);
    cr_expect(weir_chat_template_find("raw") == weir_chat_template_find("plain"));
}

Test(chat, bytes_that_are_no_text_are_kept) {
    static const char odd[] = "\xc2\0\xe2\x80 \xff\xa0\xc2";
    for (int i = 0; weir_chat_template_at(i); i++) {
        const weir_chat_template *t = weir_chat_template_at(i);
        char *exact = (char *)files_exact(odd, sizeof odd - 1);
        const weir_chat_message m = {.role = "user", .content = exact, .bytes = sizeof odd - 1};
        weir_chat_text text = {0};
        cr_assert(weir_chat_render(t, &m, 1, WEIR_CHAT_ANSWER, &text, NULL) == WEIR_OK, "%s", t->name);
        size_t bytes;
        char *all = joined(&text, &m, 1, &bytes);
        cr_expect(memmem(all, bytes, odd, sizeof odd - 1) != NULL, "%s", t->name);
        free(all);
        weir_chat_text_free(&text);
        free(exact);
    }
}

Test(chat, many_and_long_messages) {
    enum { N = 200001, LONG = 8 << 20 };
    weir_chat_message *m = malloc(N * sizeof *m);
    for (int i = 0; i < N; i++)
        m[i] = (weir_chat_message){.role = i % 2 ? "assistant" : "user", .content = "x", .bytes = 1};
    char *blanks = malloc(LONG);
    memset(blanks, ' ', LONG);
    for (int i = 0; weir_chat_template_at(i); i++) {
        const weir_chat_template *t = weir_chat_template_at(i);
        weir_chat_text text = {0};
        cr_assert(weir_chat_render(t, m, N, WEIR_CHAT_ANSWER, &text, NULL) == WEIR_OK, "%s", t->name);
        cr_expect(text.n >= (t->remembers ? N : 1), "%s: %zu segments", t->name, text.n);
        weir_chat_text_free(&text);
        const weir_chat_message big = {.role = "user", .content = blanks, .bytes = LONG};
        cr_assert(weir_chat_render(t, &big, 1, WEIR_CHAT_ANSWER, &text, NULL) == WEIR_OK, "%s", t->name);
        weir_chat_text_free(&text);
    }
    weir_chat_text none = {0};
    weir_err err = {{0}};
    cr_expect(weir_chat_render(weir_chat_template_at(0), m, 0, WEIR_CHAT_ANSWER, &none, &err) == WEIR_EINVAL);
    free(blanks);
    free(m);
}

Test(chat, a_failed_allocation_leaves_nothing) {
    for (int i = 0; weir_chat_template_at(i); i++) {
        weir_chat_text text = {0};
        weir_err err = {{0}};
        alloc_install(1);
        cr_expect(render(weir_chat_template_at(i)->name, TALK("u:a"), &text, &err) == WEIR_ENOMEM);
        cr_expect(err_is_line(&err, "memory"));
        cr_expect(alloc_live() == 0 && text.segments == NULL);
        alloc_uninstall();
    }
}

Test(chat, names) {
    char all[200], cut[20];
    weir_chat_template_names(all, sizeof all);
    for (int i = 0; weir_chat_template_at(i); i++) {
        cr_expect(strstr(all, weir_chat_template_at(i)->name) != NULL);
        cr_expect(weir_chat_template_find(weir_chat_template_at(i)->name) == weir_chat_template_at(i));
        cr_expect(weir_chat_template_at(i)->about[0] != '\0');
    }
    weir_chat_template_names(cut, sizeof cut);
    cr_expect_str_eq(cut, "chatml, qwen2");
    weir_chat_template_names(cut, 0);
    cr_expect(weir_chat_template_find("ChatML") == NULL && weir_chat_template_find("") == NULL);
    cr_expect(weir_chat_template_at(-1) == NULL);
}
