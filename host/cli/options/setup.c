#include "host/cli/options/setup.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/cli/io/message.h"
#include "host/cli/io/out.h"
#include "host/cli/io/terminal.h"
#include "host/wire/answer.h"
#include "host/wire/nearest.h"
#include "host/wire/settings.h"

weir_draft_kind cli_draft_kind(const cli_args *a) { return weir_draft_named(cli_text(a, OPT_MODEL_DRAFT)); }

int cli_need_q(const weir_draft_info *draft, const char *what) {
    if (draft->has_q) return CLI_OK;
    return cli_fail(CLI_USAGE, "-md: %s has no distribution to %s", draft->about, what);
}

/* A process that only works for rank 0 ends here. */
static _Noreturn void follow(weir_engine *e, int rank) {
    weir_err err = {{0}};
    const weir_status s = weir_follow(e, &err);
    weir_engine_close(e);
    exit(s == WEIR_OK ? CLI_OK : cli_fail(CLI_FAILED, "rank %d: %s", rank, err.text));
}

/* No session will leave gamma open. lines: of input, which may ask for what the flags do not. */
static bool fixes_gamma(const cli_args *a, bool lines) {
    if (a->command == CMD_BENCH) return true;
    if (lines || a->command == CMD_SERVE) return false;
    if (cli_is_set(a, OPT_METHOD) && a->value[OPT_METHOD].integer != WEIR_METHOD_SPECULATIVE) return true;
    return cli_int(a, OPT_DRAFT_N_MAX) != WEIR_GAMMA_AUTO;
}

int cli_open(const cli_args *a, bool dry, weir_engine **out) {
    const char *model = cli_text(a, OPT_MODEL);
    if (!model) {
        return cli_fail(CLI_USAGE, "no model: give -m DIR (or set WEIR_MODEL; see weir %s --help)",
                        cli_commands[a->command].name);
    }
    const char *chat = cli_text(a, OPT_CHAT_TEMPLATE);
    if (chat && !weir_chat_template_find(chat)) {
        char names[200];
        weir_chat_template_names(names, sizeof names);
        return cli_fail(CLI_USAGE, "--chat-template %.60s: unknown, expected one of %s", chat, names);
    }
    if (chat && cli_text(a, OPT_CHAT_TEMPLATE_FILE))
        return cli_fail(CLI_USAGE, "--chat-template and --chat-template-file: expected one of the two");
    weir_engine_options o = weir_engine_options_default();
    o.model = model;
    o.model_draft = cli_text(a, OPT_MODEL_DRAFT);
    const bool drafter = weir_draft_facts(cli_draft_kind(a))->loads;
    if (cli_given(a, OPT_QUANTIZE_DRAFT) && !drafter)
        return cli_fail(CLI_USAGE, "--quantize-draft needs a drafter: give -md DIR");
    o.quantize = cli_text(a, OPT_QUANTIZE);
    o.quantize_draft = drafter ? cli_text(a, OPT_QUANTIZE_DRAFT) : NULL;
    o.lookup_min = cli_int(a, OPT_LOOKUP_MIN);
    o.lookup_max = cli_int(a, OPT_LOOKUP_MAX);
    o.device = cli_text(a, OPT_DEVICE);
    o.isa = cli_text(a, OPT_ISA);
    o.n_thread = cli_int(a, OPT_THREADS);
    o.tp = cli_int(a, OPT_TP);
    o.draft_tp = cli_int(a, OPT_DRAFT_TP);
    o.comm = cli_text(a, OPT_COMM);
    o.comm_timeout = a->command == CMD_INFO ? 0.0 : a->value[OPT_COMM_TIMEOUT].number;
    o.n_parallel = cli_int(a, OPT_PARALLEL);
    o.ctx_size = cli_int(a, OPT_CTX_SIZE); /* 0: unset, the checkpoint decides */
    /* Lines of input, of a conversation too, may ask for a larger gamma than the flag's. */
    bool lines = cli_is_set(a, OPT_INPUT) || cli_flag(a, OPT_JSONL) || a->command == CMD_CHAT;
    const int gamma = cli_int(a, OPT_DRAFT_N_MAX);
    o.max_draft = lines ? 0 : gamma != WEIR_GAMMA_AUTO ? gamma : WEIR_GAMMA_AUTO_MAX;
    o.costs = cli_text(a, OPT_COSTS);
    o.fixed_gamma = fixes_gamma(a, lines);
    if (a->command == CMD_SERVE) {
        o.kv_bytes = (size_t)cli_int(a, OPT_KV_SIZE_MIB) << 20;
        /* The bound of requests; up to 10 cost nothing, since buffers have room for 12 rows a slot. */
        if (o.max_draft < 10) o.max_draft = 10;
        if (!cli_given(a, OPT_PARALLEL) && a->value[OPT_PARALLEL].from == CLI_FROM_PRESET) o.n_parallel = 8;
    }
    o.prefix_cache = a->command == CMD_CHAT || (a->command == CMD_SERVE && !cli_flag(a, OPT_NO_CACHE_PROMPT));
    o.dry_run = dry;
    o.chat_template = chat;
    o.chat_template_file = cli_text(a, OPT_CHAT_TEMPLATE_FILE);
    o.chat_required = a->command == CMD_CHAT;
    o.no_graph = cli_flag(a, OPT_NO_GRAPH);
    o.strict_config = cli_flag(a, OPT_STRICT_CONFIG);
    o.interrupt = (weir_interrupt){terminal_interrupted, NULL};
    weir_err err = {{0}};
    weir_status s = weir_engine_open(out, &o, &err);
    if (s != WEIR_OK) return cli_fail(CLI_FAILED, "%s", err.text[0] ? err.text : weir_status_str(s));
    weir_engine_facts f;
    weir_engine_get_facts(*out, &f);
    if (f.rank > 0) follow(*out, f.rank);
    const char *const dirs[] = {model, o.model_draft};
    for (int i = 0; i < 2; i++)
        if (f.ignored[i])
            cli_warn("%.200s: not known and ignored (--strict-config refuses them): %s", dirs[i],
                     f.ignored[i]);
    if (f.device_note) cli_note("%s: running on the %s", f.device_note, f.device);
    return CLI_OK;
}

