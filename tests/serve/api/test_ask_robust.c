/* Bodies that are cut, damaged or deep; no memory; many threads. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/wire/object.h"
#include "tests/serve/api/ask_fixture.h"
#include "tests/support/alloc.h"

static void open_all(void) {
    alloc_install(0);
    servers_open();
}

TestSuite(ask_robust, .init = open_all, .fini = servers_close);
TestSuite(ask_threads, .init = open_all, .fini = servers_close);

static const char completions[] =
    "{\"model\": \"demo:fast\", \"prompt\": [\"It snowed.\", [5, 6]], \"stop\": [\"x\", null], \"seed\": 7, "
    "\"cache_salt\": \"s\", \"request_id\": \"r\", \"zebra\": 1, \"stream_options\": {\"include_usage\": true}}";
static const char chat[] =
    "{\"messages\": [{\"role\": \"user\", \"content\": [{\"type\": \"text\", \"text\": \"a\"}, {\"type\": \"text\", "
    "\"text\": \"b\"}], \"mood\": 1}], \"deferral_rule\": \"opt\", \"max_tokens\": 5, \"tools\": []}";
static const char *const bodies[] = {completions, chat};

Test(ask_robust, every_prefix_is_refused_with_its_byte) {
    for (int k = 0; k < 2; k++)
        for (size_t n = 0; n < strlen(bodies[k]); n++) {
            char *exact = malloc(n ? n : 1);
            memcpy(exact, bodies[k], n);
            api_ask a;
            cr_expect(!ask_bytes(&demo, k, exact, n, &a), "%zu bytes", n);
            cr_expect(said.status == 400 && strcmp(said.code, "invalid_json") == 0 &&
                          strstr(said.message.text, "(byte "),
                      "%zu bytes: %s", n, said.message.text);
            free(exact);
        }
}

Test(ask_robust, damaged_at_every_byte) {
    static const char bytes[] = {'"', '{', ']', ':', ',', '9', '-', 'e', '\\', ' ', 0, (char)0xff};
    const long live = alloc_live();
    char text[sizeof completions];
    for (int k = 0; k < 2; k++)
        for (size_t i = 0; i < strlen(bodies[k]); i++)
            for (size_t c = 0; c < sizeof bytes; c++) {
                const size_t n = strlen(bodies[k]);
                memcpy(text, bodies[k], n);
                text[i] = bytes[c];
                api_ask a;
                if (ask_bytes(&demo, k, text, n, &a))
                    api_ask_free(&a);
                else
                    cr_expect((said.status == 400 || said.status == 404) && said.message.text[0] &&
                                  !strchr(said.message.text, '\n'),
                              "byte %zu: %d %s", i, said.status, said.message.text);
                cr_assert(alloc_live() == live, "byte %zu: something is left", i);
            }
}

Test(ask_robust, other_json_than_an_object_and_depth) {
    static const char *const other[] = {"", "null", "[]", "\"a\"", "5", "{} {}", "{\"a\": 1, \"a\": 2}"};
    api_ask a;
    for (size_t i = 0; i < sizeof other / sizeof *other; i++) {
        cr_expect(!ask_bytes(&demo, true, other[i], strlen(other[i]), &a));
        cr_expect_str_eq(said.code, "invalid_json", "%s", other[i]);
    }
    for (int depth = 63; depth <= 100000; depth += depth < 65 ? 1 : 99935) {
        char *deep = calloc(1, 2 * (size_t)depth + 40);
        const size_t head = (size_t)sprintf(deep, "{\"prompt\": \"a\", \"zebra\": ");
        memset(deep + head, '[', (size_t)depth);
        memset(deep + head + depth, ']', (size_t)depth);
        deep[head + 2 * (size_t)depth] = '}';
        const bool ok = ask_bytes(&demo, false, deep, strlen(deep), &a);
        cr_expect(ok == (depth <= 63), "%d: %s", depth, said.message.text);
        if (ok) api_ask_free(&a);
        if (!ok)
            cr_expect(strstr(said.message.text, "nested deeper than 64 levels"), "%s", said.message.text);
        free(deep);
    }
    static const char brackets[] =
        "{\"prompt\": \"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\"}";
    cr_assert(ask_bytes(&demo, false, brackets, sizeof brackets - 1, &a), "%s", said.message.text);
    api_ask_free(&a);
}

/* ---- memory -------------------------------------------------------------------------------------------- */

static long json_count, json_live, json_fail = 1L << 40;

static void *json_alloc(size_t n) {
    if (++json_count > json_fail) return NULL;
    json_live++;
    return malloc(n);
}

static void json_release(void *p) {
    if (p) json_live--;
    free(p);
}

/* The tokenizer's library has memory of its own; weir's allocations and the JSON library's fail here, one by
 * one. */
Test(ask_robust, no_memory_is_an_error_and_leaves_nothing_behind) {
    json_set_alloc_funcs(json_alloc, json_release);
    wire_watch_json_memory();
    for (int k = 0; k < 4; k++) {
        const bool of_json = k >= 2;
        const char *body = bodies[k % 2];
        const long live = alloc_live(), json = json_live;
        for (long n = 0;; n++) {
            cr_assert(n < 3000, "%s", said.message.text);
            if (of_json)
                json_fail = json_count + n;
            else
                alloc_fail_after(alloc_count() + n);
            api_ask a;
            const bool ok = ask_bytes(&demo, k % 2, body, strlen(body), &a);
            json_fail = 1L << 40;
            alloc_fail_after(1L << 40);
            if (ok) api_ask_free(&a);
            cr_assert(alloc_live() == live && json_live == json, "allocation %ld: %ld and %ld blocks left", n,
                      alloc_live() - live, json_live - json);
            if (ok) {
                cr_expect(n > 10);
                break;
            }
            cr_expect(said.status == 500 && strcmp(said.code, "internal_error") == 0, "allocation %ld: %d %s",
                      n, said.status, said.message.text);
        }
    }
}

/* ---- threads ------------------------------------------------------------------------------------------- */

static atomic_int wrong;

static void *read_many(void *ud) {
    const int k = *(const int *)ud;
    for (int i = 0; i < 40; i++) {
        api_ask a;
        serve_error e = {0};
        if (!api_ask_read(&demo, k, bodies[k], strlen(bodies[k]), &a, &e))
            atomic_fetch_add(&wrong, 1);
        else
            api_ask_free(&a);
        if (api_ask_read(&demo, k, bodies[k], strlen(bodies[k]) - 1, &a, &e)) atomic_fetch_add(&wrong, 1);
    }
    return NULL;
}

Test(ask_threads, any_number_of_threads_read_at_once) {
    pthread_t threads[4];
    int kinds[4] = {0, 1, 0, 1};
    for (int i = 0; i < 4; i++) cr_assert(pthread_create(&threads[i], NULL, read_many, &kinds[i]) == 0);
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    cr_expect(atomic_load(&wrong) == 0);
}
