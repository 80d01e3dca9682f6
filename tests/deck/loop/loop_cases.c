#include "tests/deck/loop/loop_cases.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "tests/deck/loop/block_oracle.h"

/* ---- settings ------------------------------------------------------------------------------------------ */

/* Every kind of rule, gamma 1 to 16 and auto (0), temperatures, truncation, both bonuses, the verifier
 * alone. */

typedef struct mix {
    weir_rule rule;
    float alpha, temp;
    int gamma;
    bool verifier, block_verify, bonus_p, ignore_eos;
    int exact_first, top_k;
} mix;

static const mix mixes[LOOP_SETTINGS] = {
    {WEIR_RULE_TOKEN_V3, 0.8f, 1.0f, 5, .bonus_p = false},
    {WEIR_RULE_EXACT, 0.0f, 1.0f, 3, .block_verify = true},
    {WEIR_RULE_OPT, 0.1f, 0.7f, 1, .exact_first = 2},
    {WEIR_RULE_EXACT, 0.0f, 1.0f, 5, .verifier = true},
    {WEIR_RULE_LOSSY, 0.3f, 1.0f, 4, .top_k = 20},
    {WEIR_RULE_EXACT, 0.0f, 0.0f, 2, .bonus_p = false},
    {WEIR_RULE_CHOW, 0.9f, 1.0f, 1, .bonus_p = true},
    {WEIR_RULE_TOKEN_V1, 0.2f, 1.2f, 4, .block_verify = true},
    {WEIR_RULE_CACTUS, 0.5f, 1.0f, 5, .ignore_eos = true},
    {WEIR_RULE_DIFF, 0.3f, 0.0f, 7, .bonus_p = false},
    {WEIR_RULE_ENSEMBLE, 0.4f, 1.0f, 6, .exact_first = 4},
    {WEIR_RULE_TYPICAL, 0.3f, 1.0f, 16, .bonus_p = false},
    {WEIR_RULE_EXACT, 0.0f, 1.0f, 0, .ignore_eos = true},
    {WEIR_RULE_TOKEN_V3, 0.6f, 1.0f, 0, .exact_first = 3},
    {WEIR_RULE_EXACT, 0.0f, 0.7f, 0, .block_verify = true},
    {WEIR_RULE_CHOW, 0.7f, 1.0f, 0, .bonus_p = false},
    {WEIR_RULE_DIFF, 0.3f, 0.0f, 0, .bonus_p = true},
};

weir_session_options loop_setting(const loop_bed *bed, int i) {
    const mix *k = &mixes[i];
    weir_session_options o = weir_session_options_default();
    o.law.rule = k->rule;
    o.law.alpha = k->alpha;
    o.law.beta = weir_rule_facts(k->rule)->beta_default;
    o.law.temp = k->temp * bed->warmth;
    o.law.top_k = k->top_k;
    if (k->top_k > 0) o.law.top_p = 0.9f;
    o.law.block_verify = k->block_verify;
    o.law.bonus_pi = !k->bonus_p;
    o.law.exact_first = k->exact_first;
    o.n_draft = k->gamma;
    o.max_tokens = bed->max_tokens;
    o.seed = (uint64_t)i;
    o.ignore_eos = k->ignore_eos;
    if (k->verifier) o.method = WEIR_METHOD_VERIFIER;
    return o;
}

/* ---- sessions ------------------------------------------------------------------------------------------ */

static weir_session *create(weir_engine *e, const weir_session_options *o, const int32_t *ids, size_t n,
                            weir_token_fn on_token, void *ud) {
    weir_session *s = NULL;
    weir_err err = {""};
    cr_assert(weir_session_create(e, o, ids, n, on_token, ud, &s, &err) == WEIR_OK, "%s", err.text);
    return s;
}

weir_session *loop_start_demo(weir_engine *e, const weir_session_options *o, int prompt,
                              weir_token_fn on_token, void *ud) {
    int32_t *ids = NULL;
    size_t n = 0;
    const char *text = demo_prompts[prompt % 10];
    cr_assert(weir_tokenize(e, text, strlen(text), true, true, &ids, &n, NULL) == WEIR_OK);
    weir_session *s = create(e, o, ids, n, on_token, ud);
    weir_ids_free(ids);
    return s;
}

