/* Prompts and conversations of requests. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/serve/api/prompt.h"
#include "tests/serve/api/ask_fixture.h"
#include "tests/support/alloc.h"

static void open_all(void) {
    alloc_install(0);
    servers_open();
}

TestSuite(ask_prompt, .init = open_all, .fini = servers_close);

static void expect_prompt(const api_prompt *p, const char *text, bool add_special, bool parse_special) {
    int32_t *ids = NULL;
    size_t n = 0;
    cr_assert(weir_tokenize(demo.engine, text, strlen(text), add_special, parse_special, &ids, &n, NULL) ==
              WEIR_OK);
    cr_expect(p->n == n && memcmp(p->ids, ids, n * sizeof *ids) == 0, "%s: %zu ids, not %zu", text, p->n, n);
    weir_ids_free(ids);
}

static void taken(const api_server *s, bool chat, const char *body, api_ask *a) {
    cr_assert(ask_bytes(s, chat, body, strlen(body), a), "%s: %s", body, said.message.text);
}

static void refused(const api_server *s, bool chat, const char *body, const char *code, const char *words) {
    api_ask a;
    const long live = alloc_live();
    cr_assert(!ask_bytes(s, chat, body, strlen(body), &a), "%s is taken", body);
    cr_expect(said.status == 400 && alloc_live() == live, "%s", body);
    cr_expect_str_eq(said.code, code, "%s: %s", body, said.message.text);
    cr_expect_str_eq(said.param, chat ? "messages" : "prompt", "%s: %s", body, said.message.text);
    cr_expect(strstr(said.message.text, words), "%s: %s", body, said.message.text);
}

Test(ask_prompt, texts_and_ids_alone_and_in_lists) {
    api_ask a;
    taken(&demo, false, "{\"prompt\": \"It snowed a lot.\"}", &a);
    cr_assert(a.n_prompt == 1);
    expect_prompt(&a.prompts[0], "It snowed a lot.", true, true);
    api_ask_free(&a);
    taken(&demo, false, "{\"prompt\": [\"a\", \"\", \"It snowed.\"]}", &a);
    cr_assert(a.n_prompt == 3);
    expect_prompt(&a.prompts[1], "", true, true);
    expect_prompt(&a.prompts[2], "It snowed.", true, true);
    api_ask_free(&a);
    taken(&demo, false, "{\"prompt\": [5, 6, 1]}", &a);
    cr_assert(a.n_prompt == 1 && a.prompts[0].n == 3);
    cr_expect(a.prompts[0].ids[0] == 5 && a.prompts[0].ids[2] == 1);
    api_ask_free(&a);
    taken(&demo, false, "{\"prompt\": [[5], \"a\", [0, 5987]]}", &a);
    cr_assert(a.n_prompt == 3 && a.prompts[0].n == 1 && a.prompts[2].n == 2 && a.prompts[2].ids[1] == 5987);
    expect_prompt(&a.prompts[1], "a", true, true);
    api_ask_free(&a);
}

Test(ask_prompt, special_tokens_as_the_request_says) {
    for (int i = 0; i < 4; i++) {
        char body[200];
        api_ask a;
        snprintf(body, sizeof body,
                 "{\"prompt\": \"a</s>b\", \"add_special_tokens\": %s, \"parse_special\": %s}",
                 i & 1 ? "true" : "false", i & 2 ? "true" : "false");
        taken(&demo, false, body, &a);
        expect_prompt(&a.prompts[0], "a</s>b", i & 1, i & 2);
        api_ask_free(&a);
    }
    api_ask a;
    taken(&demo, false, "{\"prompt\": \"a</s>b\"}", &a);
    expect_prompt(&a.prompts[0], "a</s>b", true, true);
    api_ask_free(&a);
}

Test(ask_prompt, what_is_no_prompt_is_refused_with_its_entry) {
    static const char *const bad[][2] = {
        {"{}", "missing"},
        {"{\"prompt\": null}", "missing"},
        {"{\"prompt\": []}", "0 prompts, expected 1 to 1024"},
        {"{\"prompt\": {}}", "expected a string or a list of token ids"},
        {"{\"prompt\": 5}", "expected a string or a list of token ids"},
        {"{\"prompt\": [\"a\", null]}", "entry 1: expected a string or a list of token ids"},
        {"{\"prompt\": [\"a\", 5]}", "entry 1: expected a string or a list of token ids"},
        {"{\"prompt\": [[]]}", "entry 0: contains no tokens"},
        {"{\"prompt\": [5, \"a\"]}", "token 1 is no id, expected a whole number"},
        {"{\"prompt\": [5.5]}", "token 0 is no id, expected a whole number"},
        {"{\"prompt\": [5, -1]}", "token 1: -1 is out of range, expected 0 to 5987"},
        {"{\"prompt\": [5988]}", "token 0: 5988 is out of range, expected 0 to 5987"},
        {"{\"prompt\": [[1], [2, 99999999999]]}", "entry 1: token 1: 99999999999 is out of range"},
        {"{\"prompt\": \"\", \"add_special_tokens\": false}", "contains no tokens"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        refused(&demo, false, bad[i][0], "invalid_value", bad[i][1]);
    refused(&decoder, false, "{\"prompt\": \"a\"}", "invalid_value", "no tokenizer, expected token ids");
}

/* n ids, as a prompt. */
static bool ask_ids(const api_server *s, size_t n, const char *fields) {
    wire_buf b = {0};
    api_ask a;
    cr_assert(wire_buf_puts(&b, "{\"prompt\": [3"));
    for (size_t i = 1; i < n; i++) cr_assert(wire_buf_puts(&b, ",3"));
    cr_assert(wire_buf_puts(&b, "]") && wire_buf_puts(&b, fields) && wire_buf_puts(&b, "}"));
    const bool ok = ask_bytes(s, false, b.data, b.len, &a);
    if (ok) api_ask_free(&a);
    wire_buf_free(&b);
    return ok;
}

