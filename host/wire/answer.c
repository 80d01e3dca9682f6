#include "host/wire/answer.h"

#include <math.h>

#include "host/wire/json.h"
#include "host/wire/settings.h"

/* 0 / 0 is "there was none": NaN here, null in JSON, n/a in the summary. */
static double ratio(double a, double b) { return b > 0 ? a / b : (double)NAN; }

bool wire_lossless(const weir_session_options *o) {
    return o->method == WEIR_METHOD_VERIFIER ||
           (o->method == WEIR_METHOD_SPECULATIVE && o->law.rule == WEIR_RULE_EXACT);
}

int64_t wire_agreed(const weir_session_stats *s) {
    return s->n_output - s->kept - s->resampled - s->bonus - s->from_drafter - s->from_verifier;
}

void wire_usage_add(wire_usage *u, const weir_session_stats *s) {
    int64_t appeared = s->kept + wire_agreed(s);
    u->accepted += appeared;
    u->rejected += s->drafted - appeared;
}

json_t *wire_usage_json(const wire_usage *u) {
    json_t *details = json_object();
    wire_set(details, "accepted_prediction_tokens", json_integer(u->accepted));
    wire_set(details, "rejected_prediction_tokens", json_integer(u->rejected));
    json_t *usage = json_object();
    wire_set(usage, "prompt_tokens", json_integer(u->prompt));
    wire_set(usage, "completion_tokens", json_integer(u->completion));
    wire_set(usage, "total_tokens", json_integer(u->prompt + u->completion));
    wire_set(usage, "completion_tokens_details", details);
    if (u->cached >= 0) {
        json_t *prompt = json_object();
        wire_set(prompt, "cached_tokens", json_integer(u->cached));
        wire_set(usage, "prompt_tokens_details", prompt);
    }
    return usage;
}

static json_t *session_usage_json(const weir_session_view *v) {
    wire_usage u = {.prompt = v->stats.n_prompt, .completion = (int64_t)v->n, .cached = -1};
    wire_usage_add(&u, &v->stats);
    return wire_usage_json(&u);
}

json_t *wire_timings_json(const weir_session_stats *s, int64_t predicted) {
    double seconds = s->seconds_total - s->seconds_prefill;
    json_t *t = json_object();
    wire_set(t, "prompt_n", json_integer(s->n_prompt));
    wire_set(t, "prompt_ms", wire_real(1e3 * s->seconds_prefill));
    wire_set(t, "prompt_per_second", wire_real(ratio((double)s->n_prompt, s->seconds_prefill)));
    wire_set(t, "predicted_n", json_integer(predicted));
    wire_set(t, "predicted_ms", wire_real(1e3 * seconds));
    wire_set(t, "predicted_per_second", wire_real(ratio((double)predicted, seconds)));
    wire_set(t, "draft_n", json_integer(s->drafted));
    wire_set(t, "draft_n_accepted", json_integer(s->accepted));
    wire_set(t, "draft_ms", wire_real(1e3 * s->seconds_draft));
    wire_set(t, "verify_ms", wire_real(1e3 * s->seconds_verify));
    wire_set(t, "accept_ms", wire_real(1e3 * s->seconds_accept));
    wire_set(t, "first_token_ms", wire_real(1e3 * s->seconds_first));
    return t;
}

static json_t *counts_json(const int64_t *count, int most) {
    json_t *list = json_array();
    for (int i = 0; i <= most; i++) wire_add(list, json_integer(count[i]));
    return list;
}

int wire_most_drafts(const weir_session_stats *s, int least) {
    int most = WEIR_GAMMA_MAX;
    while (most > least && s->draft_hist[most] == 0) most--;
    return most;
}

