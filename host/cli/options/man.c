#include "host/cli/options/help.h"

#include <string.h>

#include "host/cli/io/out.h"
#include "host/weir.h"

/* The man page, from the tables that --help reads. */

/* Text as roff wants it: a hyphen that is one, no backslash, no control line. */
static void roff(const char *text) {
    bool line_start = true;
    for (const char *p = text; *p; p++) {
        if (line_start && (*p == '.' || *p == '\'')) cli_outs("\\&");
        if (*p == '\\')
            cli_outs("\\e");
        else if (*p == '-')
            cli_outs("\\-");
        else if (*p == '\'')
            cli_outs("\\(aq");
        else
            cli_out(p, 1);
        if (*p == '|') cli_outs("\\:"); /* long lists of words may break here */
        line_start = *p == '\n';
    }
}

static void paragraphs(const char *text) {
    for (const char *p = text; *p;) {
        size_t n = strcspn(p, "\n");
        char part[2048];
        size_t len = n < sizeof part - 1 ? n : sizeof part - 1;
        memcpy(part, p, len);
        part[len] = '\0';
        cli_outs(".PP\n");
        roff(part);
        cli_outs("\n");
        p += n + (p[n] == '\n');
    }
}

static void option(const cli_option *o) {
    char text[400];
    cli_outs(".TP\n.B ");
    help_option_names(o, text, (int)sizeof text);
    roff(text);
    cli_outs("\n");
    roff(o->help);
    cli_outs("\n");
    help_option_facts(o, text, (int)sizeof text);
    roff(text);
    cli_outs("\n.br\nCommands:");
    for (int i = 0; i < CMD_COUNT; i++)
        if (o->commands & (1u << i)) cli_outf(" %s", cli_commands[i].name);
    cli_outs(".\n");
}

static void fields(cli_command command) {
    cli_outs(".PP\nFields of an input object:\n");
    for (int i = 0; i < WIRE_N_FIELD; i++) {
        const wire_field *f = &wire_fields[i];
        char text[900];
        if (!(f->where & cli_commands[command].fields)) continue;
        cli_outs(".TP\n.B ");
        roff(wire_name(f, cli_commands[command].fields));
        cli_outs("\n");
        help_field_facts(f, command, text, (int)sizeof text);
        roff(text);
        cli_outs("\n");
    }
}

static void commands(void) {
    cli_outs(".SH COMMANDS\n");
    for (int i = 0; i < CMD_COUNT; i++) {
        const cli_command_info *c = &cli_commands[i];
        cli_outf(".SS weir %s\n", c->name);
        cli_outs(".B weir ");
        roff(c->name);
        cli_outs(" ");
        roff(c->usage);
        cli_outs("\n");
        paragraphs(c->summary);
        paragraphs(c->text);
        if (c->fields) fields((cli_command)i);
        cli_outs(".PP\nExample:\n.PP\n.nf\n.RS 4\n");
        roff(c->example);
        cli_outs("\n.RE\n.fi\n");
    }
}

static void rules(void) {
    cli_outs(".SH RULES\n");
    roff("q is the drafter's next-token distribution, p the verifier's, H the entropy in nats, D_TV(p,q) the "
         "total variation distance.");
    cli_outs("\n");
    for (int i = 0; i < WEIR_RULE_COUNT; i++) {
        const weir_rule_info *r = weir_rule_facts((weir_rule)i);
        if (!r) continue;
        char text[500];
        cli_outs(".TP\n.B ");
        roff(r->name);
        cli_outs("\n");
        help_rule_facts((weir_rule)i, text, (int)sizeof text);
        roff(text);
        cli_outs("\n");
    }
}

static void templates(void) {
    cli_outs(".SH CHAT TEMPLATES\n");
    roff(help_templates);
    cli_outs("\n");
    for (int i = 0; weir_chat_template_at(i); i++) {
        cli_outs(".TP\n.B ");
        roff(weir_chat_template_at(i)->name);
        cli_outs("\n");
        roff(weir_chat_template_at(i)->about);
        cli_outs("\n");
    }
}

int cli_man(void) {
    cli_outf(".TH WEIR 1 \"\" \"weir %s\" \"User Commands\"\n.nh\n", WEIR_VERSION);
    cli_outs(".SH NAME\nweir \\- speculative cascades: a small drafter and a large verifier under a deferral "
             "rule\n"
             ".SH SYNOPSIS\n"
             ".B weir\n"
             ".I COMMAND\n"
             "[options]\n"
             ".br\n"
             ".B weir\n"
             ".I COMMAND\n"
             ".B \\-\\-help\n"
             ".br\n"
             ".B weir \\-\\-version\n");
    commands();
    cli_outs(".SH OPTIONS\nAn option of the command line wins over its environment variable.\n");
    for (int i = 0; i < OPT_COUNT; i++) {
        const cli_option o = cli_option_at(i);
        option(&o);
    }
    rules();
    templates();
    cli_outs(".SH EXIT STATUS\n"
             "0 when all went well, 1 after a failure, 2 for a wrong command line, 130 after Ctrl\\-C, 143 "
             "after SIGTERM.\n"
             ".SH ENVIRONMENT\n"
             ".TP\n"
             ".B NO_COLOR\n"
             "No colours, whatever the terminal.\n"
             ".PP\n"
             "The variables of the options are named with them.\n");
    return cli_out_end();
}