Test(ask_prompt, the_context_holds_a_prompt_or_both_lengths_are_said) {
    cr_expect(ask_ids(&demo, 512, "") && !ask_ids(&demo, 513, ""));
    cr_expect_str_eq(said.code, "context_length_exceeded");
    cr_expect_str_eq(said.message.text,
                     "This model's maximum context length is 512 tokens; prompt: 513 tokens");
    cr_expect(ask_ids(&decoder, 64, ", \"max_tokens\": 0") && !ask_ids(&decoder, 65, ", \"max_tokens\": 0"));
    cr_expect(ask_ids(&decoder, 63, "") && !ask_ids(&decoder, 64, ""));
    cr_expect_str_eq(said.message.text,
                     "This model's maximum context length is 64 tokens of prompt and output together; "
                     "prompt: 64 tokens");
}

Test(ask_prompt, prompts_times_n_is_bounded) {
    wire_buf b = {0};
    api_ask a;
    cr_assert(wire_buf_puts(&b, "{\"n\": 2, \"prompt\": [\"a\""));
    for (int i = 1; i < 512; i++) cr_assert(wire_buf_puts(&b, ",\"a\""));
    const size_t mark = b.len;
    cr_assert(wire_buf_puts(&b, "]}"));
    cr_assert(ask_bytes(&demo, false, b.data, b.len, &a), "%s", said.message.text);
    cr_expect(a.n == 2 && a.n_prompt == 512);
    api_ask_free(&a);
    b.len = mark;
    cr_assert(wire_buf_puts(&b, ",\"a\"]}"));
    cr_expect(!ask_bytes(&demo, false, b.data, b.len, &a));
    cr_expect_str_eq(said.param, "n");
    cr_expect(strstr(said.message.text, "2 answers to each of 513 prompts, expected at most 1024 in all"));
    b.len = mark;
    for (int i = 512; i < 1025; i++) cr_assert(wire_buf_puts(&b, ",\"a\""));
    cr_assert(wire_buf_puts(&b, "]}"));
    cr_expect(!ask_bytes(&demo, false, b.data, b.len, &a));
    cr_expect(strstr(said.message.text, "1025 prompts, expected 1 to 1024"), "%s", said.message.text);
    wire_buf_free(&b);
}

/* ---- messages ------------------------------------------------------------------------------------------ */

#define MESSAGES(list) "{\"messages\": [" list "]}"

Test(ask_prompt, content_is_a_text_or_parts_of_text) {
    static const char *const bodies[] = {
        MESSAGES("{\"role\": \"user\", \"content\": \"a</s>\\nb\", \"name\": \"x\"}"),
        MESSAGES("{\"role\": \"user\", \"content\": [{\"type\": \"text\", \"text\": \"a</s>\"}, "
                 "{\"type\": \"text\", \"text\": \"b\"}]}"),
    };
    for (int i = 0; i < 2; i++) {
        api_ask a;
        taken(&demo, true, bodies[i], &a);
        cr_assert(a.n_prompt == 1 && !a.ignored);
        expect_prompt(&a.prompts[0], "a</s>\nb", true, false);
        api_ask_free(&a);
    }
}

