#include "host/cli/options/help.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "host/cli/io/out.h"

enum { WIDTH = 96 };

/* Wraps text, each line indented by `indent` spaces. A newline in the text starts a new line. */
static void wrap(const char *text, int indent) {
    int column = 0;
    for (const char *p = text; *p;) {
        if (*p == '\n') {
            cli_outs("\n");
            column = 0;
            p++;
            continue;
        }
        p += strspn(p, " ");
        int n = (int)strcspn(p, " \n");
        if (n == 0) continue;
        if (column > 0 && column + 1 + n > WIDTH) {
            cli_outs("\n");
            column = 0;
        }
        if (column == 0)
            cli_outf("%*s", indent, "");
        else
            cli_outs(" ");
        cli_out(p, (size_t)n);
        column += (column == 0 ? indent : 1) + n;
        p += n;
    }
    cli_outs("\n");
}

void help_option_names(const cli_option *o, char *buf, int cap) {
    int n = snprintf(buf, (size_t)cap, "%s%s%s--%s", o->brief ? "-" : "", o->brief ? o->brief : "",
                     o->brief ? ", " : "", o->name);
    if (o->alias) n += snprintf(buf + n, (size_t)(cap - n), ", --%s", o->alias);
    if (o->type != CLI_FLAG) snprintf(buf + n, (size_t)(cap - n), " %s", o->value);
}

void help_option_facts(const cli_option *o, char *buf, int cap) {
    char range[80], env[64];
    int n = 0;
    cli_range_text(o, range, (int)sizeof range);
    if (range[0]) n += snprintf(buf + n, (size_t)(cap - n), "Range: %s", range);
    if (o->unit) n += snprintf(buf + n, (size_t)(cap - n), "%s%s", n ? " " : "", o->unit);
    if (range[0] && o->word) n += snprintf(buf + n, (size_t)(cap - n), ", or %s", o->word);
    const char *preset = o->preset ? o->preset : o->absent;
    if (strcmp(preset, "required") == 0)
        n += snprintf(buf + n, (size_t)(cap - n), "Required.");
    else
        n += snprintf(buf + n, (size_t)(cap - n), "%sDefault: %s.", n ? ". " : "", preset);
    if (!o->env) return;
    cli_env_name(o, env, (int)sizeof env);
    snprintf(buf + n, (size_t)(cap - n), " Environment: %s.", env);
}

void help_field_facts(const wire_field *f, cli_command command, char *buf, int cap) {
    char type[200];
    wire_type_text(f, type, sizeof type);
    const cli_option *o = cli_option_of(f);
    if (o && !(o->commands & (1u << command))) o = NULL;
    const char *preset = o ? o->name : f->preset ? f->preset : f->absent;
    int n = snprintf(buf, (size_t)cap, "%s\n%c%s.", f->help, type[0] >= 'a' ? type[0] - 'a' + 'A' : type[0],
                     type + 1);
    if (strcmp(preset, "required") == 0)
        snprintf(buf + n, (size_t)(cap - n), " Required.");
    else
        snprintf(buf + n, (size_t)(cap - n), " Default: %s%s.", o ? "that of --" : "", preset);
}

static void print_fields(cli_command command) {
    cli_outs("\nfields of an input object\n");
    for (int i = 0; i < WIRE_N_FIELD; i++) {
        const wire_field *f = &wire_fields[i];
        char text[900];
        if (!(f->where & cli_commands[command].fields)) continue;
        cli_outf("  %s\n", wire_name(f, cli_commands[command].fields));
        help_field_facts(f, command, text, (int)sizeof text);
        wrap(text, 8);
    }
}

static void print_option(const cli_option *o) {
    char text[400];
    help_option_names(o, text, (int)sizeof text);
    wrap(text, 2);
    wrap(o->help, 8);
    help_option_facts(o, text, (int)sizeof text);
    wrap(text, 8);
}

static void alpha_text(const weir_rule_info *r, char *buf, size_t cap) {
    if (isinf(r->alpha_min) && isinf(r->alpha_max))
        snprintf(buf, cap, "any number");
    else if (isinf(r->alpha_max))
        snprintf(buf, cap, "at least %.6g", (double)r->alpha_min);
    else if (isinf(r->alpha_min))
        snprintf(buf, cap, "at most %.6g", (double)r->alpha_max);
    else
        snprintf(buf, cap, "%.6g to %s%.6g", (double)r->alpha_min, r->alpha_max_open ? "below " : "",
                 (double)r->alpha_max);
}

