#include "host/session/session.h"

#include <math.h>
#include <string.h>

#include "host/deck/deck.h"
#include "host/deck/draft/text_draft.h"
#include "host/session/check.h"
#include "kernels/base/clock.h"
#include "kernels/base/mem.h"
#include "kernels/base/mix.h"

/* ---- life ---------------------------------------------------------------------------------------------- */

weir_session_options weir_session_options_default(void) {
    weir_session_options o;
    memset(&o, 0, sizeof o);
    o.method = WEIR_METHOD_SPECULATIVE;
    o.law = weir_law_default();
    o.n_draft = WEIR_GAMMA_AUTO;
    o.max_tokens = 128;
    return o;
}

/* The Philox key of a request: its seed, prompt and choice, and nothing of where or when it runs. */
static void make_key(const weir_session_options *o, const int32_t *prompt, size_t n, uint32_t key[2]) {
    uint64_t h = weir__mix(o->seed);
    for (size_t i = 0; i < n; i++) h = weir__mix(h ^ (uint32_t)prompt[i]);
    h = weir__mix(h ^ ((uint64_t)n << 32) ^ o->choice);
    key[0] = (uint32_t)h;
    key[1] = (uint32_t)(h >> 32);
}

static weir_status copy_stops(weir_session *s, const weir_session_options *o) {
    if (o->n_stop == 0) return WEIR_OK;
    s->stop = weir_calloc((size_t)o->n_stop, sizeof *s->stop);
    if (!s->stop) return WEIR_ENOMEM;
    for (int i = 0; i < o->n_stop; i++) {
        s->stop[i] = weir_strdup(o->stop[i]);
        if (!s->stop[i]) return WEIR_ENOMEM;
        const size_t n = strlen(o->stop[i]);
        if (n > s->stop_max) s->stop_max = n;
    }
    return WEIR_OK;
}

/* Output tokens at most: of a decoder's context the prompt has its part. */
static int64_t limit_of(const weir_engine *e, const weir_session_options *o, size_t n_prompt) {
    const int64_t left =
        e->pair.facts.encoder_decoder ? e->pair.ctx_size : e->pair.ctx_size - (int64_t)n_prompt;
    return o->max_tokens < left ? o->max_tokens : left;
}

static weir_status allocate(weir_session *s, const weir_session_options *o, const int32_t *prompt,
                            size_t n_prompt) {
    const size_t cap = (size_t)s->cap;
    s->prompt = weir_alloc(n_prompt, sizeof *s->prompt);
    s->timeline = weir_alloc(cap + 1, sizeof *s->timeline);
    s->sources = weir_alloc(cap, sizeof *s->sources);
    s->logprobs = weir_alloc(cap, sizeof *s->logprobs);
    s->policy_logprobs = weir_alloc(cap, sizeof *s->policy_logprobs);
    s->token_end = weir_calloc(cap, sizeof *s->token_end);
    if (o->n_top > 0) s->top = weir_alloc(cap + 1, (size_t)o->n_top * sizeof *s->top);
    if (!s->prompt || !s->timeline || !s->sources || !s->logprobs || !s->policy_logprobs || !s->token_end ||
        (o->n_top > 0 && !s->top))
        return WEIR_ENOMEM;
    if (n_prompt > 0) memcpy(s->prompt, prompt, n_prompt * sizeof *prompt);
    return copy_stops(s, o);
}

weir_status weir_session_create(weir_engine *e, const weir_session_options *opt, const int32_t *prompt,
                                size_t n_prompt, weir_token_fn on_token, void *ud, weir_session **out,
                                weir_err *err) {
    WEIR_TRY(weir__session_check(e, opt, prompt, n_prompt, err));
    weir_session *s = weir_calloc(1, sizeof *s);
    if (s) {
        s->cap = limit_of(e, opt, n_prompt);
        s->opt = *opt; /* n_stop too: a session that fails here gives back what stops it has */
        s->opt.stop = NULL;
    }
    if (!s || allocate(s, opt, prompt, n_prompt) != WEIR_OK) {
        weir_session_free(s);
        return weir_fail(err, WEIR_ENOMEM, "out of memory for a session of %d tokens", opt->max_tokens);
    }
    s->e = e;
    weir__session_restart(s);
    make_key(opt, prompt, n_prompt, s->opt.law.key);
    s->on_token = on_token;
    s->ud = ud;
    s->n_prompt = n_prompt;
    s->slot = -1;
    s->cached[0] = s->cached[1] = -1;
    s->unit[0] = s->unit[1] = -1;
    s->open_at[0] = s->open_at[1] = -1;
    s->base = e->pair.facts.encoder_decoder ? 0 : (int64_t)n_prompt - 1;
    s->timeline[0] = e->pair.facts.encoder_decoder ? e->pair.facts.start_id : prompt[s->base];
    s->streams = e->pair.tok && (on_token || opt->n_stop > 0);
    s->mute = opt->method == WEIR_METHOD_SEQUENCE_CASCADE;
    s->stats.n_prompt = (int64_t)n_prompt;
    atomic_init(&s->cancel, false);
    weir_status st = weir__text_draft_open(s, err);
    weir__session_begin_drafts(s);
    if (st == WEIR_OK) st = weir__pages_hold(s, s->cap > 0 ? s->cap + weir__session_gamma(s) : 0, err);
    if (st != WEIR_OK) {
        weir_session_free(s);
        return st;
    }
    *out = s;
    return WEIR_OK;
}

