/* An engine's conversations whose last answer is continued, their text, and what it says of its template. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/state.h"
#include "tests/support/alloc.h"
#include "tests/support/files.h"

#define SAY(who, words) \
    { .role = who, .content = words, .bytes = sizeof(words) - 1 }

static const weir_chat_message talk[] = {SAY("user", "It snowed."), SAY("assistant", "Es hat </s> "),
                                         SAY("user", "a lot")};

static weir_engine *open_demo(const char *name, const char *file) {
    weir_engine_options o = weir_engine_options_default();
    o.model = WEIR_SOURCE_DIR "/models/demo/verifier";
    o.device = "cpu";
    o.n_thread = 1;
    o.dry_run = true;
    o.chat_template = name;
    o.chat_template_file = file;
    weir_engine *e = NULL;
    weir_err err = {""};
    cr_assert(weir_engine_open(&e, &o, &err) == WEIR_OK, "%s", err.text);
    return e;
}

/* A template in a file of its own. */
static weir_engine *open_with(const char *source) {
    char *dir = files_temp_dir(), *path = files_path(dir, "t.jinja");
    files_write(dir, "t.jinja", source, strlen(source));
    weir_engine *e = open_demo(NULL, path);
    files_remove_dir(dir);
    free(path);
    return e;
}

static void expect_text(weir_engine *e, size_t n, bool open, const char *want) {
    char *text = NULL;
    size_t bytes = 0;
    weir_err err = {""};
    cr_assert(weir_chat_prompt(e, talk, n, open, &text, &bytes, &err) == WEIR_OK, "%s", err.text);
    cr_expect(bytes == strlen(want) && strcmp(text, want) == 0, "\"%s\", want \"%s\"", text, want);
    weir_text_free(text);
}

/* Ids of parts, of which those at odd places may name tokens. */
static void expect_ids(weir_engine *e, size_t n, bool open, const char *const *part, size_t n_part) {
    weir_text_span spans[8];
    int32_t *ids = NULL, *want = NULL;
    size_t n_ids = 0, n_want = 0;
    weir_err err = {""};
    for (size_t i = 0; i < n_part; i++) spans[i] = (weir_text_span){part[i], strlen(part[i]), i % 2 == 1};
    cr_assert(weir__tokenizer_encode_spans(e->pair.tok, spans, n_part, &want, &n_want, &err) == WEIR_OK);
    cr_assert(weir_chat_tokenize(e, talk, n, open, &ids, &n_ids, &err) == WEIR_OK, "%s", err.text);
    cr_expect(n_ids == n_want && memcmp(ids, want, n_want * sizeof *ids) == 0, "%zu ids, want %zu", n_ids,
              n_want);
    weir_ids_free(ids);
    weir_ids_free(want);
}

#define LOOP(x) "{% for m in messages %}" x "{% endfor %}{{ 'A:' if add_generation_prompt }}"

Test(chat_open, an_answer_is_continued_where_it_ends) {
    weir_engine *e = open_with(LOOP("{{ m.role[0] }}:{{ m.content }}</s>"));
    expect_text(e, 2, true, "u:It snowed.</s>a:Es hat </s> ");
    expect_text(e, 2, false, "u:It snowed.</s>a:Es hat </s> </s>A:");
    expect_text(e, 3, false, "u:It snowed.</s>a:Es hat </s> </s>u:a lot</s>A:");
    /* what the answer spells is no token, open or not */
    expect_ids(e, 2, true, (const char *const[]){"u:It snowed.", "</s>", "a:Es hat </s> "}, 3);
    expect_ids(e, 2, false, (const char *const[]){"u:It snowed.", "</s>", "a:Es hat </s> ", "</s>A:"}, 4);
    weir_engine_close(e);
}

Test(chat_open, blanks_at_the_end_go_where_the_template_strips_them) {
    weir_engine *e = open_with(LOOP("{{ m.content | trim }}\n"));
    expect_text(e, 2, true, "It snowed.\nEs hat </s>");
    weir_engine_close(e);
    e = open_with(LOOP("{{ m.content }}")); /* nothing between them, nothing after them */
    expect_text(e, 2, true, "It snowed.Es hat </s> ");
    weir_engine_close(e);
}

