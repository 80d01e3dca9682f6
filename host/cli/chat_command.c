#include "host/cli/chat_command.h"

#include <stdio.h>
#include <string.h>

/* A setting is changed as its flag would have set it: into a copy of the options, which is then checked as a
 * whole and becomes the conversation's, or not. */

static int set(cli_args *a, cli_option_id id, const char *label, const char *text, char **owned) {
    char *copy = weir_strdup(text);
    if (!copy) return cli_fail(CLI_FAILED, "%s: out of memory", label);
    owned[id] = copy;
    return cli_set(a, id, label, copy);
}

typedef struct change {
    cli_option_id id;
    const char *text; /* NULL: as if never given */
} change;

static int apply(chat *c, const char *label, const change *changes, int n) {
    cli_args a = c->args;
    char *owned[OPT_COUNT] = {NULL};
    weir_session_options o;
    int rc = CLI_OK;
    for (int i = 0; rc == CLI_OK && i < n; i++) {
        a.value[changes[i].id] = (cli_value){.from = CLI_UNSET};
        if (changes[i].text) rc = set(&a, changes[i].id, label, changes[i].text, owned);
    }
    if (rc == CLI_OK) rc = cli_session(&a, &o);
    if (rc == CLI_OK) rc = cli_fit_context(&a, &c->facts, &o);
    for (int i = 0; i < n; i++) {
        char **kept = &c->owned[changes[i].id], **made = &owned[changes[i].id];
        weir_free(rc == CLI_OK ? *kept : *made);
        if (rc == CLI_OK) *kept = *made;
    }
    if (rc) return rc;
    c->args = a;
    c->o = o;
    cli_note_setting(&c->facts, &c->o);
    return CLI_OK;
}

/* ---- the commands -------------------------------------------------------------------------------------- */

enum { MAX_WORDS = 3 };
typedef struct call {
    const char *name;            /* "/rule" */
    const char *rest;            /* of the line, without blanks at its ends */
    const char *word[MAX_WORDS]; /* of rest, zero-terminated */
    int n;                       /* words there; more than MAX_WORDS where there are more */
} call;

static int do_rule(chat *c, const call *k) {
    const change changes[] = {{OPT_RULE, k->word[0]},
                              {OPT_ALPHA, k->n > 1 ? k->word[1] : NULL},
                              {OPT_BETA, k->n > 2 ? k->word[2] : NULL}};
    return apply(c, k->name, changes, 3);
}

static int do_exact(chat *c, const call *k) {
    const change changes[] = {{OPT_RULE, "exact"}, {OPT_ALPHA, NULL}, {OPT_BETA, NULL}};
    return apply(c, k->name, changes, 3);
}

static int do_alpha(chat *c, const call *k) { return apply(c, k->name, &(change){OPT_ALPHA, k->word[0]}, 1); }
static int do_beta(chat *c, const call *k) { return apply(c, k->name, &(change){OPT_BETA, k->word[0]}, 1); }
static int do_temp(chat *c, const call *k) { return apply(c, k->name, &(change){OPT_TEMP, k->word[0]}, 1); }
static int do_gamma(chat *c, const call *k) {
    return apply(c, k->name, &(change){OPT_DRAFT_N_MAX, k->word[0]}, 1);
}

static int do_system(chat *c, const call *k) {
    const int rc = chat_set_system(c, k->rest);
    if (rc == CLI_OK)
        cli_note("%s", c->system ? "system message set; the conversation is kept" : "system message removed");
    return rc;
}

static int do_reset(chat *c, const call *k) {
    (void)k;
    chat_forget(c);
    cli_note("the conversation starts over; settings and system message are kept");
    return CLI_OK;
}

static int do_stats(chat *c, const call *k) {
    if (c->all.answers == 0) return cli_fail(CLI_FAILED, "%s: no answer yet", k->name);
    fputs("last answer\n", stderr);
    cli_totals_print(&c->last);
    fputs("all answers\n", stderr);
    cli_totals_print(&c->all);
    return CLI_OK;
}