void weir_session_free(weir_session *s) {
    if (!s) return;
    if (s->e) weir__session_release(s);
    for (int i = 0; s->stop && i < s->opt.n_stop; i++) weir_free(s->stop[i]);
    weir_free(s->stop);
    weir__text_draft_close(s);
    weir_free(s->prompt);
    weir_free(s->timeline);
    weir_free(s->sources);
    weir_free(s->logprobs);
    weir_free(s->policy_logprobs);
    weir_free(s->top);
    weir_free(s->token_end);
    weir_free(s->text);
    weir_free(s);
}

void weir_session_cancel(weir_session *s) { atomic_store(&s->cancel, true); }

static void forget_eos(weir_session *s) {
    s->eos = -1;
    s->eos_logprob = s->eos_policy_logprob = NAN;
}

void weir__session_restart(weir_session *s) {
    weir__text_draft_restart(s);
    s->n = s->n_told = 0;
    s->text_len = 0;
    s->win = (weir_text_window){0, 0, 0, false};
    s->n_shown = -1;
    s->finish = WEIR_RUNNING;
    s->ended_by = WEIR_ENDED_NOT;
    s->stop_found = -1;
    forget_eos(s);
    s->stats.from_drafter = 0;
    s->stats.n_output = 0;
}

/* ---- output -------------------------------------------------------------------------------------------- */

bool weir__session_is_eos(const weir_session *s, int32_t id) {
    if (s->opt.ignore_eos) return false;
    const weir_engine_facts *f = &s->e->pair.facts;
    for (int i = 0; i < f->n_eos; i++)
        if (f->eos[i] == id) return true;
    return false;
}

static void count_sources(weir_session *s) {
    weir_session_stats *st = &s->stats;
    int64_t by[6] = {0};
    for (int64_t i = 0; i < s->n; i++) by[s->sources[i]]++;
    st->kept = by[WEIR_SOURCE_KEPT];
    st->resampled = by[WEIR_SOURCE_RESAMPLED];
    st->bonus = by[WEIR_SOURCE_BONUS];
    st->from_drafter = by[WEIR_SOURCE_DRAFTER];
    st->from_verifier = by[WEIR_SOURCE_VERIFIER];
    st->n_output = s->n;
}

static void note_end(weir_session *s, weir_ended by) {
    static const weir_finish finish_of[] = {
        [WEIR_ENDED_NOT] = WEIR_RUNNING,           [WEIR_ENDED_EOS] = WEIR_FINISH_STOP,
        [WEIR_ENDED_STOP] = WEIR_FINISH_STOP,      [WEIR_ENDED_LIMIT] = WEIR_FINISH_LENGTH,
        [WEIR_ENDED_CONTEXT] = WEIR_FINISH_LENGTH, [WEIR_ENDED_CANCELLED] = WEIR_FINISH_CANCELLED};
    s->ended_by = by;
    s->finish = finish_of[by];
    if (by != WEIR_ENDED_EOS) forget_eos(s);
}

void weir__session_end(weir_session *s, weir_ended by) {
    if (s->finish != WEIR_RUNNING) return;
    note_end(s, by);
    s->n_shown = -1; /* a view while it ran had less */
    if (by != WEIR_ENDED_CANCELLED) weir__session_tell_all(s);
}