static void expect_refused(weir_engine *e, size_t n, weir_status want, const char *word) {
    int32_t *ids = NULL;
    char *text = NULL;
    size_t n_ids = 7;
    for (int i = 0; i < 2; i++) {
        weir_err err = {""};
        const weir_status s = i ? weir_chat_prompt(e, talk, n, true, &text, &n_ids, &err)
                                : weir_chat_tokenize(e, talk, n, true, &ids, &n_ids, &err);
        cr_expect(s == want && err_is_line(&err, word), "%d: %s", s, err.text);
        cr_expect(!ids && !text && n_ids == 7);
    }
}

Test(chat_open, what_cannot_be_continued_is_named) {
    weir_engine *e = open_with(LOOP("{{ m.content }}\n"));
    expect_refused(e, 0, WEIR_EINVAL, "without a message");
    expect_refused(e, 1, WEIR_EINVAL, "message 0 (user): only an answer");
    expect_refused(e, 3, WEIR_EINVAL, "message 2 (user): only an answer");
    weir_engine_close(e);
    e = open_with(LOOP("{{ m.content[:3] }}\n"));
    expect_refused(e, 2, WEIR_ENOTSUP, "message 1 is not written once and to its end");
    weir_engine_close(e);
    e = open_with(LOOP("{{ messages[-1].content }}\n"));
    expect_refused(e, 2, WEIR_ENOTSUP, "message 1 is not written once and to its end");
    weir_engine_close(e);
    e = open_with("{{ raise_exception('no') }}");
    expect_refused(e, 2, WEIR_EINVAL, "chat template: line 1: no");
    weir_engine_close(e);
    e = open_demo("plain", NULL);
    expect_refused(e, 2, WEIR_EINVAL, "must be the user's");
    weir_engine_close(e);
    e = open_demo(NULL, NULL);
    expect_refused(e, 2, WEIR_ENOTSUP, "has no chat template");
    weir_engine_close(e);
}

Test(chat_open, a_format_by_name_has_a_text_too) {
    weir_engine *e = open_demo("llama2", NULL);
    expect_text(e, 2, true, "<s>[INST] It snowed. [/INST] Es hat </s>");
    expect_text(e, 1, false, "<s>[INST] It snowed. [/INST]");
    weir_engine_close(e);
    e = open_demo("plain", NULL);
    expect_text(e, 3, false, "a lot");
    weir_engine_close(e);
}

Test(chat_open, the_templates_own_text_is_kept) {
    weir_engine *e = open_with("{{ 1 }}\n");
    cr_expect_str_eq(weir_chat_template_text(e), "{{ 1 }}\n");
    weir_engine_close(e);
    e = open_demo("llama2", NULL);
    cr_expect(weir_chat_template_text(e) == NULL);
    weir_engine_close(e);
    e = open_demo(NULL, NULL);
    cr_expect(weir_chat_template_text(e) == NULL);
    weir_engine_facts f;
    weir_engine_get_facts(e, &f);
    cr_expect_str_eq(f.eos_text, "</s>");
    cr_expect(f.bos_text == NULL && f.bos_id == -1);
    weir_engine_close(e);
}

Test(chat_open, failed_allocations_leave_nothing) {
    alloc_install(0);
    for (int named = 0; named < 2; named++) {
        weir_engine *e = named ? open_demo("llama2", NULL) : open_with(LOOP("{{ m.content }}\n"));
        const long before = alloc_live();
        weir_status s = WEIR_ENOMEM;
        for (long allowed = 0; s != WEIR_OK && allowed < 200; allowed++) {
            char *text = NULL;
            size_t n = 0;
            weir_err err = {""};
            alloc_fail_after(alloc_count() + allowed);
            s = weir_chat_prompt(e, talk, 2, true, &text, &n, &err);
            alloc_fail_after(1L << 40);
            cr_assert(s == WEIR_OK || (s == WEIR_ENOMEM && !text && err_is_line(&err, "memory")), "%s",
                      err.text);
            weir_text_free(text);
            cr_assert_eq(alloc_live(), before, "%ld", allowed);
        }
        cr_expect(s == WEIR_OK);
        weir_engine_close(e);
    }
    cr_expect_eq(alloc_live(), 0);
    alloc_uninstall();
}
