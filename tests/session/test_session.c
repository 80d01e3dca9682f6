/* Streaming, stop strings, cancelling, slots. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "host/state.h"
#include "kernels/accept/accept.h"
#include "tests/host/pairs/pair_fixture.h"
#include "tests/support/build.h"
#include "tests/support/alloc.h"

typedef struct sink {
    char text[4096];
    int32_t ids[256];
    size_t n, bytes;
    size_t cancel_after; /* 0 = never */
} sink;

static bool collect(void *ud, weir_session *s, const weir_token_event *ev) {
    sink *k = ud;
    (void)s;
    k->ids[k->n++] = ev->id;
    memcpy(k->text + k->bytes, ev->text, ev->bytes);
    k->bytes += ev->bytes;
    k->text[k->bytes] = '\0';
    return k->cancel_after == 0 || k->n < k->cancel_after;
}

static weir_session *start(weir_engine *e, const weir_session_options *o, const char *prompt, sink *k) {
    int32_t *ids = NULL;
    size_t n = 0;
    weir_err err = {""};
    cr_assert(weir_tokenize(e, prompt, strlen(prompt), true, true, &ids, &n, &err) == WEIR_OK);
    weir_session *s = NULL;
    cr_assert(weir_session_create(e, o, ids, n, collect, k, &s, &err) == WEIR_OK, "%s", err.text);
    weir_ids_free(ids);
    return s;
}

static weir_session_options greedy(void) {
    weir_session_options o = weir_session_options_default();
    o.law.temp = 0.0f;
    o.max_tokens = 60;
    return o;
}

Test(session, streamed_text_and_ids_are_the_final_ones) {
    weir_engine *e = demo_open(1, 1, NULL, true);
    static answer a;
    for (int i = 0; i < 10; i++) {
        for (int m = 0; m < 6; m++) {
            weir_session_options o = greedy();
            o.law.temp = 1.0f;
            o.method = (weir_method)m;
            if (m == WEIR_METHOD_TOKEN_CASCADE) o.law.rule = WEIR_RULE_CHOW, o.law.alpha = 0.5f;
            if (m == WEIR_METHOD_SEQUENCE_CASCADE) o.law.alpha = 1.5f;
            static sink k;
            memset(&k, 0, sizeof k);
            weir_session *s = start(e, &o, demo_prompts[i], &k);
            weir_err err = {""};
            cr_assert(weir_step(e, &s, 1, 1000, &err) == WEIR_OK, "%s", err.text);
            answer_take(s, &a);
            weir_session_free(s);
            cr_assert(k.n == a.n && memcmp(k.ids, a.ids, a.n * sizeof *a.ids) == 0, "method %d", m);
            cr_assert(strcmp(k.text, a.text) == 0, "\"%s\" streamed, \"%s\" at the end", k.text, a.text);
            answer whole;
            answer_run(e, &o, demo_prompts[i], &whole); /* without a callback: one decode of all ids */
            cr_assert(strcmp(whole.text, a.text) == 0, "\"%s\" decoded, \"%s\" streamed", whole.text, a.text);
        }
    }
    weir_engine_close(e);
}

/* Every substring of a known answer as stop string: the text ends before it and none of it is reported. */
Test(session, stop_strings_cut_wherever_they_begin) {
    weir_engine *e = demo_open(1, 1, NULL, true);
    static answer whole;
    weir_session_options o = greedy();
    answer_run(e, &o, demo_prompts[2], &whole);
    const size_t n = strlen(whole.text);
    cr_assert(n > 20);
    for (size_t from = 0; from < n; from++) {
        for (size_t len = 1; len <= 12 && from + len <= n; len += build_is_sanitized() ? 5 : 1) {
            char stop[16] = "";
            memcpy(stop, whole.text + from, len);
            if (((unsigned char)stop[0] & 0xc0u) == 0x80u) continue; /* not inside a character */
            const char *const stops[] = {"never in a German text", stop};
            o.stop = stops;
            o.n_stop = 2;
            static sink k;
            memset(&k, 0, sizeof k);
            weir_session *s = start(e, &o, demo_prompts[2], &k);
            cr_assert(weir_step(e, &s, 1, 1000, NULL) == WEIR_OK);
            weir_session_view v;
            weir_session_get(s, &v);
            const size_t want = (size_t)(strstr(whole.text, stop) - whole.text);
            cr_assert(v.finish == WEIR_FINISH_STOP);
            cr_assert(v.bytes == want && memcmp(v.text, whole.text, want) == 0, "stop \"%s\": \"%s\"", stop,
                      v.text);
            cr_assert(strcmp(k.text, v.text) == 0, "stop \"%s\": told \"%s\", text \"%s\"", stop, k.text,
                      v.text);
            weir_session_free(s);
        }
    }
    weir_engine_close(e);
}