weir_session *loop_start_ids(weir_engine *e, const weir_session_options *o, int prompt,
                             weir_token_fn on_token, void *ud) {
    int32_t ids[8];
    const size_t n = 3 + (size_t)prompt % 5;
    for (size_t i = 0; i < n; i++)
        ids[i] = 2 + (int32_t)((7 * (size_t)prompt + 5 * i + i * i) % (size_t)(e->pair.n_vocab - 2));
    return create(e, o, ids, n, on_token, ud);
}

/* ---- running and comparing ----------------------------------------------------------------------------- */

static weir_status step(weir_engine *e, loop_mode mode, weir_session *s, int max_blocks, weir_err *err) {
    return mode == LOOP_HOST ? block_oracle_step(e, s, max_blocks, err)
                             : weir_step(e, &s, 1, max_blocks, err);
}

/* One answer, in steps of max_blocks. */
static void run_one(const loop_bed *bed, weir_engine *e, loop_mode mode, const weir_session_options *o,
                    int prompt, int max_blocks, answer *out) {
    weir_session *s = bed->start(e, o, prompt, NULL, NULL);
    weir_session_view v;
    weir_err err = {""};
    do {
        const weir_status st = step(e, mode, s, max_blocks, &err);
        cr_assert(st == WEIR_OK, "step: %s", err.text);
        weir_session_get(s, &v);
    } while (v.finish == WEIR_RUNNING);
    answer_take(s, out);
    weir_session_free(s);
}

static answer want[LOOP_SETTINGS], got[LOOP_SETTINGS];

static void run_alone(const loop_bed *bed, loop_mode mode, int max_blocks, answer *out) {
    weir_engine *e = bed->open(1, mode);
    for (int i = 0; i < bed->n_setting; i++) {
        const weir_session_options o = loop_setting(bed, i);
        run_one(bed, e, mode, &o, i, max_blocks, &out[i]);
    }
    weir_engine_close(e);
}

void loop_same_alone(const loop_bed *bed) {
    run_alone(bed, LOOP_HOST, 1000, want);
    for (int m = 0; m < bed->n_mode; m++)
        for (int k = 0; k < 3 && bed->steps[k] > 0; k++) {
            const int blocks = bed->steps[k];
            run_alone(bed, bed->modes[m], blocks, got);
            for (int i = 0; i < bed->n_setting; i++) {
                char what[64];
                snprintf(what, sizeof what, "setting %d, mode %d, steps of %d", i, (int)bed->modes[m],
                         blocks);
                answer_assert_same(&want[i], &got[i], what);
                answer_assert_same_books(&want[i], &got[i], what);
            }
        }
}

static weir_session *start_setting(const void *ud, weir_engine *e, int i) {
    const loop_bed *bed = ud;
    const weir_session_options o = loop_setting(bed, i);
    return bed->start(e, &o, i, NULL, NULL);
}

static void same_together(const loop_bed *bed, loop_mode mode, int n_parallel, int max_blocks) {
    weir_engine *e = bed->open(n_parallel, mode);
    answer_run_together(e, n_parallel, max_blocks, true, start_setting, bed, bed->n_setting, got);
    weir_engine_close(e);
    for (int i = 0; i < bed->n_setting; i++) {
        char what[80];
        snprintf(what, sizeof what, "setting %d, mode %d, %d sessions, steps of %d", i, (int)mode, n_parallel,
                 max_blocks);
        answer_assert_same(&want[i], &got[i], what);
        answer_assert_same_books(&want[i], &got[i], what);
    }
}

void loop_same_together(const loop_bed *bed, const loop_crowd *how, int n) {
    run_alone(bed, LOOP_HOST, 1000, want);
    for (int m = 0; m < bed->n_mode; m++)
        for (int k = 0; k < n; k++) same_together(bed, bed->modes[m], how[k].n_parallel, how[k].max_blocks);
}

/* Two engines, host-driven and looped, asked the same. */
typedef struct twins {
    const loop_bed *bed;
    weir_engine *host, *loop;
    loop_mode mode; /* of loop */
} twins;

