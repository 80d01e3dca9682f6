/* Whole requests against the tokenizer of the demo pair, without its weights. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/wire/request.h"
#include "tests/support/alloc.h"
#include "tests/support/costs.h"

static weir_engine *engine;
static weir_err err;

static void open_engine(void) {
    alloc_install(0); /* before anything is allocated, so that a case may make allocations fail */
    weir_engine_options o = weir_engine_options_default();
    o.costs = TEST_COSTS;
    o.model = WEIR_SOURCE_DIR "/models/demo/verifier";
    o.device = "cpu";
    o.chat_template = "plain";
    o.dry_run = true;
    cr_assert(weir_engine_open(&engine, &o, &err) == WEIR_OK, "%s", err.text);
}

static void close_engine(void) { weir_engine_close(engine); }

TestSuite(request, .init = open_engine, .fini = close_engine);

static weir_status take(const char *text, size_t n, bool has_draft, wire_request *r) {
    const wire_context c = {.engine = engine,
                            .ctx_size = 512,
                            .draft = has_draft ? WEIR_DRAFT_MODEL : WEIR_DRAFT_NONE,
                            .parse_special = true};
    wire_object in;
    err.text[0] = '\0';
    weir_status st = wire_object_parse(&in, text, n, &err);
    if (st == WEIR_OK) st = wire_request_read(&c, &in, r, &err);
    wire_object_free(&in);
    return st;
}

static wire_request defaults(void) { return (wire_request){.o = weir_session_options_default()}; }

#define WHOLE                                                                                    \
    "{\"prompt\": \"It snowed a lot.\", \"stop\": [\"x\", \"yz\"], \"deferral_rule\": \"opt\", " \
    "\"max_tokens\": 512}"

Test(request, prompt_stop_and_settings) {
    wire_request r = defaults();
    cr_assert(take(WHOLE, strlen(WHOLE), true, &r) == WEIR_OK, "%s", err.text);
    cr_expect(r.n_ids > 1 && r.o.n_stop == 2 && r.o.law.rule == WEIR_RULE_OPT && r.o.max_tokens == 512);
    cr_expect_str_eq(r.o.stop[1], "yz");
    wire_request_free(&r);
    cr_expect(!r.ids && !r.stop);
}

Test(request, a_conversation_is_written_in_the_template) {
    static const char text[] = "{\"messages\": [{\"role\": \"user\", \"content\": \"It snowed a lot.\"}]}";
    static const char plain[] = "{\"prompt\": \"It snowed a lot.\", \"parse_special\": false}";
    wire_request a = defaults(), b = defaults();
    cr_assert(take(text, strlen(text), true, &a) == WEIR_OK, "%s", err.text);
    cr_assert(take(plain, strlen(plain), true, &b) == WEIR_OK, "%s", err.text);
    cr_expect(a.n_ids == b.n_ids && memcmp(a.ids, b.ids, a.n_ids * sizeof *a.ids) == 0);
    wire_request_free(&a);
    wire_request_free(&b);
}

Test(request, a_drafter_that_is_not_there_is_named_by_the_field_that_asks_for_it) {
    static const char *const lines[] = {"{\"prompt\": \"a\", \"deferral_alpha\": 0.5}",
                                        "{\"prompt\": \"a\", \"speculative\": true}"};
    static const char *const want[] = {"\"deferral_rule\": needs a drafter",
                                       "\"speculative\": true needs a drafter"};
    for (int i = 0; i < 2; i++) {
        wire_request r = defaults();
        cr_expect(take(lines[i], strlen(lines[i]), false, &r) == WEIR_EINVAL);
        cr_expect_str_eq(err.text, want[i]);
        wire_request_free(&r);
    }
    static const char off[] = "{\"prompt\": \"a\", \"speculative\": false}";
    wire_request r = defaults();
    cr_expect(take(off, strlen(off), false, &r) == WEIR_OK && r.o.method == WEIR_METHOD_VERIFIER);
    wire_request_free(&r);
}

Test(request, every_prefix_is_refused_with_a_line) {
    for (size_t n = 0; n < strlen(WHOLE); n++) {
        char *exact = malloc(n ? n : 1);
        memcpy(exact, WHOLE, n);
        wire_request r = defaults();
        cr_expect(take(exact, n, true, &r) == WEIR_EFORMAT && err.text[0], "%zu bytes", n);
        wire_request_free(&r);
        free(exact);
    }
}

/* Any byte in the place of any other: read or refused with one line, nothing left behind. */
Test(request, damaged_at_every_byte) {
    static const char bytes[] = {'"', '{', ']', ':', ',', '9', '-', 'e', '\\', ' ', 0, (char)0xff};
    const size_t n = strlen(WHOLE);
    char *text = malloc(n);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < sizeof bytes; k++) {
            memcpy(text, WHOLE, n);
            text[i] = bytes[k];
            wire_request r = defaults();
            const weir_status st = take(text, n, true, &r);
            cr_expect((st == WEIR_OK) == (err.text[0] == '\0') && !strchr(err.text, '\n'), "byte %zu: %s", i,
                      err.text);
            wire_request_free(&r);
        }
    free(text);
}

Test(request, no_memory_is_an_error_and_leaves_nothing_behind) {
    static const char *const texts[] = {
        WHOLE, "{\"prompt_ids\": [1, 2], \"seed\": 18446744073709551615, \"stop\": \"a\"}",
        "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}], \"seed\": 18446744073709551615}"};
    for (int i = 0; i < 3; i++) {
        const long live = alloc_live(), before = alloc_count();
        for (long n = 0;; n++) {
            cr_assert(n < 1000, "%s", err.text);
            alloc_fail_after(alloc_count() + n);
            wire_request r = defaults();
            const weir_status st = take(texts[i], strlen(texts[i]), true, &r);
            wire_request_free(&r);
            alloc_fail_after(1L << 40);
            cr_assert(alloc_live() == live, "%ld blocks left when allocation %ld fails", alloc_live() - live,
                      n);
            if (st == WEIR_OK) break;
            cr_expect(st == WEIR_ENOMEM && err.text[0], "allocation %ld: %d %s", n, st, err.text);
        }
        cr_expect(alloc_count() > before);
    }
}
