/* Whole answers and streams. The tokens' JSON is made once (answer_parts.c); a stream writes what there is
 * with every block, a whole answer at its end. */
#include "host/serve/api/answer.h"

#include <math.h>
#include <string.h>

#include "host/serve/api/answer_parts.h"
#include "host/wire/json.h"
#include "host/wire/put.h"
#include "host/wire/settings.h"

/* ---- begin and free ------------------------------------------------------------------------------------ */

static void write_head(api_answer *a, const char *id, int64_t created) {
    const bool stream = a->ask->stream;
    const char *object = !a->ask->chat ? "text_completion"
                         : stream      ? "chat.completion.chunk"
                                       : "chat.completion";
    wire_buf *b = &a->head;
    wire_buf_puts(b, stream ? "data: {\"id\":" : "{\"id\":");
    wire_put_text(b, id, strlen(id));
    wire_buf_puts(b, ",\"object\":\"");
    wire_buf_puts(b, object);
    wire_buf_puts(b, "\",\"created\":");
    wire_put_int(b, created);
    wire_buf_puts(b, ",\"model\":");
    wire_put_text(b, a->ask->model, strlen(a->ask->model));
    wire_buf_puts(b, ",\"system_fingerprint\":");
    wire_put_text(b, a->server->fingerprint, strlen(a->server->fingerprint));
    wire_buf_puts(b, ",\"choices\":[");
}

api_answer *api_answer_begin(const api_server *s, const api_ask *ask, const char *id, int64_t created) {
    api_answer *a = weir_calloc(1, sizeof *a);
    if (!a) return NULL;
    a->server = s;
    a->ask = ask;
    a->n_choice = ask->n_prompt * ask->n;
    a->choices = weir_calloc((size_t)a->n_choice, sizeof *a->choices);
    for (int i = 0; i < ask->n_prompt; i++) a->usage.prompt += (int64_t)ask->prompts[i].n;
    write_head(a, id, created);
    if (a->choices && !a->head.failed) return a;
    api_answer_free(a);
    return NULL;
}

void api_answer_free(api_answer *a) {
    if (!a) return;
    for (int i = 0; a->choices && i < a->n_choice; i++) api_parts_free(&a->choices[i]);
    weir_free(a->choices);
    wire_buf_free(&a->head);
    wire_buf_free(&a->metrics);
    wire_buf_free(&a->spelled);
    wire_buf_free(&a->raw);
    weir_free(a);
}

/* ---- writing ------------------------------------------------------------------------------------------- */

/* What ends a call: an out that lacks something is as it was before. */
static bool settle(const api_answer *a, api_choice *c, wire_buf *out, size_t before) {
    const bool ok = !(out && out->failed) && !a->metrics.failed && !(c && api_parts_failed(a, c));
    if (!ok && out) {
        out->len = before;
        out->failed = false;
    }
    return ok;
}

static void put_json(wire_buf *out, const char *key, json_t *value) {
    wire_buf_puts(out, key);
    if (!wire_write(value, out)) out->failed = true;
}

static void open_choice(int index, wire_buf *out) {
    wire_buf_puts(out, "{\"index\":");
    wire_put_int(out, index);
}

/* The running counts of a stream that wants them with every chunk; null where they come at the end. */
static void put_running_usage(const api_answer *a, wire_buf *out) {
    if (!a->ask->usage) return;
    if (!a->ask->running_usage) {
        wire_buf_puts(out, ",\"usage\":null");
        return;
    }
    wire_buf_puts(out, ",\"usage\":{\"prompt_tokens\":");
    wire_put_int(out, a->usage.prompt);
    wire_buf_puts(out, ",\"completion_tokens\":");
    wire_put_int(out, a->usage.completion);
    wire_buf_puts(out, ",\"total_tokens\":");
    wire_put_int(out, a->usage.prompt + a->usage.completion);
    wire_buf_puts(out, "}");
}

static void put_figures(const api_answer *a, wire_buf *out) {
    put_json(out, ",\"timings\":", wire_timings_json(&a->sum, a->usage.completion));
    if (a->metrics.len == 0) return;
    wire_buf_puts(out, ",\"metrics\":");
    wire_buf_add(out, a->metrics.data, a->metrics.len);
}

static void open_chunk(const api_answer *a, int index, wire_buf *out) {
    wire_buf_add(out, a->head.data, a->head.len);
    open_choice(index, out);
}

/* last: nothing follows but [DONE]. */
static void close_chunk(const api_answer *a, bool last, wire_buf *out) {
    wire_buf_puts(out, "}]");
    put_running_usage(a, out);
    if (last) put_figures(a, out);
    wire_buf_puts(out, "}\n\n");
}

