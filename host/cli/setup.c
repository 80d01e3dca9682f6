#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "host/cli/cli.h"
#include "host/cli/terminal.h"

/* From options to the engine's structs: what hangs on more than one option is decided here. */

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
    o.device = cli_text(a, OPT_DEVICE);
    o.isa = cli_text(a, OPT_ISA);
    o.n_thread = cli_int(a, OPT_THREADS);
    o.n_parallel = cli_int(a, OPT_PARALLEL);
    o.ctx_size = cli_int(a, OPT_CTX_SIZE); /* 0: unset, the checkpoint decides */
    /* Lines of input, of a conversation too, may ask for a larger gamma than the flag's. */
    bool lines = cli_is_set(a, OPT_INPUT) || cli_flag(a, OPT_JSONL) || a->command == CMD_CHAT;
    o.max_draft = lines ? 0 : cli_int(a, OPT_DRAFT_N_MAX);
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
    const char *const dirs[] = {model, o.model_draft};
    for (int i = 0; i < 2; i++)
        if (f.ignored[i])
            cli_warn("%.200s: not known and ignored (--strict-config refuses them): %s", dirs[i],
                     f.ignored[i]);
    if (f.device_note) cli_note("%s: running on the %s", f.device_note, f.device);
    return CLI_OK;
}

void cli_device_text(const weir_engine_facts *f, char *buf, size_t cap) {
    if (f->isa)
        snprintf(buf, cap, "%s (%s, %d threads)", f->device, f->isa, f->n_thread);
    else
        snprintf(buf, cap, "%s (%s)", f->device, f->about);
}

bool cli_method_has_rule(weir_method m) {
    return m == WEIR_METHOD_SPECULATIVE || m == WEIR_METHOD_TOKEN_CASCADE || m == WEIR_METHOD_ORACLE_CASCADE;
}

bool cli_method_needs_draft(weir_method m) { return m != WEIR_METHOD_VERIFIER; }

void cli_law_set_rule(weir_law *law, weir_rule rule) {
    const weir_rule_info *facts = weir_rule_facts(rule);
    law->rule = (int32_t)rule;
    law->alpha = facts->alpha_default;
    law->beta = facts->beta_default;
}

/* The rule of a method that was given none: the paper's for the sequential ones. */
static int rule_of_method(const cli_args *a) {
    const char *method = cli_is_set(a, OPT_METHOD) ? cli_text(a, OPT_METHOD) : NULL;
    const int m = method ? weir_method_parse(method) : -1;
    return m == WEIR_METHOD_TOKEN_CASCADE    ? WEIR_RULE_CHOW
           : m == WEIR_METHOD_ORACLE_CASCADE ? WEIR_RULE_DIFF
                                             : WEIR_RULE_EXACT;
}

int cli_law(const cli_args *a, weir_law *out) {
    *out = weir_law_default();
    const char *name = cli_text(a, OPT_RULE);
    int rule = name ? weir_rule_parse(name) : rule_of_method(a);
    if (rule < 0) {
        return cli_fail(CLI_USAGE, "--deferral-rule %s: unknown rule; the nearest is %s (see weir %s --help)",
                        name, cli_rule_nearest(name), cli_commands[a->command].name);
    }
    cli_law_set_rule(out, (weir_rule)rule);
    const cli_value *v = a->value;
    if (cli_is_set(a, OPT_ALPHA)) out->alpha = (float)v[OPT_ALPHA].number;
    if (cli_given(a, OPT_BETA) && isnan(out->beta)) {
        return cli_fail(CLI_USAGE, "--deferral-beta: rule %s has no second knob",
                        weir_rule_facts((weir_rule)rule)->name);
    }
    if (cli_is_set(a, OPT_BETA) && !isnan(out->beta)) out->beta = (float)v[OPT_BETA].number;
    out->temp = (float)v[OPT_TEMP].number;
    out->top_k = (int32_t)v[OPT_TOP_K].integer;
    out->top_p = (float)v[OPT_TOP_P].number;
    out->min_p = (float)v[OPT_MIN_P].number;
    out->gate_scaled = v[OPT_GATE].integer == 1;
    out->bonus_pi = v[OPT_BONUS].integer == 0;
    out->block_verify = cli_flag(a, OPT_BLOCK_VERIFY);
    out->exact_first = (int32_t)v[OPT_EXACT_FIRST].integer;
    return CLI_OK;
}

/* Flags that ask for a drafter where there is none, or for a rule where none is used, are mistakes; the same
 * from the environment only sets up other runs. */
