#include "host/cli/options/options.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/cli/io/message.h"
#include "host/wire/nearest.h"
#include "host/wire/object.h"

void cli_env_name(const cli_option *o, char *buf, int cap) {
    int n = snprintf(buf, (size_t)cap, "WEIR_%s", o->name);
    for (int i = 5; i < n && i < cap - 1; i++) {
        char c = buf[i];
        if (c == '-') buf[i] = '_';
        if (c >= 'a' && c <= 'z') buf[i] = (char)(c - 'a' + 'A');
    }
}

void cli_range_text(const cli_option *o, char *buf, int cap) {
    buf[0] = '\0';
    if (o->type == CLI_UINT)
        snprintf(buf, (size_t)cap, "0 to 18446744073709551615");
    else if (o->type == CLI_INT || o->type == CLI_NUMBER)
        wire_range_text(o->lo, o->hi, o->lo_open, buf, (size_t)cap);
}

cli_option cli_option_at(int id) {
    static const cli_type types[] = {
        [WIRE_BOOL] = CLI_FLAG,    [WIRE_SWITCH] = CLI_CHOICE, [WIRE_CHOICE] = CLI_CHOICE,
        [WIRE_INT] = CLI_INT,      [WIRE_UINT] = CLI_UINT,     [WIRE_NUMBER] = CLI_NUMBER,
        [WIRE_STRINGS] = CLI_LIST, [WIRE_NAME] = CLI_TEXT};
    cli_option o = *cli_option_row(id);
    const wire_field *f = o.field;
    if (!f) return o;
    o.type = types[f->type];
    if (o.type == CLI_CHOICE) o.value = f->words;
    if (o.type == CLI_NUMBER || o.type == CLI_INT) o.word = f->words;
    o.lo = f->lo;
    o.hi = f->hi;
    o.lo_open = f->lo_open;
    o.unit = f->unit;
    o.preset = f->preset;
    o.absent = f->absent;
    o.help = f->help;
    return o;
}

const cli_option *cli_option_of(const wire_field *f) {
    for (int i = 0; i < OPT_COUNT; i++)
        if (cli_option_row(i)->field == f) return cli_option_row(i);
    return NULL;
}

/* ---- nearest names ------------------------------------------------------------------------------------- */

static void try_options(wire_nearest *n, cli_command command) {
    for (int i = 0; i < OPT_COUNT; i++) {
        const cli_option *o = cli_option_row(i);
        if (!(o->commands & (1u << command))) continue;
        wire_nearest_try(n, o->name);
        wire_nearest_try(n, o->alias);
    }
}

int cli_command_parse(const char *name) {
    for (int i = 0; i < CMD_COUNT; i++)
        if (strcmp(cli_commands[i].name, name) == 0) return i;
    return -1;
}

/* ---- values -------------------------------------------------------------------------------------------- */

static int flag_word(const char *text) {
    static const char *const words[] = {"0", "1", "false", "true", "no", "yes", "off", "on"};
    for (int i = 0; i < 8; i++)
        if (strcmp(text, words[i]) == 0) return i & 1;
    return -1;
}

static int out_of_range(const cli_option *o, const char *label, const char *text) {
    char range[80];
    if (o->type == CLI_UINT)
        cli_range_text(o, range, (int)sizeof range);
    else
        wire_range_expected(o->lo, o->hi, o->lo_open, range, sizeof range);
    const char *unit = o->unit ? o->unit : "";
    return cli_fail(CLI_USAGE, "%s %s: out of range, expected %s%s%s", label, text, range, o->unit ? " " : "",
                    unit);
}

static int parse_number(const cli_option *o, const char *label, const char *text, cli_value *v) {
    if (o->word && strcmp(text, o->word) == 0) {
        v->number = (double)NAN;
        return CLI_OK;
    }
    char *end = NULL;
    bool whole = o->type == CLI_INT;
    double x = whole ? (double)strtoll(text, &end, 10) : strtod(text, &end);
    if (end == text || *end || !isfinite(x)) {
        return cli_fail(CLI_USAGE, "%s %s: expected a %s%s%s", label, text, whole ? "whole number" : "number",
                        o->word ? " or " : "", o->word ? o->word : "");
    }
    if (!wire_in_range(o->lo, o->hi, o->lo_open, x)) return out_of_range(o, label, text);
    v->number = x;
    v->integer = whole ? (int64_t)x : 0;
    return CLI_OK;
}