int cli_queue_open(weir_engine *e, weir_queue **out) {
    weir_err err = {{0}};
    const weir_queue_options o = {.stall_seconds = (double)INFINITY};
    const weir_status s = weir_queue_open(out, e, &o, &err);
    return s == WEIR_OK ? CLI_OK : cli_fail(CLI_FAILED, "%s", err.text);
}

weir_status cli_answer(weir_queue *q, const weir_session_options *o, const int32_t *ids, size_t n,
                       void (*on_tokens)(void *ud, const weir_queue_event *ev), void *ud, weir_request **r,
                       weir_queue_event *ev) {
    *ev = (weir_queue_event){.kind = WEIR_QUEUE_IDLE};
    *r = NULL;
    weir_queue_job job = weir_queue_job_default();
    job.options = *o, job.prompt = ids, job.n_prompt = n;
    ev->status = weir_queue_submit(q, &job, 1, r, &ev->err);
    while (ev->status == WEIR_OK && ev->kind != WEIR_QUEUE_END) {
        if (terminal_signal() || cli_out_failed()) weir_queue_cancel(*r);
        weir_queue_next(q, 0.0, ev);
        if (ev->kind == WEIR_QUEUE_TOKENS && on_tokens) on_tokens(ud, ev);
    }
    return ev->status;
}

void cli_device_text(const weir_engine_facts *f, char *buf, size_t cap) {
    if (f->isa && f->n_rank > 1)
        snprintf(buf, cap, "%s (%s, %d ranks, threads each: %d)", f->device, f->isa, f->n_rank, f->n_thread);
    else if (f->isa)
        snprintf(buf, cap, "%s (%s, %d threads)", f->device, f->isa, f->n_thread);
    else if (f->n_rank > 1)
        snprintf(buf, cap, "%s (%s) and its peers, %d ranks%s%s%s%s%s", f->device, f->about, f->n_rank,
                 f->exchange ? " over " : "", f->exchange ? f->exchange : "", f->exchange_why ? " (" : "",
                 f->exchange_why ? f->exchange_why : "", f->exchange_why ? ")" : "");
    else
        snprintf(buf, cap, "%s (%s)", f->device, f->about);
}