static int do_exit(chat *c, const call *k) {
    (void)k;
    c->over = true;
    return CLI_OK;
}

static int do_help(chat *c, const call *k);

static const struct {
    const char *name, *args, *help;
    int least, most; /* words */
    int (*run)(chat *c, const call *k);
} commands[] = {
    {"/rule", "RULE [ALPHA [BETA]]", "set the deferral rule; its default knobs if none are given", 1, 3,
     do_rule},
    {"/alpha", "A", "the rule's knob", 1, 1, do_alpha},
    {"/beta", "B", "the second knob of lossy and typical", 1, 1, do_beta},
    {"/exact", "", "rule exact: the verifier's law", 0, 0, do_exact},
    {"/temp", "T", "temperature, 0 to 2", 1, 1, do_temp},
    {"/gamma", "N", "drafted tokens per block, 1 to 16 or auto", 1, 1, do_gamma},
    {"/system", "[TEXT]", "system message from now on; none without TEXT", 0, MAX_WORDS + 1, do_system},
    {"/reset", "", "forget the conversation", 0, 0, do_reset},
    {"/stats", "", "figures for the last answer and for all", 0, 0, do_stats},
    {"/help", "", "this list", 0, 0, do_help},
    {"/exit", "", "end (or Ctrl-D)", 0, 0, do_exit},
};
enum { N_COMMAND = (int)(sizeof commands / sizeof commands[0]) };

static int do_help(chat *c, const call *k) {
    (void)c, (void)k;
    for (int i = 0; i < N_COMMAND; i++) {
        char left[48];
        snprintf(left, sizeof left, "%s %s", commands[i].name, commands[i].args);
        fprintf(stderr, "  %-28s %s\n", left, commands[i].help);
    }
    fputs("  A line that ends in \\ continues on the next. To send a message that begins with /, put a space "
          "before it.\n",
          stderr);
    return CLI_OK;
}

/* ---- lines --------------------------------------------------------------------------------------------- */

static const char blanks[] = " \t\r\n";

/* Cuts a copy of the line up: its first word, the rest as it is, and in `cut`, another copy, the words of the
 * rest. */
static void cut_up(char *line, char *cut, call *k) {
    size_t n = strlen(line);
    while (n > 0 && strchr(blanks, line[n - 1])) line[--n] = '\0';
    const size_t name = strcspn(line, blanks);
    char *rest = line + name + strspn(line + name, blanks);
    memcpy(cut, rest, strlen(rest) + 1);
    line[name] = '\0';
    *k = (call){.name = line, .rest = rest};
    for (char *p = cut; *p; k->n++) {
        const size_t len = strcspn(p, blanks);
        char *next = p + len + strspn(p + len, blanks);
        p[len] = '\0';
        if (k->n < MAX_WORDS) k->word[k->n] = p;
        p = next;
    }
}

static int dispatch(chat *c, const call *k) {
    int i = 0;
    while (i < N_COMMAND && strcmp(commands[i].name, k->name) != 0) i++;
    if (i == N_COMMAND)
        return cli_fail(CLI_FAILED,
                        "%.60s: unknown command (see /help; put a space before a message that begins with /)",
                        k->name);
    if (k->n < commands[i].least || (k->n > commands[i].most && commands[i].most <= MAX_WORDS))
        return cli_fail(CLI_FAILED, "%s: expected %s%s%s", k->name, commands[i].name,
                        *commands[i].args ? " " : "", commands[i].args);
    return commands[i].run(c, k);
}

int chat_command(chat *c, const char *text) {
    const size_t n = strlen(text) + 1;
    char *line = cli_alloc(n, 1), *cut = cli_alloc(n, 1);
    int rc = CLI_FAILED;
    if (line && cut) {
        call k;
        memcpy(line, text, n);
        cut_up(line, cut, &k);
        rc = dispatch(c, &k);
    }
    weir_free(line);
    weir_free(cut);
    return rc;
}
