#include "host/cli/answer.h"

#include <math.h>
#include <stdio.h>

/* 0 / 0 is "there was none": NaN here, null in JSON, n/a in the summary. */
static double ratio(double a, double b) { return b > 0 ? a / b : (double)NAN; }

/* Whether the emitted law is the verifier's own. */
static bool lossless(const weir_session_options *o) {
    return o->method == WEIR_METHOD_VERIFIER ||
           (o->method == WEIR_METHOD_SPECULATIVE && o->law.rule == WEIR_RULE_EXACT);
}

/* Emitted tokens of source accepted. s->accepted is of the accept step: it counts kept ones too, and drafts
 * that a stop or the limit then took back. */
static int64_t agreed(const weir_session_stats *s) {
    return s->n_output - s->kept - s->resampled - s->bonus - s->from_drafter - s->from_verifier;
}

static json_t *usage_json(const weir_session_view *v) {
    const weir_session_stats *s = &v->stats;
    int64_t appeared = s->kept + agreed(s);
    json_t *details = json_object();
    cli_json_set(details, "accepted_prediction_tokens", json_integer(appeared));
    cli_json_set(details, "rejected_prediction_tokens", json_integer(s->drafted - appeared));
    json_t *usage = json_object();
    cli_json_set(usage, "prompt_tokens", json_integer(s->n_prompt));
    cli_json_set(usage, "completion_tokens", json_integer((json_int_t)v->n));
    cli_json_set(usage, "total_tokens", json_integer(s->n_prompt + (json_int_t)v->n));
    cli_json_set(usage, "completion_tokens_details", details);
    return usage;
}

static json_t *timings_json(const weir_session_view *v) {
    const weir_session_stats *s = &v->stats;
    double predicted = s->seconds_total - s->seconds_prefill;
    json_t *t = json_object();
    cli_json_set(t, "prompt_n", json_integer(s->n_prompt));
    cli_json_set(t, "prompt_ms", cli_json_real(1e3 * s->seconds_prefill));
    cli_json_set(t, "prompt_per_second", cli_json_real(ratio((double)s->n_prompt, s->seconds_prefill)));
    cli_json_set(t, "predicted_n", json_integer((json_int_t)v->n));
    cli_json_set(t, "predicted_ms", cli_json_real(1e3 * predicted));
    cli_json_set(t, "predicted_per_second", cli_json_real(ratio((double)v->n, predicted)));
    cli_json_set(t, "draft_n", json_integer(s->drafted));
    cli_json_set(t, "draft_n_accepted", json_integer(s->accepted));
    cli_json_set(t, "draft_ms", cli_json_real(1e3 * s->seconds_draft));
    cli_json_set(t, "verify_ms", cli_json_real(1e3 * s->seconds_verify));
    cli_json_set(t, "accept_ms", cli_json_real(1e3 * s->seconds_accept));
    cli_json_set(t, "first_token_ms", cli_json_real(1e3 * s->seconds_first));
    return t;
}

static json_t *metrics_json(const weir_session_options *o, const weir_session_stats *s) {
    bool blocks = o->method == WEIR_METHOD_SPECULATIVE;
    int gamma = blocks ? o->n_draft : 0;
    json_t *histogram = json_array();
    for (int i = 0; i <= gamma; i++) cli_json_add(histogram, json_integer(s->accept_hist[i]));
    json_t *m = json_object();
    double accepted = (double)s->accepted, rows = (double)s->rows_examined;
    cli_json_set(m, "mean_acceptance_length", cli_json_real(1 + ratio(accepted, (double)s->blocks)));
    cli_json_set(m, "draft_acceptance_rate", cli_json_real(ratio(accepted, (double)s->drafted)));
    cli_json_set(m, "acceptance_histogram", histogram);
    cli_json_set(m, "num_spec_steps", json_integer(s->blocks));
    cli_json_set(m, "num_accepted_draft_tokens", json_integer(s->accepted));
    cli_json_set(m, "num_draft_tokens", json_integer(s->drafted));
    cli_json_set(m, "num_spec_tokens", json_integer(gamma));
    cli_json_set(m, "rejection_rate", cli_json_real(ratio(s->reject_mass, rows)));
    cli_json_set(m, "deferral_rate", cli_json_real(ratio((double)s->rows_deferred, rows)));
    cli_json_set(m, "examined_rows", json_integer(s->rows_examined));
    cli_json_set(m, "deferred_rows", json_integer(s->rows_deferred));
    cli_json_set(m, "verifier_calls", json_integer(s->verifier_calls));
    cli_json_set(m, "verifier_rows", json_integer(s->verifier_rows));
    cli_json_set(m, "drafter_calls", json_integer(s->drafter_calls));
    cli_json_set(m, "drafter_rows", json_integer(s->drafter_rows));
    cli_json_set(m, "kept_tokens", json_integer(s->kept));
    cli_json_set(m, "accepted_tokens", json_integer(agreed(s)));
    cli_json_set(m, "resampled_tokens", json_integer(s->resampled));
    cli_json_set(m, "bonus_tokens", json_integer(s->bonus));
    cli_json_set(m, "drafter_tokens", json_integer(s->from_drafter));
    cli_json_set(m, "verifier_tokens", json_integer(s->from_verifier));
    cli_json_set(m, "lossless", json_boolean(lossless(o)));
    json_t *outer = json_object();
    cli_json_set(outer, "speculative_decoding", m);
    return outer;
}