/* The rule where none was given. */
static int rule_of_method(const cli_args *a) {
    const char *method = cli_is_set(a, OPT_METHOD) ? cli_text(a, OPT_METHOD) : NULL;
    const int m = method ? weir_method_parse(method) : -1;
    return m < 0 ? WEIR_RULE_EXACT : (int)wire_rule_of_method((weir_method)m);
}

/* What the options set of the request's fields, over *out; the rule comes before its knobs. */
static int read_fields(const cli_args *a, weir_session_options *out) {
    const char *name = cli_text(a, OPT_RULE);
    const int rule = name ? weir_rule_parse(name) : rule_of_method(a);
    if (rule < 0) {
        wire_nearest near = {.word = name};
        wire_nearest_rule(&near);
        return cli_fail(CLI_USAGE, "--deferral-rule %s: unknown rule%s (see weir %s --help)", name,
                        wire_nearest_hint(&near), cli_commands[a->command].name);
    }
    wire_set_rule(&out->law, (weir_rule)rule);
    const bool second = !isnan(out->law.beta);
    if (cli_given(a, OPT_BETA) && !second) {
        return cli_fail(CLI_USAGE, "--deferral-beta: rule %s has no second knob",
                        weir_rule_facts((weir_rule)rule)->name);
    }
    if (cli_given(a, OPT_ALPHA) && !wire_counts(&wire_fields[WIRE_ALPHA], out))
        return cli_fail(CLI_USAGE, "--deferral-alpha: rule exact has no knob; name another rule");
    for (int i = 0; i < OPT_COUNT; i++) {
        const wire_field *f = cli_option_row(i)->field;
        const cli_value *v = &a->value[i];
        if (!f || f >= wire_fields + WIRE_N_SETTING || v->from == CLI_UNSET || (i == OPT_BETA && !second))
            continue;
        if (f->type == WIRE_UINT)
            memcpy(wire_place(f, out), &v->bits, sizeof v->bits);
        else if (f->type != WIRE_NAME)
            wire_put(f, out, f->type == WIRE_NUMBER ? v->number : (double)v->integer);
    }
    return CLI_OK;
}

int cli_law(const cli_args *a, weir_law *out) {
    weir_session_options o = weir_session_options_default();
    const int rc = read_fields(a, &o);
    *out = o.law;
    return rc;
}

/* Flags that ask for a drafter where there is none, or for a rule where none is used, are mistakes; the same
 * from the environment only sets up other runs. */
static int check_method(const cli_args *a, weir_method m) {
    static const cli_option_id ruled[] = {OPT_RULE, OPT_ALPHA, OPT_BETA};
    bool draft = cli_is_set(a, OPT_MODEL_DRAFT);
    for (int i = OPT_LOOKUP_MIN; i <= OPT_LOOKUP_MAX; i++)
        if (cli_given(a, (cli_option_id)i) && cli_draft_kind(a) != WEIR_DRAFT_LOOKUP)
            return cli_fail(CLI_USAGE, "--%s has no effect without -md " WEIR_NGRAM,
                            cli_option_row((cli_option_id)i)->name);
    if (wire_method_needs_draft(m) && !draft) {
        return cli_fail(CLI_USAGE, "--method %s needs a drafter: give -md DIR", weir_method_name(m));
    }
    for (int i = 0; i < 3; i++) {
        if (!cli_given(a, ruled[i])) continue;
        const char *name = cli_option_row(ruled[i])->name;
        if (!draft) return cli_fail(CLI_USAGE, "--%s needs a drafter: give -md DIR", name);
        bool threshold = m == WEIR_METHOD_SEQUENCE_CASCADE && ruled[i] == OPT_ALPHA;
        if (!wire_method_has_rule(m) && !threshold) {
            return cli_fail(CLI_USAGE, "--%s has no effect under --method %s", name, weir_method_name(m));
        }
    }
    if (m == WEIR_METHOD_SEQUENCE_CASCADE) {
        if (!cli_is_set(a, OPT_ALPHA)) {
            return cli_fail(CLI_USAGE, "--method %s needs --deferral-alpha, its threshold in nats",
                            weir_method_name(m));
        }
        if (a->value[OPT_ALPHA].number < 0) {
            return cli_fail(CLI_USAGE,
                            "--deferral-alpha %s: out of range, expected at least 0 under --method %s",
                            cli_text(a, OPT_ALPHA), weir_method_name(m));
        }
    }
    return CLI_OK;
}

