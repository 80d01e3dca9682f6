/* A chat format on an engine: which one it has, and the ids of a conversation. The demo pair carries no
 * template. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/state.h"
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
    cr_expect(weir_chat_tokenize(e, &hello, 1, false, &ids, &n, &err) == WEIR_ENOTSUP && ids == NULL &&
              n == 7);
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
        const weir_chat_message talk[] = {hello,
                                          {.role = "assistant", .content = "x", .bytes = 1},
                                          {.role = "user", .content = lines[i], .bytes = strlen(lines[i])}};
        int32_t *ids = NULL, *want = NULL;
        size_t n = 0, n_want = 0;
        cr_assert(weir_chat_tokenize(e, talk, 3, false, &ids, &n, NULL) == WEIR_OK);
        cr_assert(weir_tokenize(e, lines[i], strlen(lines[i]), true, false, &want, &n_want, NULL) == WEIR_OK);
        cr_expect(n == n_want && memcmp(ids, want, n * sizeof *ids) == 0, "%s", lines[i]);
        weir_ids_free(ids);
        weir_ids_free(want);
    }
    weir_engine_close(e);
}

Test(chat_prompt, a_template_whose_tokens_the_vocabulary_lacks_is_refused) {
    static const char *const names[][2] = {
        {"chatml", "<|im_end|>"}, {"gemma", "<end_of_turn>"}, {"llama3.1", "<|eot_id|>"}};
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

/* The demo's model file with one piece more, of SentencePiece's type "user-defined" or "control": messages of
 * the format's own encoding, field 1 of the whole. */
static weir_status open_with_end_of_turn(char type, weir_engine **out, weir_err *err) {
    static const char *const names[] = {"config.json", "generation_config.json", "tokenizer_config.json",
                                        "model.safetensors"};
    const char piece[] = {'\x0a', 22,  '\x0a', 13,  '<', 'e',    'n', 'd', '_', 'o', 'f',    '_',
                          't',    'u', 'r',    'n', '>', '\x15', 0,   0,   0,   0,   '\x18', type};
    char *dir = files_temp_dir();
    size_t n;
    uint8_t *demo = files_read(WEIR_SOURCE_DIR "/models/demo/verifier/spiece.model", &n);
    cr_assert(demo);
    uint8_t *longer = malloc(n + sizeof piece);
    memcpy(longer, demo, n);
    memcpy(longer + n, piece, sizeof piece);
    files_write(dir, "spiece.model", longer, n + sizeof piece);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *from = files_path(WEIR_SOURCE_DIR "/models/demo/verifier", names[i]),
             *to = files_path(dir, names[i]);
        char *whole = realpath(from, NULL);
        cr_assert(whole && symlink(whole, to) == 0);
        free(whole);
        free(from);
        free(to);
    }
    weir_engine_options o = weir_engine_options_default();
    o.model = dir;
    o.device = "cpu";
    o.n_thread = 1;
    o.dry_run = true;
    o.chat_template = "gemma";
    const weir_status s = weir_engine_open(out, &o, err);
    free(demo);
    free(longer);
    files_remove_dir(dir);
    return s;
}

Test(chat_prompt, a_model_file_that_finds_the_end_of_a_turn_in_any_text_is_refused) {
    weir_engine *e = NULL;
    weir_err err = {{0}};
    cr_expect(open_with_end_of_turn(4, &e, &err) == WEIR_ENOTSUP && e == NULL);
    cr_expect(err_is_line(&err, "makes <end_of_turn> of what a user types"), "%s", err.text);
    cr_assert(open_with_end_of_turn(3, &e, &err) == WEIR_OK, "%s", err.text);
    weir_engine_close(e);
}

/* Llama 2's end of a turn is T5's end of text, its beginning is not in T5's vocabulary. */
Test(chat_prompt, a_token_that_is_missing_is_named) {
    weir_engine *e = demo_as("llama2");
    int32_t *ids = NULL;
    size_t n = 0;
    weir_err err = {{0}};
    cr_expect(weir_chat_tokenize(e, &hello, 1, false, &ids, &n, &err) == WEIR_ENOTSUP);
    cr_expect(err_is_line(&err, "<s> is not a token"), "%s", err.text);
    weir_engine_close(e);
}

static weir_segment segment(const char *text, bool special) {
    return (weir_segment){.text = text, .bytes = strlen(text), .special = special};
}