static const char unended[] = ",\"finish_reason\":null";

/* A chat's first chunk says who speaks; text follows in the same write. */
static void begin_chat(const api_answer *a, int index, api_choice *c, wire_buf *out) {
    if (c->begun || !a->ask->chat) return;
    open_chunk(a, index, out);
    wire_buf_puts(out, ",\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"logprobs\":null");
    wire_buf_puts(out, unended);
    close_chunk(a, false, out);
    c->begun = true;
}

static void flush(const api_answer *a, int index, api_choice *c, wire_buf *out) {
    if (!api_parts_any(c)) return;
    begin_chat(a, index, c, out);
    open_chunk(a, index, out);
    wire_buf_puts(out, a->ask->chat ? ",\"delta\":{\"content\":\"" : ",\"text\":\"");
    wire_buf_add(out, c->text.data, c->text.len);
    wire_buf_puts(out, a->ask->chat ? "\"}" : "\"");
    api_parts_write(a, c, unended, sizeof unended - 1, out);
    close_chunk(a, false, out);
    api_parts_clear(c);
}

/* ---- tokens -------------------------------------------------------------------------------------------- */

bool api_answer_prompt(api_answer *a, int choice, const api_scored *scored) {
    api_choice *c = &a->choices[choice];
    api_parts_add_prompt(a, c, &a->ask->prompts[choice / a->ask->n], scored);
    return settle(a, c, NULL, 0);
}

bool api_answer_tokens(api_answer *a, int choice, const weir_token_event *t, size_t n, wire_buf *out) {
    api_choice *c = &a->choices[choice];
    const size_t before = out ? out->len : 0;
    for (size_t i = 0; i < n; i++)
        api_parts_add(a, c,
                      &(api_token){.id = t[i].id,
                                   .source = weir_source_name(t[i].source),
                                   .logprob = t[i].logprob,
                                   .policy_logprob = t[i].policy_logprob,
                                   .top = t[i].top,
                                   .n_top = t[i].n_top,
                                   .text = t[i].text,
                                   .bytes = t[i].bytes});
    a->usage.completion += (int64_t)n;
    if (out) flush(a, choice, c, out);
    return settle(a, c, out, before);
}

/* ---- end ----------------------------------------------------------------------------------------------- */

/* Whatever ended it without a failure is either of two words to a client: clients know no others. */
static const char *finish_word(const api_end *e) {
    return e->finish == WEIR_FINISH_STOP && !e->deadline ? "stop" : "length";
}

static json_t *weir_json(const api_answer *a, const api_end *e, const weir_session_options *o) {
    json_t *w = json_object();
    wire_set_setting(w, WIRE_SEED, o);
    wire_set_setting(w, WIRE_DEFERRAL_RULE, o);
    wire_set_setting(w, WIRE_ALPHA, o);
    wire_set_setting(w, WIRE_BETA, o);
    wire_set_setting(w, WIRE_GAMMA, o);
    if (e->costs) wire_set(w, "costs", json_string(e->costs));
    wire_set_quantized(w, a->server->facts.quantized);
    wire_set(w, "ended_by", json_string(e->deadline ? "deadline" : weir_ended_name(e->ended_by)));
    wire_set(w, "reproducible", json_boolean(!e->o));
    wire_set(w, "lossless", json_boolean(wire_lossless(o)));
    wire_set(w, "ignored", a->ask->ignored ? json_incref(a->ask->ignored) : json_array());
    return w;
}

/* finish_reason and what belongs to it, a comma first. */
static void put_tail(const api_answer *a, const api_end *e, const weir_session_options *o, wire_buf *out) {
    const bool stopped = !e->deadline && e->ended_by == WEIR_ENDED_STOP && e->stop >= 0;
    const char *stop = stopped && e->stop < a->ask->o.n_stop ? a->ask->stop[e->stop] : NULL;
    wire_buf_puts(out, ",\"finish_reason\":\"");
    wire_buf_puts(out, finish_word(e));
    wire_buf_puts(out, "\",\"stop_reason\":");
    if (stop)
        wire_put_text(out, stop, strlen(stop));
    else
        wire_buf_puts(out, "null");
    put_json(out, ",\"weir\":", weir_json(a, e, o));
}