void weir__session_tell_all(weir_session *s) {
    const weir_text_verdict verdict = weir__text_tell_all(s);
    if (verdict == WEIR_TEXT_REFUSED) note_end(s, WEIR_ENDED_CANCELLED);
    if (verdict == WEIR_TEXT_STOPS) note_end(s, WEIR_ENDED_STOP); /* what followed the cut is gone */
}

void weir__session_end_full(weir_session *s) {
    weir__session_end(s, s->cap < s->opt.max_tokens ? WEIR_ENDED_CONTEXT : WEIR_ENDED_LIMIT);
}

weir_status weir__session_refuse(weir_session *s, weir_err *err) {
    const int64_t at = s->n;
    weir__session_end(s, WEIR_ENDED_CANCELLED);
    (void)weir_fail(&s->failure, WEIR_ELOGITS,
                    "output token %lld: logits are not finite; the checkpoint or its dtype is broken",
                    (long long)at);
    return weir_fail(err, WEIR_ELOGITS, "%s", s->failure.text);
}

static void note_top(weir_session *s, const weir_seen *seen) {
    if (!s->top) return;
    weir_top *out = s->top + s->n * s->opt.n_top;
    for (int i = 0; i < s->opt.n_top; i++) {
        const bool there = seen && seen->top && seen->top[i].id >= 0;
        out[i].id = there ? seen->top[i].id : -1;
        out[i].logprob = there ? weir__raw_logp(seen->top[i].logit, seen->stats) : NAN;
    }
}

int weir__session_n_top(const weir_session *s, int64_t i) {
    int n = 0;
    while (n < s->opt.n_top && s->top[i * s->opt.n_top + n].id >= 0) n++;
    return n;
}

bool weir__session_append(weir_session *s, int32_t id, weir_source source, float logprob,
                          float policy_logprob, const weir_seen *seen) {
    if (s->n == 0 && s->stats.seconds_first == 0.0) s->stats.seconds_first = weir_seconds() - s->started;
    if (weir__session_is_eos(s, id)) {
        if (s->finish != WEIR_RUNNING) return false;
        note_top(s, seen);
        s->eos = id;
        s->eos_logprob = logprob;
        s->eos_policy_logprob = policy_logprob;
        weir__session_end(s, WEIR_ENDED_EOS);
        return false;
    }
    s->timeline[1 + s->n] = id;
    s->sources[s->n] = (uint8_t)source;
    s->logprobs[s->n] = logprob;
    s->policy_logprobs[s->n] = policy_logprob;
    note_top(s, seen);
    s->n++;
    const weir_text_verdict verdict = weir__text_push(s);
    if (verdict == WEIR_TEXT_STOPS) weir__session_end(s, WEIR_ENDED_STOP);
    if (verdict == WEIR_TEXT_REFUSED) weir__session_end(s, WEIR_ENDED_CANCELLED);
    if (s->finish == WEIR_RUNNING && s->n >= s->cap) weir__session_end_full(s);
    return s->finish == WEIR_RUNNING;
}

weir_finish weir_session_state(const weir_session *s) { return s->finish; }

void weir_session_get(weir_session *s, weir_session_view *out) {
    count_sources(s);
    (void)weir__text_show(s); /* out of memory: the text stays what it was */
    const weir_device_ways ways = s->e->pair.be->ways;
    *out = (weir_session_view){.ids = s->timeline + 1,
                               .sources = s->sources,
                               .logprobs = s->logprobs,
                               .policy_logprobs = s->policy_logprobs,
                               .n = (size_t)s->n,
                               .text = s->text ? s->text : "",
                               .bytes = s->text_len,
                               .finish = s->finish,
                               .failure = s->failure.text[0] ? s->failure.text : NULL,
                               .eos = s->eos,
                               .eos_logprob = s->eos_logprob,
                               .eos_policy_logprob = s->eos_policy_logprob,
                               .eos_top = s->eos >= 0 && s->top ? s->top + s->n * s->opt.n_top : NULL,
                               .n_eos_top = s->eos >= 0 ? weir__session_n_top(s, s->n) : 0,
                               .top = s->top,
                               .costs = weir__session_chooses(s) ? s->e->pair.facts.costs : NULL,
                               .quantized = {s->e->pair.facts.quantized[0], s->e->pair.facts.quantized[1]},
                               .graph = ways.graph,
                               .team = ways.team,
                               .pdl = ways.pdl,
                               .ended_by = s->ended_by,
                               .stop = s->ended_by == WEIR_ENDED_STOP ? s->stop_found : -1,
                               .stats = s->stats};
}