Test(session, a_callback_can_end_it) {
    weir_engine *e = demo_open(1, 1, NULL, true);
    weir_session_options o = greedy();
    static sink k;
    memset(&k, 0, sizeof k);
    k.cancel_after = 3;
    weir_session *s = start(e, &o, demo_prompts[2], &k);
    cr_assert(weir_step(e, &s, 1, 1000, NULL) == WEIR_OK);
    weir_session_view v;
    weir_session_get(s, &v);
    cr_assert(v.finish == WEIR_FINISH_CANCELLED && k.n == 3);
    weir_session_free(s);
    weir_engine_close(e);
}

Test(session, the_end_of_text_id_that_ended_it_is_told) {
    weir_engine *e = demo_open(1, 1, NULL, true);
    const int32_t real = e->pair.facts.eos[0];
    for (int m = 0; m < 2; m++) { /* ended by it, by the limit */
        weir_session_options o = greedy();
        if (m) o.max_tokens = 2;
        weir_session *s = demo_session(e, &o, demo_prompts[0]);
        e->pair.facts.n_eos = 2;     /* after the prompt, which the first one ends */
        e->pair.facts.eos[0] = 5987; /* the last piece, which greedy decoding of this prompt never takes */
        e->pair.facts.eos[1] = real;
        weir_session_view v;
        weir_session_get(s, &v);
        cr_expect(v.eos == -1);
        cr_assert(weir_step(e, &s, 1, 1000, NULL) == WEIR_OK);
        weir_session_get(s, &v);
        cr_expect(v.finish == (m ? WEIR_FINISH_LENGTH : WEIR_FINISH_STOP) && v.eos == (m ? -1 : real),
                  "case %d", m);
        weir_session_free(s);
        e->pair.facts.eos[0] = real;
    }
    weir_engine_close(e);
}

Test(session, cancel_ends_at_the_next_block_and_keeps_what_is_done) {
    weir_engine *e = demo_open(1, 1, NULL, true);
    weir_session_options o = greedy();
    o.ignore_eos = true;
    weir_session *s = demo_session(e, &o, demo_prompts[0]);
    cr_assert(weir_step(e, &s, 1, 2, NULL) == WEIR_OK);
    weir_session_view v;
    weir_session_get(s, &v);
    const size_t n = v.n;
    cr_assert(n >= 2 && v.finish == WEIR_RUNNING);
    weir_session_cancel(s);
    cr_assert(weir_step(e, &s, 1, 1000, NULL) == WEIR_OK);
    weir_session_get(s, &v);
    cr_assert(v.finish == WEIR_FINISH_CANCELLED && v.n == n);
    weir_session_free(s);
    weir_engine_close(e);
}

/* Another seed, prompt, length or choice draws from another stream. */
Test(session, every_choice_seed_and_prompt_has_a_key_of_its_own) {
    static const uint32_t choices[] = {0, 1, 2, 255, 256, 257, 512, 65536, 16777216, 4294967295u};
    static const uint64_t seeds[] = {0, 1, 256, 4294967296u, 9223372036854775808u, 18446744073709551615u};
    static const int32_t prompts[][3] = {{5, 6, 7}, {7, 6, 5}, {5, 6, 0}, {5, 6, 263}};
    enum { N_CHOICE = 10, N_SEED = 6, N_PROMPT = 4 * 3, N = N_CHOICE * N_SEED * N_PROMPT };
    static uint64_t keys[N];
    weir_engine *e = demo_open(1, 1, NULL, false);
    int n = 0;
    for (int i = 0; i < N; i++) {
        weir_session_options o = greedy();
        o.method = WEIR_METHOD_VERIFIER;
        o.choice = choices[i % N_CHOICE];
        o.seed = seeds[i / N_CHOICE % N_SEED];
        const int which = i / N_CHOICE / N_SEED;
        const size_t len = 1 + (size_t)which % 3;
        if (len < 3 && which / 3 > 1) continue; /* the beginnings of these are those of the first */
        weir_session *s = NULL;
        cr_assert(weir_session_create(e, &o, prompts[which / 3], len, NULL, NULL, &s, NULL) == WEIR_OK);
        keys[n] = (uint64_t)s->opt.law.key[1] << 32 | s->opt.law.key[0];
        for (int k = 0; k < n; k++) cr_assert(keys[k] != keys[n], "case %d has the key of another", i);
        n++;
        weir_session_free(s);
    }
    weir_engine_close(e);
}

