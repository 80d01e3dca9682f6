/* A chat format on an engine: which one it has, and the ids of a conversation. The demo pair carries no template. */
#include <criterion/criterion.h>
#include <string.h>

#include "host/weir.h"
#include "kernels/base/mem.h"
#include "tests/support/alloc.h"
#include "tests/support/files.h"

static weir_status open_demo(const char *chat, weir_engine **out, weir_err *err) {
    weir_engine_options o = weir_engine_options_default();
    o.model = WEIR_SOURCE_DIR "/models/demo/verifier";
    o.device = "cpu";
    o.n_thread = 1;
    o.dry_run = true;
    o.chat_template = chat;
    return weir_engine_open(out, &o, err);
}

static weir_engine *demo_as(const char *chat) {
    weir_engine *e = NULL;
    weir_err err = {{0}};
    cr_assert(open_demo(chat, &e, &err) == WEIR_OK, "%s", err.text);
    return e;
}

static const weir_chat_message hello = {.role = "user", .content = "It snowed a lot.", .bytes = 16};

Test(chat_prompt, a_checkpoint_without_a_template_says_so_and_names_those_there_are) {
    weir_engine *e = demo_as(NULL);
    weir_engine_facts f;
    weir_engine_get_facts(e, &f);
    cr_assert(f.chat_template == NULL && f.chat_note != NULL);
    int32_t *ids = NULL;
    size_t n = 7;
    weir_err err = {{0}};
    cr_expect(weir_chat_tokenize(e, &hello, 1, &ids, &n, &err) == WEIR_ENOTSUP && ids == NULL && n == 7);
    cr_expect(err_is_line(&err, "has no chat template"), "%s", err.text);
    cr_expect(strstr(err.text, "chatml, qwen2, qwen2.5") && strstr(err.text, "plain"), "%s", err.text);
    cr_expect_str_eq(err.text, f.chat_note);
    weir_engine_close(e);
}

Test(chat_prompt, plain_gives_the_ids_of_a_prompt) {
    static const char *const lines[] = {"It snowed a lot.", "", "</s>", "  two  blanks "};
    weir_engine *e = demo_as("plain");
    weir_engine_facts f;
    weir_engine_get_facts(e, &f);
    cr_expect_str_eq(f.chat_template, "plain");
    cr_expect(f.chat_note == NULL && f.n_eos == 1);
    for (int i = 0; i < 4; i++) {
        const weir_chat_message talk[] = {hello, {.role = "assistant", .content = "x", .bytes = 1},
                                          {.role = "user", .content = lines[i], .bytes = strlen(lines[i])}};
        int32_t *ids = NULL, *want = NULL;
        size_t n = 0, n_want = 0;
        cr_assert(weir_chat_tokenize(e, talk, 3, &ids, &n, NULL) == WEIR_OK);
        cr_assert(weir_tokenize(e, lines[i], strlen(lines[i]), true, &want, &n_want, NULL) == WEIR_OK);
        cr_expect(n == n_want && memcmp(ids, want, n * sizeof *ids) == 0, "%s", lines[i]);
        weir_ids_free(ids);
        weir_ids_free(want);
    }
    weir_engine_close(e);
}

Test(chat_prompt, a_template_whose_tokens_the_vocabulary_lacks_is_refused) {
    static const char *const names[][2] = {{"chatml", "<|im_end|>"}, {"gemma", "<end_of_turn>"}, {"llama3.1", "<|eot_id|>"}};
    for (int i = 0; i < 3; i++) {
        weir_engine *e = NULL;
        weir_err err = {{0}};
        cr_expect(open_demo(names[i][0], &e, &err) == WEIR_ENOTSUP && e == NULL);
        cr_expect(err_is_line(&err, names[i][0]) && strstr(err.text, names[i][1]), "%s", err.text);
    }
    weir_engine *e = NULL;
    weir_err err = {{0}};
    cr_expect(open_demo("vicuna", &e, &err) == WEIR_EINVAL);
    cr_expect(err_is_line(&err, "vicuna") && strstr(err.text, "llama3.1"), "%s", err.text);
}

