#include "tests/host/loop_cases.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "host/device_loop.h"

/* ---- settings: every kind of rule, gamma 1 to 16, temperatures, truncation, both bonuses, the verifier alone ------- */

weir_session_options loop_setting(const loop_bed *bed, int i) {
    static const struct {
        weir_rule rule;
        float alpha, temp;
        int gamma;
    } table[LOOP_SETTINGS] = {
        {WEIR_RULE_TOKEN_V3, 0.8f, 1.0f, 5}, {WEIR_RULE_EXACT, 0.0f, 1.0f, 3},   {WEIR_RULE_OPT, 0.1f, 0.7f, 16},
        {WEIR_RULE_EXACT, 0.0f, 1.0f, 5},    {WEIR_RULE_CHOW, 0.9f, 1.0f, 1},    {WEIR_RULE_EXACT, 0.0f, 0.0f, 7},
        {WEIR_RULE_LOSSY, 0.3f, 1.0f, 7},    {WEIR_RULE_TOKEN_V1, 0.2f, 1.3f, 4}, {WEIR_RULE_CACTUS, 0.5f, 1.0f, 5},
        {WEIR_RULE_DIFF, 0.3f, 0.0f, 2},     {WEIR_RULE_ENSEMBLE, 0.4f, 1.0f, 6}, {WEIR_RULE_EXACT, 0.0f, 1.0f, 8},
    };
    weir_session_options o = weir_session_options_default();
    o.law.rule = table[i].rule;
    o.law.alpha = table[i].alpha;
    o.law.beta = weir_rule_facts(table[i].rule)->beta_default;
    o.law.temp = table[i].temp;
    o.n_draft = table[i].gamma;
    o.max_tokens = bed->max_tokens;
    o.seed = (uint64_t)i;
    if (i == 3) o.method = WEIR_METHOD_VERIFIER;
    if (i == 6) o.law.top_k = 50, o.law.top_p = 0.9f;
    if (i == 7 || i == 11) o.law.block_verify = true;
    if (i == 2 || i == 10) o.law.exact_first = 4;
    if (i == 4) o.law.bonus_pi = false;
    if (i == 8) o.ignore_eos = true;
    return o;
}

/* ---- running and comparing ------------------------------------------------------------------------------------------- */

static void assert_same_books(const answer *a, const answer *b, const char *what) {
    weir_session_stats x = a->stats, y = b->stats;
    x.seconds_prefill = x.seconds_draft = x.seconds_verify = x.seconds_accept = x.seconds_total = x.seconds_first = 0;
    y.seconds_prefill = y.seconds_draft = y.seconds_verify = y.seconds_accept = y.seconds_total = y.seconds_first = 0;
    cr_assert(x.blocks == y.blocks && x.drafted == y.drafted && x.accepted == y.accepted, "%s: %d blocks, %d drafted, "
              "%d accepted, then %d, %d, %d", what, (int)x.blocks, (int)x.drafted, (int)x.accepted, (int)y.blocks,
              (int)y.drafted, (int)y.accepted);
    cr_assert(x.drafter_rows == y.drafter_rows && x.drafter_calls == y.drafter_calls, "%s: %d drafter rows in %d calls, "
              "then %d in %d", what, (int)x.drafter_rows, (int)x.drafter_calls, (int)y.drafter_rows, (int)y.drafter_calls);
    cr_assert(memcmp(&x, &y, sizeof x) == 0, "%s: other books", what);
}

/* One answer, in steps of max_blocks. */
static void run_one(weir_engine *e, const weir_session_options *o, const char *prompt, int max_blocks, answer *out) {
    weir_session *s = demo_session(e, o, prompt);
    weir_session_view v;
    weir_err err = {""};
    do {
        const weir_status st = weir_step(e, &s, 1, max_blocks, &err);
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
        run_one(e, &o, demo_prompts[i % 10], max_blocks, &out[i]);
    }
    weir_engine_close(e);
}

void loop_same_alone(const loop_bed *bed) {
    run_alone(bed, LOOP_HOST, 1000, want);
    for (int m = 0; m < bed->n_mode; m++)
        for (int blocks = 1; blocks <= 1000; blocks = blocks == 1 ? 3 : blocks == 3 ? 1000 : 1001) {
            run_alone(bed, bed->modes[m], blocks, got);
            for (int i = 0; i < bed->n_setting; i++) {
                char what[64];
                snprintf(what, sizeof what, "setting %d, mode %d, steps of %d", i, (int)bed->modes[m], blocks);
                answer_assert_same(&want[i], &got[i], what);
                assert_same_books(&want[i], &got[i], what);
            }
        }
}

/* Up to n_parallel at once, started backwards, a new one whenever one ends. */
static void run_together(const loop_bed *bed, weir_engine *e, int n_parallel, int max_blocks, answer *out) {
    weir_session *live[16] = {0};
    int which[16], next = bed->n_setting, done = 0;
    weir_err err = {""};
    while (done < bed->n_setting) {
        weir_session *list[16];
        int count = 0;
        for (int k = 0; k < n_parallel; k++) {
            if (!live[k] && next > 0) {
                which[k] = --next;
                const weir_session_options o = loop_setting(bed, which[k]);
                live[k] = demo_session(e, &o, demo_prompts[which[k] % 10]);
            }
            if (live[k]) list[count++] = live[k];
        }
        cr_assert(weir_step(e, list, count, max_blocks, &err) == WEIR_OK, "%s", err.text);
        for (int k = 0; k < n_parallel; k++) {
            weir_session_view v;
            if (!live[k]) continue;
            weir_session_get(live[k], &v);
            if (v.finish == WEIR_RUNNING) continue;
            answer_take(live[k], &out[which[k]]);
            weir_session_free(live[k]);
            live[k] = NULL;
            done++;
        }
    }
}