/* The end-of-text token is a counted one, without text. Nobody wrote down which model it came from. */
static void add_eos(api_answer *a, api_choice *c, const api_end *e) {
    if (e->eos < 0) return;
    api_parts_add(a, c,
                  &(api_token){.id = e->eos,
                               .logprob = e->eos_logprob,
                               .policy_logprob = e->eos_policy_logprob,
                               .top = e->eos_top,
                               .n_top = e->n_eos_top});
    a->usage.completion++;
}

/* Timings of several choices: all their work, and the earliest first token. */
static void sum_up(weir_session_stats *sum, const weir_session_stats *s) {
    sum->n_prompt += s->n_prompt;
    sum->drafted += s->drafted;
    sum->accepted += s->accepted;
    sum->seconds_prefill += s->seconds_prefill;
    sum->seconds_draft += s->seconds_draft;
    sum->seconds_verify += s->seconds_verify;
    sum->seconds_accept += s->seconds_accept;
    sum->seconds_total += s->seconds_total;
    if (s->seconds_first > 0 && (sum->seconds_first == 0 || s->seconds_first < sum->seconds_first))
        sum->seconds_first = s->seconds_first;
}

/* Of an answer with one choice. Readers want finite figures: where no block ran, there are none of blocks. */
static void keep_metrics(api_answer *a, const api_end *e, const weir_session_options *o) {
    const weir_session_stats *s = &e->stats;
    json_t *m = json_object();
    if (a->n_choice > 1) {
        json_decref(m);
        return;
    }
    wire_set(m, "queue_time_ms", wire_real(1e3 * e->queue_seconds));
    wire_set(m, "time_to_first_token_ms",
             s->seconds_first > 0 ? wire_real(1e3 * (e->queue_seconds + s->seconds_first)) : json_null());
    if (s->blocks > 0) wire_set(m, "speculative_decoding", wire_speculative_json(o, s));
    put_json(&a->metrics, "", m);
}

bool api_answer_end(api_answer *a, int choice, const api_end *end, wire_buf *out) {
    api_choice *c = &a->choices[choice];
    const weir_session_options *o = end->o ? end->o : &a->ask->o;
    const size_t before = out ? out->len : 0;
    add_eos(a, c, end);
    wire_usage_add(&a->usage, &end->stats);
    if (choice % a->ask->n == 0) a->usage.cached += end->n_cached; /* a prompt counts once */
    sum_up(&a->sum, &end->stats);
    keep_metrics(a, end, o);
    a->n_ended++;
    if (out) {
        flush(a, choice, c, out);
        begin_chat(a, choice, c, out);
        open_chunk(a, choice, out);
        wire_buf_puts(out,
                      a->ask->chat ? ",\"delta\":{},\"logprobs\":null" : ",\"text\":\"\",\"logprobs\":null");
        put_tail(a, end, o, out);
        close_chunk(a, a->n_ended == a->n_choice && !a->ask->usage, out);
    } else {
        put_tail(a, end, o, &c->tail);
    }
    return settle(a, c, out, before);
}

/* ---- finish -------------------------------------------------------------------------------------------- */

static void put_choice(const api_answer *a, int index, wire_buf *out) {
    const api_choice *c = &a->choices[index];
    if (index > 0) wire_buf_add(out, ",", 1);
    open_choice(index, out);
    wire_buf_puts(out, a->ask->chat ? ",\"message\":{\"role\":\"assistant\",\"content\":\"" : ",\"text\":\"");
    wire_buf_add(out, c->text.data, c->text.len);
    wire_buf_puts(out, a->ask->chat ? "\",\"refusal\":null}" : "\"");
    api_parts_write(a, c, c->tail.data, c->tail.len, out);
    wire_buf_puts(out, "}");
}

static const char done[] = "data: [DONE]\n\n";

bool api_answer_finish(api_answer *a, wire_buf *out) {
    const size_t before = out->len;
    const bool stream = a->ask->stream;
    if (!stream || a->ask->usage) {
        wire_buf_add(out, a->head.data, a->head.len);
        for (int i = 0; i < a->n_choice && !stream; i++) put_choice(a, i, out);
        put_json(out, "],\"usage\":", wire_usage_json(&a->usage));
        put_figures(a, out);
        wire_buf_puts(out, stream ? "}\n\n" : "}");
    }
    if (stream) wire_buf_puts(out, done);
    return settle(a, NULL, out, before);
}

bool api_answer_break(const serve_error *e, wire_buf *out) {
    const size_t before = out->len;
    wire_buf_puts(out, "data: ");
    const bool ok = serve_error_write(e, out);
    wire_buf_puts(out, "\n\n");
    wire_buf_puts(out, done);
    if (ok && !out->failed) return true;
    out->len = before;
    out->failed = false;
    return false;
}