static int parse_uint(const cli_option *o, const char *label, const char *text, cli_value *v) {
    char *end = NULL;
    errno = 0;
    v->bits = strtoull(text, &end, 10);
    if (end == text || *end || strchr(text, '-'))
        return cli_fail(CLI_USAGE, "%s %s: expected a whole number of at least 0", label, text);
    return errno == ERANGE ? out_of_range(o, label, text) : CLI_OK;
}

static int add_to_list(cli_list *l, const char *label, const char *text) {
    if (l->n == CLI_MAX_LIST) return cli_fail(CLI_USAGE, "%s: given more than %d times", label, CLI_MAX_LIST);
    if (!*text) return cli_fail(CLI_USAGE, "%s: the string is empty", label);
    l->text[l->n++] = text;
    return CLI_OK;
}

/* label is what the user wrote: "--temp" or "WEIR_TEMP". */
static int set_value(cli_args *a, int id, const char *label, const char *text, cli_from from) {
    const cli_option o = cli_option_at(id);
    cli_value v = {.from = from, .text = text};
    int rc = CLI_OK;
    switch (o.type) {
    case CLI_FLAG:
        v.integer = flag_word(text);
        if (v.integer < 0) return cli_fail(CLI_USAGE, "%s %s: expected 0 or 1", label, text);
        break;
    case CLI_TEXT: break;
    case CLI_LIST: rc = add_to_list(&a->list[id], label, text); break;
    case CLI_INT:
    case CLI_NUMBER: rc = parse_number(&o, label, text, &v); break;
    case CLI_UINT: rc = parse_uint(&o, label, text, &v); break;
    case CLI_CHOICE:
        v.integer = wire_word_index(o.value, text);
        if (v.integer < 0) return cli_fail(CLI_USAGE, "%s %s: expected one of %s", label, text, o.value);
        break;
    }
    if (rc == CLI_OK) a->value[id] = v;
    return rc;
}

int cli_set(cli_args *a, cli_option_id id, const char *label, const char *text) {
    return set_value(a, (int)id, label, text, CLI_FROM_LINE);
}

/* ---- the command line ---------------------------------------------------------------------------------- */

typedef struct match {
    int id;   /* -1 = no such option */
    bool old; /* spelled as another program does */
} match;

static bool same(const char *name, const char *word, size_t n) {
    return name && strlen(name) == n && memcmp(name, word, n) == 0;
}

/* arg without its value; n characters. */
static match find_option(const char *arg, size_t n) {
    bool two = n > 2 && arg[1] == '-';
    const char *word = arg + (two ? 2 : 1);
    size_t len = n - (two ? 2 : 1);
    for (int i = 0; i < OPT_COUNT; i++) {
        const cli_option *o = cli_option_row(i);
        if (!two && same(o->brief, word, len)) return (match){i, false};
        if (two && (same(o->name, word, len) || same(o->alias, word, len))) return (match){i, false};
        if (two && same(o->old, word, len)) return (match){i, true};
    }
    return (match){-1, false};
}

static bool is_one_of(const char *arg, const char *const *names) {
    for (; *names; names++)
        if (!strcmp(arg, *names)) return true;
    return false;
}

static int unknown_option(cli_command command, const char *arg) {
    static const char *const layers[] = {"-ngl", "--gpu-layers", "--n-gpu-layers", NULL};
    static const char *const splits[] = {"-ts", "--tensor-split", "-sm", "--split-mode",
                                         "-mg", "--main-gpu",     NULL};
    if (is_one_of(arg, layers))
        return cli_fail(CLI_USAGE, "%s does not apply: whole models run on one device (see --device)", arg);
    if (is_one_of(arg, splits))
        return cli_fail(CLI_USAGE,
                        "%s does not apply: -tp ranks have equal shares (see --tensor-parallel-size)", arg);
    const char *word = arg + strspn(arg, "-");
    char name[48];
    snprintf(name, sizeof name, "%.*s", (int)strcspn(word, "="), word);
    wire_nearest near = {.word = name, .dashes = "--"};
    try_options(&near, command);
    return cli_fail(CLI_USAGE, "unknown option %s%s (see weir %s --help)", arg, wire_nearest_hint(&near),
                    cli_commands[command].name);
}