static void compare(const twins *t, const weir_session_options *o, int prompt, const char *what) {
    run_one(t->bed, t->host, LOOP_HOST, o, prompt, 1000, &want[0]);
    run_one(t->bed, t->loop, t->mode, o, prompt, 1000, &got[0]);
    answer_assert_same(&want[0], &got[0], what);
    answer_assert_same_books(&want[0], &got[0], what);
}

static twins open_twins(const loop_bed *bed, int m) {
    return (twins){bed, bed->open(1, LOOP_HOST), bed->open(1, bed->modes[m]), bed->modes[m]};
}
static void close_twins(twins *t) {
    weir_engine_close(t->host);
    weir_engine_close(t->loop);
}

void loop_same_at_every_limit(const loop_bed *bed, int setting, int longest) {
    for (int m = 0; m < bed->n_mode; m++) {
        twins t = open_twins(bed, m);
        for (int limit = 1; limit <= longest; limit++) {
            char what[64];
            snprintf(what, sizeof what, "mode %d, limit %d", (int)bed->modes[m], limit);
            weir_session_options o = loop_setting(bed, setting);
            o.ignore_eos = true;
            o.max_tokens = limit;
            compare(&t, &o, 2, what);
            cr_assert((int)got[0].n == limit && got[0].finish == WEIR_FINISH_LENGTH, "%s", what);
        }
        close_twins(&t);
    }
}

/* The drafter's word always stands: long accepted runs, so that drafted ends of text close blocks. */
void loop_same_at_end_of_text(const loop_bed *bed, int n_prompt) {
    for (int m = 0; m < bed->n_mode; m++) {
        twins t = open_twins(bed, m);
        int stopped = 0;
        for (int i = 0; i < n_prompt; i++) {
            weir_session_options o = weir_session_options_default();
            o.law.rule = WEIR_RULE_CHOW;
            o.law.alpha = 1.0f;
            o.law.temp = bed->warmth;
            o.n_draft = 3 + i % 4;
            o.max_tokens = bed->max_tokens;
            compare(&t, &o, i, "to the end of text");
            stopped += got[0].finish == WEIR_FINISH_STOP;
        }
        cr_assert(stopped > 0, "no answer ended by itself");
        close_twins(&t);
    }
}

/* ---- what a caller does while the loop runs ------------------------------------------------------------ */

typedef struct listener {
    char text[4096];
    size_t bytes, n;
    size_t end_after;    /* tokens after which the callback says no; 0 = never */
    size_t cancel_after; /* tokens after which it cancels; 0 = never */
} listener;

static bool listen(void *ud, weir_session *s, const weir_token_event *ev) {
    listener *k = ud;
    cr_assert(k->bytes + ev->bytes < sizeof k->text);
    memcpy(k->text + k->bytes, ev->text, ev->bytes);
    k->bytes += ev->bytes;
    k->n++;
    if (k->n == k->cancel_after) weir_session_cancel(s);
    return k->n != k->end_after;
}

static void run_listening(const loop_bed *bed, weir_engine *e, loop_mode mode, const weir_session_options *o,
                          listener *k, answer *out) {
    weir_err err = {""};
    weir_session *s = bed->start(e, o, 8, listen, k);
    weir_session_view v;
    do {
        cr_assert(step(e, mode, s, 1000, &err) == WEIR_OK, "%s", err.text);
        weir_session_get(s, &v);
    } while (v.finish == WEIR_RUNNING);
    answer_take(s, out);
    weir_session_free(s);
}

static void compare_listening(const twins *t, const weir_session_options *o, listener like,
                              const char *what) {
    static listener a, b;
    a = b = like;
    run_listening(t->bed, t->host, LOOP_HOST, o, &a, &want[0]);
    run_listening(t->bed, t->loop, t->mode, o, &b, &got[0]);
    answer_assert_same(&want[0], &got[0], what);
    answer_assert_same_books(&want[0], &got[0], what);
    cr_assert(a.n == b.n && strcmp(a.text, b.text) == 0, "%s: told \"%s\", then \"%s\"", what, a.text,
              b.text);
}

