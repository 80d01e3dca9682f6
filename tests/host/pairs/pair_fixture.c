#include "tests/host/pairs/pair_fixture.h"
#include "tests/support/costs.h"

#include <criterion/criterion.h>
#include <string.h>

const char *const demo_prompts[10] = {
    "It snowed a lot.",
    "I want to learn Japanese.",
    "He is, without a doubt, a really talented young man.",
    "Who is that gentleman?",
    "Why did you buy a Korean car?",
    "Tom called Mary a coward.",
    "I haven't seen him lately; give him my regards.",
    "You have a sense of humor.",
    "The weather was so nice that we walked along the river.",
    "My brother has lived in London for many years and he works in a bank.",
};

weir_engine_options demo_options(void) {
    weir_engine_options o = weir_engine_options_default();
    o.costs = TEST_COSTS;
    o.model = WEIR_SOURCE_DIR "/models/demo/verifier";
    o.model_draft = WEIR_SOURCE_DIR "/models/demo/drafter";
    o.device = "cpu";
    o.n_thread = 1;
    o.ctx_size = 128;
    return o;
}

weir_engine *engine_open(const weir_engine_options *o) {
    weir_engine *e = NULL;
    weir_err err = {""};
    cr_assert(weir_engine_open(&e, o, &err) == WEIR_OK, "open: %s", err.text);
    return e;
}

weir_engine *demo_open(int n_parallel, int n_thread, const char *isa, bool with_draft) {
    weir_engine_options o = demo_options();
    if (!with_draft) o.model_draft = NULL;
    o.n_parallel = n_parallel;
    o.n_thread = n_thread;
    o.isa = isa;
    return engine_open(&o);
}

weir_session_options method_options(weir_method method, int max_tokens) {
    weir_session_options o = weir_session_options_default();
    o.method = method;
    o.max_tokens = max_tokens;
    o.n_draft = 3;
    o.ignore_eos = true;
    if (method == WEIR_METHOD_TOKEN_CASCADE) o.law.rule = WEIR_RULE_CHOW, o.law.alpha = 0.5f;
    if (method == WEIR_METHOD_ORACLE_CASCADE) o.law.rule = WEIR_RULE_DIFF;
    if (method == WEIR_METHOD_SEQUENCE_CASCADE) o.law.alpha = 0.1f; /* the verifier writes after all */
    return o;
}

weir_session *demo_session(weir_engine *e, const weir_session_options *o, const char *prompt) {
    int32_t *ids = NULL;
    size_t n = 0;
    weir_err err = {""};
    cr_assert(weir_tokenize(e, prompt, strlen(prompt), true, true, &ids, &n, &err) == WEIR_OK, "%s",
              err.text);
    weir_session *s = NULL;
    const weir_status st = weir_session_create(e, o, ids, n, NULL, NULL, &s, &err);
    weir_ids_free(ids);
    cr_assert(st == WEIR_OK, "session: %s", err.text);
    return s;
}

void answer_copy(const weir_session_view *v, answer *out) {
    cr_assert(v->n <= 256 && v->bytes < sizeof out->text);
    memset(out, 0, sizeof *out);
    out->n = v->n;
    memcpy(out->ids, v->ids, v->n * sizeof *v->ids);
    memcpy(out->sources, v->sources, v->n);
    memcpy(out->logprobs, v->logprobs, v->n * sizeof(float));
    memcpy(out->policy, v->policy_logprobs, v->n * sizeof(float));
    memcpy(out->text, v->text, v->bytes);
    out->finish = v->finish;
    out->stats = v->stats;
}

void answer_take(weir_session *s, answer *out) {
    weir_session_view v;
    weir_session_get(s, &v);
    answer_copy(&v, out);
}

void answer_run(weir_engine *e, const weir_session_options *o, const char *prompt, answer *out) {
    weir_session *s = demo_session(e, o, prompt);
    weir_err err = {""};
    const weir_status st = weir_step(e, &s, 1, 1000, &err);
    cr_assert(st == WEIR_OK, "step: %s", err.text);
    answer_take(s, out);
    cr_assert(out->finish != WEIR_RUNNING, "\"%s\" did not end", prompt);
    weir_session_free(s);
}

void answer_run_together(weir_engine *e, int n_parallel, int max_blocks, bool backwards, answer_start start,
                         const void *ud, int n, answer *out) {
    enum { MOST = 16 };
    weir_session *live[MOST] = {0};
    int which[MOST], next = 0;
    cr_assert(n_parallel <= MOST);
    for (int done = 0; done < n;) {
        weir_session *list[MOST];
        weir_err err = {""};
        int count = 0;
        for (int k = 0; k < n_parallel; k++) {
            if (!live[k] && next < n) {
                which[k] = backwards ? n - 1 - next : next;
                live[k] = start(ud, e, which[k]);
                next++;
            }
            if (live[k]) list[count++] = live[k];
        }
        cr_assert(weir_step(e, list, count, max_blocks, &err) == WEIR_OK, "%s", err.text);
        for (int k = 0; k < n_parallel; k++) {
            if (!live[k] || weir_session_state(live[k]) == WEIR_RUNNING) continue;
            answer_take(live[k], &out[which[k]]);
            weir_session_free(live[k]);
            live[k] = NULL;
            done++;
        }
    }
}

void answer_assert_same(const answer *a, const answer *b, const char *what) {
    cr_assert(a->n == b->n, "%s: %zu tokens, then %zu", what, a->n, b->n);
    cr_assert(memcmp(a->ids, b->ids, a->n * sizeof *a->ids) == 0, "%s: other tokens", what);
    cr_assert(memcmp(a->logprobs, b->logprobs, a->n * sizeof(float)) == 0, "%s: other logprob bits", what);
    cr_assert(memcmp(a->policy, b->policy, a->n * sizeof(float)) == 0, "%s: other policy bits", what);
    cr_assert(memcmp(a->sources, b->sources, a->n) == 0, "%s: other sources", what);
    cr_assert(strcmp(a->text, b->text) == 0, "%s: \"%s\", then \"%s\"", what, a->text, b->text);
    cr_assert(a->finish == b->finish, "%s: another finish reason", what);
}

void answer_assert_same_books(const answer *a, const answer *b, const char *what) {
    weir_session_stats both[2] = {a->stats, b->stats};
    for (int i = 0; i < 2; i++) { /* what depends on the machine and on others */
        weir_session_stats *st = &both[i];
        st->seconds_prefill = st->seconds_draft = st->seconds_verify = 0;
        st->seconds_accept = st->seconds_total = st->seconds_first = 0;
        st->n_prompt_cached[0] = st->n_prompt_cached[1] = 0;
    }
    const weir_session_stats x = both[0], y = both[1];
    cr_assert(x.blocks == y.blocks && x.drafted == y.drafted && x.accepted == y.accepted,
              "%s: %d blocks, %d drafted, "
              "%d accepted, then %d, %d, %d",
              what, (int)x.blocks, (int)x.drafted, (int)x.accepted, (int)y.blocks, (int)y.drafted,
              (int)y.accepted);
    cr_assert(x.drafter_rows == y.drafter_rows && x.drafter_calls == y.drafter_calls,
              "%s: %d drafter rows in %d calls, "
              "then %d in %d",
              what, (int)x.drafter_rows, (int)x.drafter_calls, (int)y.drafter_rows, (int)y.drafter_calls);
    cr_assert(memcmp(&x, &y, sizeof x) == 0, "%s: other books", what);
}