static int other_command(cli_command command, const char *arg, const cli_option *o) {
    int first = 0;
    while (!(o->commands & (1u << first))) first++;
    return cli_fail(CLI_USAGE, "option %s is not one of weir %s (it belongs to weir %s)", arg,
                    cli_commands[command].name, cli_commands[first].name);
}

/* One option at argv[*at]; moves *at past its value. */
static int parse_option(cli_args *out, int argc, char *const *argv, int *at) {
    const char *arg = argv[*at];
    const char *equals = arg[1] == '-' ? strchr(arg, '=') : NULL;
    size_t n = equals ? (size_t)(equals - arg) : strlen(arg);
    match m = find_option(arg, n);
    if (m.id < 0) return unknown_option(out->command, arg);
    const cli_option one = cli_option_at(m.id), *o = &one;
    char label[64];
    snprintf(label, sizeof label, "%.*s", (int)n, arg);
    if (!(o->commands & (1u << out->command))) return other_command(out->command, label, o);
    if (m.old) out->old_spelling = arg;
    if (o->type == CLI_FLAG) return set_value(out, m.id, label, equals ? equals + 1 : "1", CLI_FROM_LINE);
    if (equals) return set_value(out, m.id, label, equals + 1, CLI_FROM_LINE);
    bool next = *at + 1 < argc;
    if (!next || (argv[*at + 1][0] == '-' && find_option(argv[*at + 1], strlen(argv[*at + 1])).id >= 0)) {
        return cli_fail(CLI_USAGE, "%s needs a value: %s%s", label, o->value,
                        next ? " (write --option=value for one that looks like an option)" : "");
    }
    *at += 1;
    return set_value(out, m.id, label, argv[*at], CLI_FROM_LINE);
}

static int apply_environment(cli_args *out) {
    for (int i = 0; i < OPT_COUNT; i++) {
        const cli_option *o = cli_option_row(i);
        if (!o->env || !(o->commands & (1u << out->command)) || cli_given(out, (cli_option_id)i)) continue;
        char name[64];
        cli_env_name(o, name, (int)sizeof name);
        const char *text = getenv(name);
        if (!text || !*text) continue;
        int rc = set_value(out, i, name, text, CLI_FROM_ENV);
        if (rc) return rc;
    }
    return CLI_OK;
}

static int apply_presets(cli_args *out) {
    for (int i = 0; i < OPT_COUNT; i++) {
        const cli_option o = cli_option_at(i);
        if (!o.preset || cli_is_set(out, (cli_option_id)i)) continue;
        int rc = set_value(out, i, o.name, o.preset, CLI_FROM_PRESET);
        if (rc) return rc;
    }
    return CLI_OK;
}

int cli_set_preset(cli_args *a, cli_option_id id, const char *label, const char *text) {
    return a->value[id].from > CLI_FROM_PRESET ? CLI_OK : set_value(a, (int)id, label, text, CLI_FROM_PRESET);
}

static bool looks_like_option(const char *arg) {
    return arg[0] == '-' && arg[1] && !(arg[1] >= '0' && arg[1] <= '9');
}

int cli_parse(cli_args *out, cli_command command, int argc, char **argv) {
    memset(out, 0, sizeof *out);
    out->command = command;
    out->rest = argv;
    bool options = true;
    for (int at = 1; at < argc; at++) {
        if (options && strcmp(argv[at], "--") == 0) {
            options = false;
        } else if (options && looks_like_option(argv[at])) {
            int rc = parse_option(out, argc, argv, &at);
            if (rc) return rc;
        } else {
            /* Arguments are moved to the front of argv, into words that were read already. */
            argv[out->n_rest++] = argv[at];
        }
    }
    if (cli_flag(out, OPT_HELP) || cli_flag(out, OPT_VERSION)) return CLI_OK;
    if (out->n_rest > 0 && command != CMD_DETOKENIZE && command != CMD_TUNE) {
        return cli_fail(CLI_USAGE, "unexpected argument %s (see weir %s --help)", out->rest[0],
                        cli_commands[command].name);
    }
    int rc = apply_environment(out);
    if (rc == CLI_OK) rc = apply_presets(out);
    if (rc) return rc;
    if (cli_flag(out, OPT_QUIET)) cli_quiet();
    if (out->old_spelling) {
        cli_warn("%.*s is an old spelling of --%s", (int)strcspn(out->old_spelling, "="), out->old_spelling,
                 cli_option_row(OPT_DRAFT_N_MAX)->name);
    }
    return CLI_OK;
}