/* What weir.h promises to other threads: facts, tokens and text of the engine while it works, and an end of
 * the session. */
typedef struct watcher {
    weir_engine *e;
    weir_session *s;
    atomic_int n_token;
} watcher;

static bool count_tokens(void *ud, weir_session *s, const weir_token_event *ev) {
    (void)s, (void)ev;
    atomic_fetch_add(&((watcher *)ud)->n_token, 1);
    return true;
}

static void *watch(void *arg) {
    watcher *w = arg;
    while (atomic_load(&w->n_token) < 4) {
        weir_engine_facts f;
        int32_t *ids = NULL;
        size_t n = 0;
        weir_engine_get_facts(w->e, &f);
        if (f.n_vocab <= 0 || weir_tokenize(w->e, "Tea.", 4, true, true, &ids, &n, NULL) != WEIR_OK || n == 0)
            return w;
        weir_ids_free(ids);
    }
    weir_session_cancel(w->s);
    return NULL;
}

Test(session, another_thread_reads_and_cancels) {
    watcher w = {.e = demo_open(1, 2, NULL, true)};
    weir_session_options o = greedy();
    o.ignore_eos = true;
    o.max_tokens = 100;
    const int32_t prompt[] = {10, 20, 1};
    cr_assert(weir_session_create(w.e, &o, prompt, 3, count_tokens, &w, &w.s, NULL) == WEIR_OK);
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, watch, &w), 0);
    weir_session_view v;
    do {
        cr_assert(weir_step(w.e, &w.s, 1, 1, NULL) == WEIR_OK);
        weir_session_get(w.s, &v);
    } while (v.finish == WEIR_RUNNING);
    void *wrong = NULL;
    pthread_join(thread, &wrong);
    cr_assert_null(wrong);
    cr_assert(v.n >= 4 && (v.finish == WEIR_FINISH_CANCELLED || v.n == 100), "%zu tokens", v.n);
    weir_session_free(w.s);
    weir_engine_close(w.e);
}

Test(session, too_many_at_once_is_refused_and_nothing_is_lost) {
    weir_engine *e = demo_open(2, 1, NULL, true);
    const weir_session_options o = greedy();
    weir_session *s[3];
    for (int i = 0; i < 3; i++) s[i] = demo_session(e, &o, demo_prompts[i]);
    weir_err err = {""};
    cr_assert(weir_step(e, s, 3, 1, &err) == WEIR_EINVAL);
    cr_assert(strstr(err.text, "2"), "%s", err.text);
    cr_assert(weir_step(e, s, 2, 1000, &err) == WEIR_OK, "%s", err.text);
    cr_assert(weir_step(e, s, 3, 1000, &err) == WEIR_OK, "%s", err.text); /* finished ones need no slot */
    for (int i = 0; i < 3; i++) {
        weir_session_view v;
        weir_session_get(s[i], &v);
        cr_assert(v.finish == WEIR_FINISH_STOP && v.n > 0);
        weir_session_free(s[i]);
    }
    weir_session *twice[2] = {demo_session(e, &o, "Hi."), NULL};
    twice[1] = twice[0];
    cr_assert(weir_step(e, twice, 2, 1, &err) == WEIR_EINVAL);
    weir_session_free(twice[0]);
    weir_engine_close(e);
}

Test(session, a_create_without_memory_leaves_nothing) {
    weir_engine *e = demo_open(1, 1, NULL, true);
    const char *stop[] = {"one", "two", "three"};
    const int32_t prompt[] = {5, 6, 1};
    weir_session_options o = greedy();
    o.stop = stop;
    o.n_stop = 3;
    long fail = 1;
    for (;; fail++) {
        weir_session *s = NULL;
        weir_err err = {""};
        alloc_install(fail);
        const weir_status st = weir_session_create(e, &o, prompt, 3, NULL, NULL, &s, &err);
        weir_session_free(s);
        const long live = alloc_live();
        alloc_uninstall();
        cr_assert_eq(live, 0, "allocation %ld: %ld left", fail, live);
        if (st == WEIR_OK) break;
        cr_assert_eq(st, WEIR_ENOMEM, "allocation %ld: %s", fail, err.text);
    }
    cr_assert(fail > 10, "%ld allocations", fail); /* the session, its arrays, the list of stops and each of
                                                      them */
    weir_engine_close(e);
}