static json_t *settings_json(const weir_session_options *o, const weir_session_view *v) {
    const weir_law *law = &o->law;
    const weir_rule_info *rule =
        cli_method_has_rule(o->method) ? weir_rule_facts((weir_rule)law->rule) : NULL;
    bool sequence = o->method == WEIR_METHOD_SEQUENCE_CASCADE, blocks = o->method == WEIR_METHOD_SPECULATIVE;
    bool knob = sequence || (rule && law->rule != WEIR_RULE_EXACT);
    bool second = rule && isfinite(rule->beta_default);
    json_t *t = json_object();
    cli_json_set(t, "method", json_string(weir_method_name(o->method)));
    cli_json_set(t, "rule", rule ? json_string(rule->name) : json_null());
    cli_json_set(t, "alpha", knob ? cli_json_knob(law->alpha) : json_null());
    cli_json_set(t, "beta",
                 !second            ? json_null()
                 : isnan(law->beta) ? json_string("auto")
                                    : cli_json_knob(law->beta));
    cli_json_set(t, "gamma", blocks ? json_integer(o->n_draft) : json_null());
    cli_json_set(t, "gate", rule ? json_string(law->gate_scaled ? "scaled" : "raw") : json_null());
    cli_json_set(t, "bonus", blocks ? json_string(law->bonus_pi ? "pi" : "verifier") : json_null());
    cli_json_set(t, "block_verify", json_boolean(blocks && law->block_verify));
    cli_json_set(t, "exact_first", json_integer(rule ? law->exact_first : 0));
    cli_json_set(t, "temperature", cli_json_knob(law->temp));
    cli_json_set(t, "top_k", json_integer(law->top_k));
    cli_json_set(t, "top_p", cli_json_knob(law->top_p));
    cli_json_set(t, "min_p", cli_json_knob(law->min_p));
    cli_json_set(t, "max_tokens", json_integer(o->max_tokens));
    /* A JSON number of 64 bits without a sign is beyond most readers; larger seeds are written as text. */
    char seed[24];
    snprintf(seed, sizeof seed, "%llu", (unsigned long long)o->seed);
    cli_json_set(t, "seed", o->seed <= INT64_MAX ? json_integer((json_int_t)o->seed) : json_string(seed));
    if (sequence) {
        cli_json_set(t, "seq_confidence", json_string(o->seq_conf_sum ? "sum" : "mean"));
        cli_json_set(t, "deferred_sequence", json_boolean(v->stats.deferred_sequence));
    }
    return t;
}

json_t *cli_answer_json(int64_t index, const weir_session_options *o, const weir_session_view *v, bool text) {
    json_t *sources = json_array();
    for (size_t i = 0; i < v->n; i++) cli_json_add(sources, json_string(weir_source_name(v->sources[i])));
    json_t *a = json_object();
    cli_json_set(a, "index", json_integer(index));
    cli_json_set(a, "text",
                 text ? cli_json_text(v->text ? v->text : "", v->text ? v->bytes : 0) : json_null());
    cli_json_set(a, "token_ids", cli_json_ids(v->ids, v->n));
    cli_json_set(a, "sources", sources);
    cli_json_set(a, "logprobs", cli_json_floats(v->logprobs, v->n));
    cli_json_set(a, "policy_logprobs", cli_json_floats(v->policy_logprobs, v->n));
    cli_json_set(a, "finish_reason", json_string(weir_finish_name(v->finish)));
    cli_json_set(a, "usage", usage_json(v));
    cli_json_set(a, "timings", timings_json(v));
    cli_json_set(a, "metrics", metrics_json(o, &v->stats));
    cli_json_set(a, "settings", settings_json(o, v));
    return a;
}