void loop_same_together(const loop_bed *bed, int n_parallel, int max_blocks) {
    run_alone(bed, LOOP_HOST, 1000, want);
    for (int m = 0; m < bed->n_mode; m++) {
        weir_engine *e = bed->open(n_parallel, bed->modes[m]);
        run_together(bed, e, n_parallel, max_blocks, got);
        weir_engine_close(e);
        for (int i = 0; i < bed->n_setting; i++) {
            char what[80];
            snprintf(what, sizeof what, "setting %d, mode %d, %d sessions, steps of %d", i, (int)bed->modes[m],
                     n_parallel, max_blocks);
            answer_assert_same(&want[i], &got[i], what);
            assert_same_books(&want[i], &got[i], what);
        }
    }
}

/* Two engines, host-driven and looped, asked the same. */
typedef struct twins {
    weir_engine *host, *loop;
} twins;

static void compare(const twins *t, const weir_session_options *o, const char *prompt, const char *what) {
    run_one(t->host, o, prompt, 1000, &want[0]);
    run_one(t->loop, o, prompt, 1000, &got[0]);
    answer_assert_same(&want[0], &got[0], what);
    assert_same_books(&want[0], &got[0], what);
}

static twins open_twins(const loop_bed *bed, int m) {
    return (twins){bed->open(1, LOOP_HOST), bed->open(1, bed->modes[m])};
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
            compare(&t, &o, demo_prompts[2], what);
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
            o.n_draft = 5 + i % 4;
            o.max_tokens = 60;
            compare(&t, &o, demo_prompts[i], demo_prompts[i]);
            stopped += got[0].finish == WEIR_FINISH_STOP;
        }
        cr_assert(stopped > 0, "no answer ended by itself");
        close_twins(&t);
    }
}

/* ---- what a caller does while the loop runs -------------------------------------------------------------------------- */

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

static void run_listening(weir_engine *e, const weir_session_options *o, const char *prompt, listener *k, answer *out) {
    int32_t *ids = NULL;
    size_t n = 0;
    weir_err err = {""};
    weir_session *s = NULL;
    weir_session_view v;
    cr_assert(weir_tokenize(e, prompt, strlen(prompt), true, &ids, &n, &err) == WEIR_OK);
    cr_assert(weir_session_create(e, o, ids, n, listen, k, &s, &err) == WEIR_OK, "%s", err.text);
    weir_ids_free(ids);
    do {
        cr_assert(weir_step(e, &s, 1, 1000, &err) == WEIR_OK, "%s", err.text);
        weir_session_get(s, &v);
    } while (v.finish == WEIR_RUNNING);
    answer_take(s, out);
    weir_session_free(s);
}

static void compare_listening(const twins *t, const weir_session_options *o, listener like, const char *what) {
    static listener a, b;
    a = b = like;
    run_listening(t->host, o, demo_prompts[8], &a, &want[0]);
    run_listening(t->loop, o, demo_prompts[8], &b, &got[0]);
    answer_assert_same(&want[0], &got[0], what);
    assert_same_books(&want[0], &got[0], what);
    cr_assert(a.n == b.n && strcmp(a.text, b.text) == 0, "%s: told \"%s\", then \"%s\"", what, a.text, b.text);
}

/* Pieces of a known answer as stop strings: some begin in one block and end in the next. */
void loop_same_stop_strings(const loop_bed *bed, int n_stop) {
    for (int m = 0; m < bed->n_mode; m++) {
        twins t = open_twins(bed, m);
        weir_session_options o = loop_setting(bed, 0);
        static answer whole;
        run_one(t.host, &o, demo_prompts[8], 1000, &whole);
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
        weir_device_loop *loop = t.loop->loop;
        for (int i = 0; i < bed->n_setting; i++) {
            const weir_session_options o = loop_setting(bed, i);
            weir_session *pair[2] = {demo_session(t.host, &o, demo_prompts[3]), demo_session(t.loop, &o, demo_prompts[3])};
            weir_err err = {""};
            for (int turn = 0; pair[0]->finish == WEIR_RUNNING; turn++) {
                t.loop->loop = turn % 2 ? NULL : loop;
                cr_assert(weir_step(t.host, &pair[0], 1, 1 + turn % 3, &err) == WEIR_OK, "%s", err.text);
                cr_assert(weir_step(t.loop, &pair[1], 1, 1 + turn % 3, &err) == WEIR_OK, "%s", err.text);
                for (int side = 0; side < 2; side++) {
                    cr_assert(pair[0]->cached[side] == pair[1]->cached[side], "setting %d, side %d: %d and %d", i, side,
                              (int)pair[0]->cached[side], (int)pair[1]->cached[side]);
                    cr_assert(weir_kv_pool_pages_used(t.host->side[side].self) ==
                              weir_kv_pool_pages_used(t.loop->side[side].self));
                }
            }
            answer_take(pair[0], &want[0]);
            answer_take(pair[1], &got[0]);
            answer_assert_same(&want[0], &got[0], "in turns");
            assert_same_books(&want[0], &got[0], "in turns");
            weir_session_free(pair[0]);
            weir_session_free(pair[1]);
        }
        t.loop->loop = loop;
        close_twins(&t);
    }
}