void help_rule_facts(weir_rule rule, char *buf, int cap) {
    const weir_rule_info *r = weir_rule_facts(rule);
    char range[64];
    int n = snprintf(buf, (size_t)cap, "%s.", r->defers);
    if (rule != WEIR_RULE_EXACT) {
        alpha_text(r, range, sizeof range);
        n +=
            snprintf(buf + n, (size_t)(cap - n), " alpha %s, default %.6g.", range, (double)r->alpha_default);
    }
    if (isfinite(r->beta_default))
        n += snprintf(buf + n, (size_t)(cap - n), " beta default %.6g.", (double)r->beta_default);
    if (r->alias) snprintf(buf + n, (size_t)(cap - n), " Also written %s.", r->alias);
}

static void print_rules(void) {
    cli_outs("\nRULES (--deferral-rule)\n");
    wrap("q is the drafter's next-token distribution, p the verifier's, H the entropy in nats, D_TV(p,q) the "
         "total variation distance.",
         2);
    for (int i = 0; i < WEIR_RULE_COUNT; i++) {
        char text[500];
        const weir_rule_info *r = weir_rule_facts((weir_rule)i);
        if (!r) continue;
        cli_outf("  %s\n", r->name);
        help_rule_facts((weir_rule)i, text, (int)sizeof text);
        wrap(text, 8);
    }
}

const char help_templates[] =
    "Formats by name, to be used instead of the checkpoint's own template, which is a program that weir "
    "runs. The content of a message is never interpreted as markup. A format that needs tokens missing "
    "from the vocabulary is an error.";

static void print_templates(void) {
    cli_outs("\nCHAT TEMPLATES (--chat-template)\n");
    wrap(help_templates, 2);
    for (int i = 0; weir_chat_template_at(i); i++) {
        cli_outf("  %s\n", weir_chat_template_at(i)->name);
        wrap(weir_chat_template_at(i)->about, 8);
    }
}

/* Models first, then what only this command has. */
static int place_of(int id, cli_command command) {
    if (id <= OPT_MODEL_DRAFT) return 0;
    return cli_option_row(id)->commands == 1u << command ? 1 : 2;
}

static void print_options(cli_command command) {
    cli_outs("\noptions\n");
    for (int place = 0; place < 3; place++)
        for (int i = 0; i < OPT_COUNT; i++) {
            const cli_option o = cli_option_at(i);
            if (o.commands & (1u << command) && place_of(i, command) == place) print_option(&o);
        }
}

static void print_command(cli_command command) {
    const cli_command_info *c = &cli_commands[command];
    cli_outf("usage: weir %s %s\n\n", c->name, c->usage);
    wrap(c->summary, 0);
    cli_outs("\n");
    wrap(c->text, 0);
    print_options(command);
    if (c->fields) print_fields(command);
    if (cli_option_row(OPT_RULE)->commands & (1u << command)) print_rules();
    if (cli_option_row(OPT_CHAT_TEMPLATE)->commands & (1u << command)) print_templates();
    cli_outf("\nexample\n%s\n", c->example);
}

int cli_help(const cli_command *command) {
    if (command) {
        print_command(*command);
        return cli_out_end();
    }
    cli_outf("weir %s: speculative cascades, a small drafter and a large verifier under a deferral rule\n\n"
             "usage: weir COMMAND [options]\n\ncommands\n",
             WEIR_VERSION);
    for (int i = 0; i < CMD_COUNT; i++)
        cli_outf("  %-12s %s\n", cli_commands[i].name, cli_commands[i].summary);
    cli_outs("\n  weir COMMAND --help    options of a command with ranges, units and defaults\n"
             "  weir --version         the version\n\n");
    wrap("Options are also read from the environment, as WEIR_ and the long name in capitals with "
         "underscores (--ctx-size: WEIR_CTX_SIZE); the command line wins. Exit status: 0, 1 after a "
         "failure, 2 for a wrong command line, 130 and 143 after Ctrl-C and SIGTERM.",
         0);
    return cli_out_end();
}