static int check_method(const cli_args *a, weir_method m) {
    static const cli_option_id ruled[] = {OPT_RULE, OPT_ALPHA, OPT_BETA};
    bool draft = cli_is_set(a, OPT_MODEL_DRAFT);
    if (cli_method_needs_draft(m) && !draft) {
        return cli_fail(CLI_USAGE, "--method %s needs a drafter: give -md DIR", weir_method_name(m));
    }
    for (int i = 0; i < 3; i++) {
        if (!cli_given(a, ruled[i])) continue;
        const char *name = cli_options[ruled[i]].name;
        if (!draft) return cli_fail(CLI_USAGE, "--%s needs a drafter: give -md DIR", name);
        bool threshold = m == WEIR_METHOD_SEQUENCE_CASCADE && ruled[i] == OPT_ALPHA;
        if (!cli_method_has_rule(m) && !threshold) {
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
    if (cli_is_set(a, OPT_METHOD)) out->method = (weir_method)weir_method_parse(cli_text(a, OPT_METHOD));
    int rc = check_method(a, out->method);
    if (rc == CLI_OK) rc = cli_law(a, &out->law);
    if (rc) return rc;
    weir_err err = {{0}};
    if (cli_method_has_rule(out->method) && weir_law_check(&out->law, &err) != WEIR_OK)
        return cli_fail(CLI_USAGE, "%s", err.text);
    int ctx = cli_int(a, OPT_CTX_SIZE);
    /* cli_fit_context makes it the checkpoint's */
    const int all = ctx > 0 ? ctx : (int)cli_options[OPT_CTX_SIZE].hi;
    const int most = a->command == CMD_CHAT || all < 128 ? all : 128;
    out->max_tokens = cli_is_set(a, OPT_N_PREDICT) ? cli_int(a, OPT_N_PREDICT) : most;
    if (ctx > 0 && out->max_tokens > ctx) {
        return cli_fail(CLI_USAGE, "--n-predict %d: out of range, expected 1 to %d (--ctx-size)",
                        out->max_tokens, ctx);
    }
    out->n_draft = cli_int(a, OPT_DRAFT_N_MAX);
    out->seed = a->value[OPT_SEED].bits;
    out->seq_conf_sum = a->value[OPT_SEQ_CONFIDENCE].integer == 1;
    out->ignore_eos = cli_flag(a, OPT_IGNORE_EOS);
    out->stop = a->list;
    out->n_stop = a->n_list;
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

typedef struct line {
    char text[1024];
    size_t n;
} line;

__attribute__((format(printf, 2, 3))) static void add(line *l, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(l->text + l->n, sizeof l->text - l->n, fmt, args);
    va_end(args);
    if (n > 0) l->n += (size_t)n < sizeof l->text - l->n ? (size_t)n : sizeof l->text - l->n - 1;
}

void cli_note_setting(const weir_engine_facts *f, const weir_session_options *o) {
    const weir_law *law = &o->law;
    const weir_rule_info *rule = weir_rule_facts((weir_rule)law->rule);
    line l = {.n = 0};
    char device[420];
    cli_device_text(f, device, sizeof device);
    add(&l, "device %s, method %s", device, weir_method_name(o->method));
    if (cli_method_has_rule(o->method) && rule) {
        add(&l, ", rule %s", rule->name);
        if (law->rule != WEIR_RULE_EXACT) add(&l, ", alpha %.6g", (double)law->alpha);
        if (isfinite(rule->beta_default) && isnan(law->beta)) add(&l, ", beta auto");
        if (isfinite(rule->beta_default) && !isnan(law->beta)) add(&l, ", beta %.6g", (double)law->beta);
        add(&l, ", gate %s", law->gate_scaled ? "scaled" : "raw");
        if (law->exact_first > 0) add(&l, ", exact-first %d", law->exact_first);
    }
    if (o->method == WEIR_METHOD_SEQUENCE_CASCADE) {
        add(&l, ", alpha %.6g, seq-confidence %s", (double)law->alpha, o->seq_conf_sum ? "sum" : "mean");
    }
    if (o->method == WEIR_METHOD_SPECULATIVE) {
        add(&l, ", gamma %d, bonus %s", o->n_draft, law->bonus_pi ? "pi" : "verifier");
        if (law->block_verify) add(&l, ", block-verify");
    }
    add(&l, ", temp %.6g", (double)law->temp);
    if (law->top_k > 0) add(&l, ", top-k %d", law->top_k);
    if (law->top_p < 1.0f) add(&l, ", top-p %.6g", (double)law->top_p);
    if (law->min_p > 0.0f) add(&l, ", min-p %.6g", (double)law->min_p);
    add(&l, ", seed %llu", (unsigned long long)o->seed);
    cli_note("%s", l.text);
}