Test(ask_prompt, the_developer_is_the_system) {
    static const char body[] = MESSAGES("{\"role\": \"developer\", \"content\": \"s\"}, "
                                        "{\"role\": \"user\", \"content\": []}");
    serve_error e = {0};
    api_body b;
    api_talk t = {0};
    cr_assert(api_body_open(&b, &demo, WIRE_CHAT, body, strlen(body), &e) && api_talk_read(&b, &t), "%s",
              e.message.text);
    cr_assert(t.n == 2 && t.messages[0].bytes == 1 && t.messages[1].bytes == 0);
    cr_expect_str_eq(t.messages[0].role, "system");
    cr_expect_str_eq(t.messages[1].role, "user");
    api_talk_free(&t);
    api_body_free(&b);
    refused(&demo, true, body, "invalid_value", "template plain has no place for it");
}

Test(ask_prompt, what_is_no_message_is_refused_with_its_entry) {
    static const char *const bad[][3] = {
        {"{}", "invalid_value", "missing"},
        {"{\"messages\": \"a\"}", "invalid_value", "expected a list of at least one message"},
        {MESSAGES(""), "invalid_value", "expected a list of at least one message"},
        {MESSAGES("\"a\""), "invalid_value", "entry 0: expected an object with role and content"},
        {MESSAGES("{\"content\": \"a\"}"), "invalid_value", "entry 0: role is no string"},
        {MESSAGES("{\"role\": \"tool\", \"content\": \"a\"}"), "invalid_value",
         "entry 0: role tool is not known"},
        {MESSAGES("{\"role\": \"user\\u0000\", \"content\": \"a\"}"), "invalid_value", "is not known"},
        {MESSAGES("{\"role\": \"user\"}"), "invalid_value", "entry 0: content is no text"},
        {MESSAGES("{\"role\": \"user\", \"content\": null}"), "invalid_value", "entry 0: content is no text"},
        {MESSAGES("{\"role\": \"user\", \"content\": [1]}"), "invalid_value", "entry 0, part 0: expected"},
        {MESSAGES("{\"role\": \"user\", \"content\": [{\"type\": \"text\", \"text\": 1}]}"),
         "unsupported_parameter", "entry 0, part 0: expected"},
        {MESSAGES("{\"role\": \"user\", \"content\": [{\"type\": \"image_url\", \"image_url\": {}}]}"),
         "unsupported_parameter", "entry 0, part 0: expected"},
        {MESSAGES("{\"role\": \"user\", \"content\": \"a\"}, {\"role\": \"assistant\", \"content\": \"b\", "
                  "\"tool_calls\": [{}]}, {\"role\": \"user\", \"content\": \"c\"}"),
         "unsupported_parameter", "entry 1: tool_calls is not supported"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        refused(&demo, true, bad[i][0], bad[i][1], bad[i][2]);
    refused(&decoder, true, MESSAGES("{\"role\": \"user\", \"content\": \"a\"}"), "invalid_value",
            "no chat template: use /v1/completions");
}

Test(ask_prompt, fields_of_a_message_are_not_lost_in_silence) {
    api_ask a;
    taken(&demo, true,
          MESSAGES("{\"role\": \"assistant\", \"content\": \"a\", \"refusal\": null, \"tool_calls\": [], "
                   "\"annotations\": []}, {\"role\": \"user\", \"content\": \"b\", \"mood\": 1}"),
          &a);
    cr_assert(a.n_ignored == 1);
    cr_expect_str_eq(json_string_value(json_array_get(a.ignored, 0)), "messages[1].mood");
    api_ask_free(&a);
}

/* Whether the last message is continued, by its role and the two fields that say so: y, n, or an error. */
Test(ask_prompt, the_assistant_s_last_message_is_continued_unless_another_is_asked_for) {
    static const char *const values[] = {"null", "false", "true"};
    static const char user[3][3] = {{'n', 'n', 'e'}, {'e', 'e', 'e'}, {'n', 'n', 'e'}};
    static const char own[3][3] = {{'y', 'n', 'y'}, {'y', 'e', 'y'}, {'n', 'n', 'e'}};
    for (int i = 0; i < 18; i++) {
        const bool mine = i >= 9;
        const int generate = i / 3 % 3, go_on = i % 3;
        char body[300];
        serve_error e = {0};
        api_body b;
        api_talk t = {0};
        snprintf(body, sizeof body,
                 "{\"messages\": [{\"role\": \"%s\", \"content\": \"a\"}], \"add_generation_prompt\": %s, "
                 "\"continue_final_message\": %s}",
                 mine ? "assistant" : "user", values[generate], values[go_on]);
        cr_assert(api_body_open(&b, &demo, WIRE_CHAT, body, strlen(body), &e), "%s", e.message.text);
        const char got = !api_talk_read(&b, &t) ? 'e' : t.open_last ? 'y' : 'n';
        const char want = (mine ? own : user)[generate][go_on];
        cr_expect(got == want, "%s: %c, not %c", body, got, want);
        cr_expect((got == 'e') == (e.param[0] != 0));
        api_talk_free(&t);
        api_body_free(&b);
    }
}