json_t *wire_speculative_json(const weir_session_options *o, const weir_session_stats *s) {
    bool blocks = o->method == WEIR_METHOD_SPECULATIVE;
    const bool chosen = blocks && o->n_draft == WEIR_GAMMA_AUTO;
    const int gamma = wire_most_drafts(s, blocks ? o->n_draft : 0);
    json_t *histogram = counts_json(s->accept_hist, gamma);
    json_t *m = json_object();
    double accepted = (double)s->accepted, rows = (double)s->rows_examined;
    wire_set(m, "mean_acceptance_length", wire_real(1 + ratio(accepted, (double)s->blocks)));
    wire_set(m, "draft_acceptance_rate", wire_real(ratio(accepted, (double)s->drafted)));
    wire_set(m, "acceptance_histogram", histogram);
    wire_set(m, "num_spec_steps", json_integer(s->blocks));
    wire_set(m, "num_accepted_draft_tokens", json_integer(s->accepted));
    wire_set(m, "num_draft_tokens", json_integer(s->drafted));
    wire_set(m, "num_spec_tokens", json_integer(gamma));
    wire_set(m, "rejection_rate", wire_real(ratio(s->reject_mass, rows)));
    wire_set(m, "deferral_rate", wire_real(ratio((double)s->rows_deferred, rows)));
    wire_set(m, "examined_rows", json_integer(s->rows_examined));
    wire_set(m, "deferred_rows", json_integer(s->rows_deferred));
    wire_set(m, "verifier_calls", json_integer(s->verifier_calls));
    wire_set(m, "verifier_rows", json_integer(s->verifier_rows));
    wire_set(m, "drafter_calls", json_integer(s->drafter_calls));
    wire_set(m, "drafter_rows", json_integer(s->drafter_rows));
    wire_set(m, "kept_tokens", json_integer(s->kept));
    wire_set(m, "accepted_tokens", json_integer(wire_agreed(s)));
    wire_set(m, "resampled_tokens", json_integer(s->resampled));
    wire_set(m, "bonus_tokens", json_integer(s->bonus));
    wire_set(m, "drafter_tokens", json_integer(s->from_drafter));
    wire_set(m, "verifier_tokens", json_integer(s->from_verifier));
    wire_set(m, "lossless", json_boolean(wire_lossless(o)));
    if (chosen) {
        wire_set(m, "draft_histogram", counts_json(s->draft_hist, gamma));
        wire_set(m, "settled", json_boolean(s->settled));
    }
    return m;
}

static json_t *settings_json(const weir_session_options *o, const weir_session_view *v) {
    json_t *t = json_object();
    wire_set_settings(t, WIRE_ANSWER, o);
    if (v->costs) wire_set(t, "costs", json_string(v->costs));
    wire_set_quantized(t, v->quantized);
    if (v->graph) wire_set_ways(t, v->graph, v->team, v->pdl);
    if (o->method == WEIR_METHOD_SEQUENCE_CASCADE)
        wire_set(t, "deferred_sequence", json_boolean(v->stats.deferred_sequence));
    return t;
}

json_t *wire_answer_json(int64_t index, const weir_session_options *o, const weir_session_view *v,
                         bool text) {
    json_t *sources = json_array();
    for (size_t i = 0; i < v->n; i++) wire_add(sources, json_string(weir_source_name(v->sources[i])));
    json_t *a = json_object(), *metrics = json_object();
    wire_set(metrics, "speculative_decoding", wire_speculative_json(o, &v->stats));
    wire_set(a, "index", json_integer(index));
    wire_set(a, "text", text ? wire_text(v->text ? v->text : "", v->text ? v->bytes : 0) : json_null());
    wire_set(a, "token_ids", wire_ids(v->ids, v->n));
    wire_set(a, "sources", sources);
    wire_set(a, "logprobs", wire_floats(v->logprobs, v->n));
    wire_set(a, "policy_logprobs", wire_floats(v->policy_logprobs, v->n));
    wire_set(a, "finish_reason", json_string(weir_finish_name(v->finish)));
    wire_set(a, "usage", session_usage_json(v));
    wire_set(a, "timings", wire_timings_json(&v->stats, (int64_t)v->n));
    wire_set(a, "metrics", metrics);
    wire_set(a, "settings", settings_json(o, v));
    return a;
}