/* Llama 2's end of a turn is T5's end of text, its beginning is not in T5's vocabulary. */
Test(chat_prompt, a_token_that_is_missing_is_named) {
    weir_engine *e = demo_as("llama2");
    int32_t *ids = NULL;
    size_t n = 0;
    weir_err err = {{0}};
    cr_expect(weir_chat_tokenize(e, &hello, 1, &ids, &n, &err) == WEIR_ENOTSUP);
    cr_expect(err_is_line(&err, "<s> is no token"), "%s", err.text);
    weir_engine_close(e);
}

static weir_segment segment(const char *text, bool special) {
    return (weir_segment){.text = text, .bytes = strlen(text), .special = special};
}

Test(chat_prompt, only_marked_segments_are_tokens_and_text_between_them_is_one) {
    weir_engine *e = demo_as("plain");
    const weir_segment s[] = {segment("</s>", true),   segment("It snow", false), segment("ed a ", false), segment("lot.", false),
                              segment("<pad>", true),  segment("</s>", true),     segment("</s>", false)};
    int32_t *ids = NULL, *middle = NULL, *spelt = NULL;
    size_t n = 0, n_middle = 0, n_spelt = 0;
    cr_assert(weir_tokenize_segments(e, s, 7, &ids, &n, NULL) == WEIR_OK);
    cr_assert(weir_tokenize(e, "It snowed a lot.", 16, false, &middle, &n_middle, NULL) == WEIR_OK);
    cr_assert(weir_tokenize(e, "</s>", 4, false, &spelt, &n_spelt, NULL) == WEIR_OK);
    weir_engine_facts f;
    weir_engine_get_facts(e, &f);
    cr_assert_eq(n, 1 + n_middle + 2 + n_spelt);
    cr_expect(ids[0] == f.eos[0] && ids[2 + n_middle] == f.eos[0] && ids[1 + n_middle] != f.eos[0]);
    cr_expect(memcmp(ids + 1, middle, n_middle * sizeof *ids) == 0);
    cr_expect(memcmp(ids + 3 + n_middle, spelt, n_spelt * sizeof *ids) == 0);
    for (size_t i = 0; i < n_spelt; i++) cr_expect(spelt[i] != f.eos[0]);
    weir_ids_free(ids);
    weir_ids_free(middle);
    weir_ids_free(spelt);
    weir_engine_close(e);
}

Test(chat_prompt, no_segment_gives_no_id) {
    weir_engine *e = demo_as("plain");
    int32_t *ids = NULL;
    size_t n = 7;
    cr_assert(weir_tokenize_segments(e, NULL, 0, &ids, &n, NULL) == WEIR_OK && ids != NULL && n == 0);
    weir_ids_free(ids);
    const weir_segment prefix = segment("</s", true), longer = segment("</s>x", true);
    cr_expect(weir_tokenize_segments(e, &prefix, 1, &ids, &n, NULL) == WEIR_ENOTSUP);
    cr_expect(weir_tokenize_segments(e, &longer, 1, &ids, &n, NULL) == WEIR_ENOTSUP);
    weir_engine_close(e);
}

Test(chat_prompt, failed_allocations_leave_nothing) {
    const weir_segment s[] = {segment("</s>", true), segment("It snowed", false), segment(" a lot.", false), segment("</s>", true)};
    bool done = false;
    alloc_install(0);
    weir_engine *e = demo_as("plain");
    const long before = alloc_live();
    for (long allowed = 0; !done; allowed++) {
        int32_t *ids = NULL;
        size_t n = 0;
        weir_err err = {{0}};
        alloc_fail_after(alloc_count() + allowed);
        const weir_status st = weir_tokenize_segments(e, s, 4, &ids, &n, &err);
        alloc_fail_after(1L << 40);
        done = st == WEIR_OK;
        cr_assert(done || (st == WEIR_ENOMEM && ids == NULL && err_is_line(&err, "memory")), "%ld: %d %s", allowed, st, err.text);
        weir_ids_free(ids);
        cr_assert_eq(alloc_live(), before, "%ld", allowed);
        cr_assert(allowed < 50);
    }
    weir_engine_close(e);
    cr_expect_eq(alloc_live(), 0);
    alloc_uninstall();
}