int cli_session(const cli_args *a, weir_session_options *out) {
    *out = weir_session_options_default();
    out->method = cli_is_set(a, OPT_MODEL_DRAFT) ? WEIR_METHOD_SPECULATIVE : WEIR_METHOD_VERIFIER;
    if (cli_is_set(a, OPT_METHOD)) out->method = (weir_method)a->value[OPT_METHOD].integer;
    int rc = check_method(a, out->method);
    const int ctx = cli_int(a, OPT_CTX_SIZE);
    /* cli_fit_context makes it the checkpoint's */
    const int all = ctx > 0 ? ctx : (int)cli_option_row(OPT_CTX_SIZE)->hi;
    out->max_tokens = a->command == CMD_CHAT || all < 128 ? all : 128;
    if (rc == CLI_OK) rc = read_fields(a, out);
    if (rc) return rc;
    weir_err err = {{0}};
    if (weir_draft_check(cli_draft_kind(a), out->method, &out->law, &err) != WEIR_OK)
        return cli_fail(CLI_USAGE, "%s", err.text);
    if (wire_method_has_rule(out->method) && weir_law_check(&out->law, &err) != WEIR_OK)
        return cli_fail(CLI_USAGE, "%s", err.text);
    if (ctx > 0 && out->max_tokens > ctx) {
        return cli_fail(CLI_USAGE, "--n-predict %d: out of range, expected 1 to %d (--ctx-size)",
                        out->max_tokens, ctx);
    }
    out->stop = a->list[OPT_STOP].text;
    out->n_stop = a->list[OPT_STOP].n;
    return CLI_OK;
}

int cli_fixed_gamma(const cli_args *a, int *gamma) {
    const int given = cli_int(a, OPT_DRAFT_N_MAX);
    if (given == WEIR_GAMMA_AUTO && cli_given(a, OPT_DRAFT_N_MAX))
        return cli_fail(CLI_USAGE, "--gamma auto: weir %s needs a number", cli_commands[a->command].name);
    *gamma = given == WEIR_GAMMA_AUTO ? 5 : given;
    return CLI_OK;
}

int cli_fit_context(const cli_args *a, const weir_engine_facts *f, weir_session_options *o) {
    if (o->max_tokens <= f->ctx_size) return CLI_OK;
    if (cli_is_set(a, OPT_N_PREDICT)) {
        return cli_fail(CLI_USAGE, "--n-predict %d: out of range, expected 1 to %d (--ctx-size)",
                        o->max_tokens, f->ctx_size);
    }
    o->max_tokens = f->ctx_size;
    return CLI_OK;
}

static void note_quantized(const weir_engine_facts *f, const weir_session_options *o) {
    static const char *const role[] = {"verifier", "drafter"};
    const char *says[] = {"the law is the quantised model's",
                          wire_lossless(o) ? "the law stays the verifier's, only the speed changes"
                                           : "the rule goes by the quantised model"};
    for (int i = 0; i < 2; i++) {
        if (!f->quantized[i]) continue;
        cli_note("%s quantised to %s: %d matrices, %d stay as in the file; %s", role[i], f->quantized[i],
                 (int)f->n_quantized[i], (int)f->n_unquantized[i],
                 f->n_quantized[i] ? says[i] : "nothing changes");
    }
}

void cli_note_setting(const weir_engine_facts *f, const weir_session_options *o) {
    char device[420], setting[500];
    cli_device_text(f, device, sizeof device);
    wire_settings_text(o, setting, sizeof setting);
    cli_note("device %s, %s", device, setting);
    if (f->draft == WEIR_DRAFT_LOOKUP)
        cli_note("drafts: looked up in prompt and answer, suffixes of %d to %d tokens", f->lookup_min,
                 f->lookup_max);
    if (f->apart) cli_note("drafts: the drafter's text in the verifier's tokens; %s", f->apart);
    note_quantized(f, o);
    if (f->draft_choice) cli_note("drafter's layers: %s", f->draft_choice);
    if (f->costs && o->method == WEIR_METHOD_SPECULATIVE && o->n_draft == WEIR_GAMMA_AUTO)
        cli_note("costs %s (%s)", f->costs, f->costs_from);
}