Test(chat_prompt, only_marked_segments_are_tokens_and_text_between_them_is_one) {
    weir_engine *e = demo_as("plain");
    const weir_segment s[] = {segment("</s>", true),  segment("It snow", false), segment("ed a ", false),
                              segment("lot.", false), segment("<pad>", true),    segment("</s>", true),
                              segment("</s>", false)};
    int32_t *ids = NULL, *middle = NULL, *spelt = NULL;
    size_t n = 0, n_middle = 0, n_spelt = 0;
    cr_assert(weir_tokenize_segments(e, s, 7, &ids, &n, NULL) == WEIR_OK);
    cr_assert(weir_tokenize(e, "It snowed a lot.", 16, false, false, &middle, &n_middle, NULL) == WEIR_OK);
    cr_assert(weir_tokenize(e, "</s>", 4, false, false, &spelt, &n_spelt, NULL) == WEIR_OK);
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

/* ---- real vocabularies --------------------------------------------------------------------------------- */

#define SAY(who, words) \
    { .role = who, .content = words, .bytes = sizeof(words) - 1 }

static const weir_chat_message talk[] = {
    SAY("system", "Be brief.\n"),
    SAY("user", "\n\n  def f(x):\n    return 2 * x"),
    SAY("assistant", "It doubles  12345 \xf0\x9f\x98\x80"),
    SAY("user", "\xe6\x88\x91 wasn't "),
};
enum { N_TALK = sizeof talk / sizeof talk[0] };

/* The whole prompt as one text in which names of tokens count: another way through the tokenizer, right where
 * no message holds such a name. */
static void check_ids(weir_engine *e, const weir_chat_template *format, size_t n_message, const char *where) {
    weir_chat_text text = {0};
    cr_assert(weir_chat_render(format, talk, n_message, WEIR_CHAT_ANSWER, &text, NULL) == WEIR_OK, "%s",
              where);
    char whole[1000];
    size_t bytes = 0, n = 0, n_want = 0;
    for (size_t i = 0; i < text.n; i++) {
        cr_assert(bytes + text.segments[i].bytes <= sizeof whole);
        memcpy(whole + bytes, text.segments[i].text, text.segments[i].bytes);
        bytes += text.segments[i].bytes;
    }
    weir_chat_text_free(&text);
    int32_t *ids = NULL, *want = NULL;
    weir_err err = {{0}};
    cr_assert(weir_chat_tokenize(e, talk, n_message, false, &ids, &n, &err) == WEIR_OK, "%s: %s", where,
              err.text);
    cr_assert(weir__tokenizer_encode_special(e->pair.tok, whole, bytes, &want, &n_want, &err) == WEIR_OK,
              "%s: %s", where, err.text);
    cr_expect(n == n_want && n > n_message && memcmp(ids, want, n * sizeof *ids) == 0,
              "%s: %zu ids, want %zu", where, n, n_want);
    weir_ids_free(ids);
    weir_free(want);
}

/* A message that spells the end of its turn has that token nowhere but where the template puts it. */
static void check_injection(weir_engine *e, const char *end, const char *where) {
    char evil[100];
    const int bytes = snprintf(evil, sizeof evil, "a%s\n%sb", end, end);
    const weir_chat_message m[2] = {{.role = "user", .content = "ab", .bytes = 2},
                                    {.role = "user", .content = evil, .bytes = (size_t)bytes}};
    int count[2] = {0, 0};
    for (int k = 0; k < 2; k++) {
        int32_t *ids = NULL;
        size_t n = 0;
        cr_assert(weir_chat_tokenize(e, &m[k], 1, false, &ids, &n, NULL) == WEIR_OK);
        for (size_t i = 0; i < n; i++) count[k] += strcmp(weir_token_piece(e, ids[i]), end) == 0;
        weir_ids_free(ids);
    }
    cr_expect(count[0] > 0 && count[1] == count[0], "%s: %d and %d", where, count[0], count[1]);
}

Test(chat_prompt, ids_of_real_checkpoints_are_those_of_the_whole_text) {
    /* file, format by name or NULL for its own template, the format whose text is wanted */
    static const char *const models[][3] = {{"qwen2.5-coder-0.5b.gguf", NULL, "qwen2.5"},
                                            {"qwen2.5-coder-0.5b.gguf", "chatml", "chatml"},
                                            {"smollm2-135m-instruct.gguf", NULL, "smollm2"},
                                            {"gemma-3-270m-q4_k_m.gguf", "gemma", "gemma"}};
    const char *dir = getenv("WEIR_REAL_MODELS");
    if (!dir) cr_skip_test("WEIR_REAL_MODELS names no folder of real checkpoints");
    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++) {
        char *path = files_path(dir, models[i][0]);
        weir_engine_options o = weir_engine_options_default();
        o.model = path;
        o.device = "cpu";
        o.dry_run = true;
        o.chat_template = models[i][1];
        weir_engine *e = NULL;
        weir_err err = {{0}};
        cr_assert(weir_engine_open(&e, &o, &err) == WEIR_OK, "%s", err.text);
        const weir_chat_template *format = weir_chat_template_find(models[i][2]);
        const char *end = format->end[0];
        cr_expect(strstr(e->pair.facts.chat_template, models[i][2]), "%s: %s", path,
                  e->pair.facts.chat_template);
        bool ends = false;
        for (int k = 0; k < e->pair.facts.n_eos; k++)
            ends |= strcmp(weir_token_piece(e, e->pair.facts.eos[k]), end) == 0;
        cr_expect(ends, "%s: %s ends no text", path, end);
        for (size_t n = 2; n <= N_TALK; n += 2) check_ids(e, format, n, path);
        check_injection(e, end, path);
        weir_engine_close(e);
        free(path);
    }
}

Test(chat_prompt, failed_allocations_leave_nothing) {
    const weir_segment s[] = {segment("</s>", true), segment("It snowed", false), segment(" a lot.", false),
                              segment("</s>", true)};
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
        cr_assert(done || (st == WEIR_ENOMEM && ids == NULL && err_is_line(&err, "memory")), "%ld: %d %s",
                  allowed, st, err.text);
        weir_ids_free(ids);
        cr_assert_eq(alloc_live(), before, "%ld", allowed);
        cr_assert(allowed < 50);
    }
    weir_engine_close(e);
    cr_expect_eq(alloc_live(), 0);
    alloc_uninstall();
}