/* ---- summary ------------------------------------------------------------------------------------------- */

void cli_totals_add(cli_totals *t, const weir_session_options *o, const weir_session_view *v) {
    const weir_session_stats *s = &v->stats;
    weir_session_stats *u = &t->sum;
    t->answers++;
    t->stopped += v->finish == WEIR_FINISH_STOP;
    t->at_limit += v->finish == WEIR_FINISH_LENGTH;
    t->cancelled += v->finish == WEIR_FINISH_CANCELLED;
    if (o->method == WEIR_METHOD_SPECULATIVE && o->n_draft > t->gamma) t->gamma = o->n_draft;
    u->n_prompt += s->n_prompt;
    u->n_output += (int64_t)v->n;
    u->blocks += s->blocks;
    u->drafted += s->drafted;
    u->accepted += s->accepted;
    u->kept += s->kept;
    u->resampled += s->resampled;
    u->bonus += s->bonus;
    u->from_drafter += s->from_drafter;
    u->from_verifier += s->from_verifier;
    u->rows_examined += s->rows_examined;
    u->rows_deferred += s->rows_deferred;
    u->reject_mass += s->reject_mass;
    u->verifier_calls += s->verifier_calls;
    u->verifier_rows += s->verifier_rows;
    u->drafter_calls += s->drafter_calls;
    u->drafter_rows += s->drafter_rows;
    for (int i = 0; i <= WEIR_GAMMA_MAX; i++) u->accept_hist[i] += s->accept_hist[i];
    u->seconds_prefill += s->seconds_prefill;
    u->seconds_draft += s->seconds_draft;
    u->seconds_verify += s->seconds_verify;
    u->seconds_accept += s->seconds_accept;
    u->seconds_total += s->seconds_total;
    u->seconds_first += s->seconds_first;
}

static void line_real(const char *name, double x, const char *unit) {
    if (isnan(x))
        fprintf(stderr, "  %-24s n/a\n", name);
    else
        fprintf(stderr, "  %-24s %.4g%s\n", name, x, unit);
}

void cli_totals_print(const cli_totals *t) {
    const weir_session_stats *s = &t->sum;
    double n = (double)s->n_output, rows = (double)s->rows_examined, answers = (double)t->answers;
    fprintf(stderr, "  %-24s %lld (%lld stop, %lld length, %lld cancelled)\n", "answers",
            (long long)t->answers, (long long)t->stopped, (long long)t->at_limit, (long long)t->cancelled);
    fprintf(stderr, "  %-24s %lld prompt, %lld output\n", "tokens", (long long)s->n_prompt,
            (long long)s->n_output);
    line_real("speed", ratio(n, t->seconds), " tokens/s");
    line_real("first token", 1e3 * ratio(s->seconds_first, answers), " ms on average");
    line_real("verifier calls", ratio((double)s->verifier_calls, n), " per token");
    if (s->blocks > 0) {
        fprintf(stderr, "  %-24s %lld at gamma %d\n", "blocks", (long long)s->blocks, t->gamma);
        line_real("mean acceptance length", 1 + ratio((double)s->accepted, (double)s->blocks),
                  " tokens a block");
        line_real("acceptance rate", 100 * ratio((double)s->accepted, (double)s->drafted),
                  "% of drafted tokens");
        fprintf(stderr, "  %-24s", "accepted drafts 0, 1 ...");
        for (int i = 0; i <= t->gamma; i++) fprintf(stderr, " %lld", (long long)s->accept_hist[i]);
        fputc('\n', stderr);
    }
    if (s->rows_examined > 0) {
        line_real("rejection rate", 100 * ratio(s->reject_mass, rows), "% of examined rows");
        line_real("deferral rate", 100 * ratio((double)s->rows_deferred, rows), "% of examined rows");
    }
    fprintf(stderr,
            "  %-24s %lld kept, %lld accepted, %lld resampled, %lld bonus, %lld drafter, %lld verifier\n",
            "sources", (long long)s->kept, (long long)agreed(s), (long long)s->resampled, (long long)s->bonus,
            (long long)s->from_drafter, (long long)s->from_verifier);
    fprintf(stderr, "  %-24s %.3f prefill, %.3f draft, %.3f verify, %.3f accept, %.3f wall clock\n",
            "seconds", s->seconds_prefill, s->seconds_draft, s->seconds_verify, s->seconds_accept,
            t->seconds);
}