/* Pieces of a known answer as stop strings: some begin in one block and end in the next. */
void loop_same_stop_strings(const loop_bed *bed, int n_stop) {
    for (int m = 0; m < bed->n_mode; m++) {
        twins t = open_twins(bed, m);
        weir_session_options o = loop_setting(bed, 0);
        static answer whole;
        run_one(bed, t.host, LOOP_HOST, &o, 8, 1000, &whole);
        const size_t len = strlen(whole.text);
        cr_assert(len > 8);
        for (int i = 0; i < n_stop; i++) {
            char stop[8] = "";
            memcpy(stop, whole.text + (len - 6) * (size_t)i / (size_t)n_stop, 1 + (size_t)i % 6);
            if (((unsigned char)stop[0] & 0xc0u) == 0x80u) continue; /* not inside a character */
            const char *const stops[] = {"never in an answer", stop};
            o.stop = stops;
            o.n_stop = 2;
            compare_listening(&t, &o, (listener){.n = 0}, stop);
            cr_assert(got[0].finish == WEIR_FINISH_STOP && got[0].n <= whole.n);
        }
        close_twins(&t);
    }
}

void loop_same_when_callback_ends(const loop_bed *bed, int n_end) {
    for (int m = 0; m < bed->n_mode; m++) {
        twins t = open_twins(bed, m);
        const weir_session_options o = loop_setting(bed, 0);
        for (int i = 1; i <= n_end; i++) {
            compare_listening(&t, &o, (listener){.end_after = (size_t)i}, "callback says no");
            cr_assert(got[0].finish == WEIR_FINISH_CANCELLED);
        }
        close_twins(&t);
    }
}

/* Cancelled inside a block: the block stands, whatever the backend has decided since. */
void loop_same_when_cancelled_in_callback(const loop_bed *bed, int n_end) {
    for (int m = 0; m < bed->n_mode; m++) {
        twins t = open_twins(bed, m);
        const weir_session_options o = loop_setting(bed, 0);
        for (int i = 1; i <= n_end; i++) {
            compare_listening(&t, &o, (listener){.cancel_after = (size_t)i}, "cancelled from a callback");
            cr_assert(got[0].finish == WEIR_FINISH_CANCELLED);
        }
        close_twins(&t);
    }
}

/* Blocks of the loop and of the host in turns on one session: lengths and pages fit each other. */
void loop_takes_turns_with_the_host(const loop_bed *bed) {
    for (int m = 0; m < bed->n_mode; m++) {
        twins t = open_twins(bed, m);
        for (int i = 0; i < bed->n_setting; i++) {
            const weir_session_options o = loop_setting(bed, i);
            weir_session *pair[2] = {bed->start(t.host, &o, 3, NULL, NULL),
                                     bed->start(t.loop, &o, 3, NULL, NULL)};
            weir_err err = {""};
            for (int turn = 0; pair[0]->finish == WEIR_RUNNING; turn++) {
                const int blocks = 1 + turn % 3;
                const loop_mode now = turn % 2 ? LOOP_HOST : t.mode;
                cr_assert(step(t.host, LOOP_HOST, pair[0], blocks, &err) == WEIR_OK, "%s", err.text);
                cr_assert(step(t.loop, now, pair[1], blocks, &err) == WEIR_OK, "%s", err.text);
                for (int side = 0; side < 2; side++) {
                    cr_assert(pair[0]->cached[side] == pair[1]->cached[side],
                              "setting %d, side %d: %d and %d", i, side, (int)pair[0]->cached[side],
                              (int)pair[1]->cached[side]);
                    cr_assert(weir__kv_pool_pages_used(t.host->deck.side[side].self) ==
                              weir__kv_pool_pages_used(t.loop->deck.side[side].self));
                }
            }
            answer_take(pair[0], &want[0]);
            answer_take(pair[1], &got[0]);
            answer_assert_same(&want[0], &got[0], "in turns");
            answer_assert_same_books(&want[0], &got[0], "in turns");
            weir_session_free(pair[0]);
            weir_session_free(pair[1]);
        }
        close_twins(&t);
    }
}
