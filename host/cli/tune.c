#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/cli/cli.h"

/* weir tune: the search is the lab's (bench/lab/tune.py); here its Python is found and its command line made.
 * This process becomes the lab, so that exit statuses and signals are the lab's own. */

enum {
    MAX_WORD = 96,
    PARENTS = 4
}; /* PARENTS: folders above the program in which a source tree is looked
                                        for */

typedef struct command {
    char *word[MAX_WORD + 1];
    int n;
    char lab[PATH_MAX], python[PATH_MAX], program[PATH_MAX];
} command;

/* name, name=value or name=key=value as one word; key and value may be NULL. */
static int add(command *c, const char *name, const char *key, const char *value) {
    const size_t n = strlen(name) + (key ? strlen(key) + 1 : 0) + (value ? strlen(value) + 1 : 0) + 1;
    if (c->n == MAX_WORD) return cli_fail(CLI_USAGE, "more than %d arguments", MAX_WORD);
    char *word = cli_alloc(n, 1);
    if (!word) return CLI_FAILED;
    snprintf(word, n, "%s%s%s%s%s", name, key ? "=" : "", key ? key : "", value ? "=" : "",
             value ? value : "");
    c->word[c->n++] = word;
    return CLI_OK;
}

static void release(command *c) {
    for (int i = 0; i < c->n; i++) weir_free(c->word[i]);
}

/* ---- where the lab is ---------------------------------------------------------------------------------- */

static bool in_folder(char *out, const char *folder, const char *name) {
    return snprintf(out, PATH_MAX, "%s/%s", folder, name) < PATH_MAX;
}

static bool holds_lab(const char *bench) {
    char path[PATH_MAX];
    return in_folder(path, bench, "lab/tune.py") && access(path, R_OK) == 0;
}

/* The bench/ of the source tree that the program was built in, and a Python that make.sh has made there: the
 * lab's, or the one for BLEU, whose packages are part of the lab's. */
static int find_lab(const cli_args *a, command *c) {
    const ssize_t n = readlink("/proc/self/exe", c->program, sizeof c->program - 1);
    if (n <= 0) return cli_fail(CLI_FAILED, "/proc/self/exe: %s", strerror(errno));
    c->program[n] = '\0';
    const char *said = cli_text(a, OPT_LAB), *python = cli_text(a, OPT_LAB_PYTHON);
    char root[PATH_MAX];
    snprintf(root, sizeof root, "%s", c->program);
    bool found = false;
    for (int i = 0; i < PARENTS && !found; i++) {
        char *slash = strrchr(root, '/');
        if (!slash || slash == root) break;
        *slash = '\0';
        found = in_folder(c->lab, root, "bench") && holds_lab(c->lab);
    }
    if (said) snprintf(c->lab, sizeof c->lab, "%s", said);
    if (said ? !holds_lab(said) : !found) {
        return cli_fail(CLI_FAILED,
                        "%s: contains no lab/tune.py; --lab names the bench folder of weir's source tree",
                        said ? said : c->program);
    }
    static const char *const made_by[] = {"build/python/lab/bin/python", "build/python/quality/bin/python"};
    bool made = false;
    for (int i = 0; i < 2 && found && !made; i++)
        made = in_folder(c->python, root, made_by[i]) && access(c->python, X_OK) == 0;
    if (python || !made) snprintf(c->python, sizeof c->python, "%s", python ? python : "python3");
    return CLI_OK;
}

/* ---- the command line ---------------------------------------------------------------------------------- */

/* A flag of the lab, with its preset, or a word that is given only where it was said: truncation and
 * modifiers are fields of the lab's plan, named as in requests, and flags of every process that it starts
 * are words, for it does not hand the environment on. */
static const struct {
    cli_option_id id;
    const char *name;
    enum { LAB, FIELD, PASSED } kind;
} options[] = {{OPT_MODEL, "--model", LAB},
               {OPT_MODEL_DRAFT, "--model-draft", LAB},
               {OPT_TASK, "--task", LAB},
               {OPT_LIMIT, "--limit", LAB},
               {OPT_TEMP, "--temp", LAB},
               {OPT_GAMMAS, "--gamma", LAB},
               {OPT_SEED, "--seed", LAB},
               {OPT_THREADS, "--threads", LAB},
               {OPT_PARALLEL, "--parallel", LAB},
               {OPT_CTX_SIZE, "--ctx-size", LAB},
               {OPT_OUT, "--out", LAB},
               {OPT_MAX_QUALITY_LOSS, "--max-quality-loss", LAB},
               {OPT_MIN_SPEEDUP, "--min-speedup", LAB},
               {OPT_TOP_K, "--modifier", FIELD},
               {OPT_TOP_P, "--modifier", FIELD},
               {OPT_MIN_P, "--modifier", FIELD},
               {OPT_GATE, "--modifier", FIELD},
               {OPT_BONUS, "--modifier", FIELD},
               {OPT_QUANTIZE, "--flag", PASSED},
               {OPT_QUANTIZE_DRAFT, "--flag", PASSED},
               {OPT_DEVICE, "--flag", PASSED},
               {OPT_ISA, "--flag", PASSED},
               {OPT_COSTS, "--flag", PASSED},
               {OPT_TP, "--flag", PASSED},
               {OPT_DRAFT_TP, "--flag", PASSED},
               {OPT_COMM, "--flag", PASSED}};

static int add_options(const cli_args *a, command *c) {
    int rc = CLI_OK;
    for (size_t i = 0; i < sizeof options / sizeof *options && !rc; i++) {
        const cli_value *v = &a->value[options[i].id];
        const cli_option *o = cli_option_row(options[i].id);
        char flag[64];
        snprintf(flag, sizeof flag, "--%s", o->name);
        const char *key = options[i].kind == LAB ? NULL : options[i].kind == FIELD ? o->field->name : flag;
        if (v->text && (!key || v->from > CLI_FROM_PRESET)) rc = add(c, options[i].name, key, v->text);
    }
    if (cli_flag(a, OPT_STRICT_CONFIG) && !rc) rc = add(c, "--flag", NULL, "--strict-config");
    for (int i = 0; i < a->n_rest && !rc; i++) rc = add(c, "--data", NULL, a->rest[i]);
    const cli_list *l = &a->list[OPT_TASK_OPTION];
    for (int i = 0; i < l->n && !rc; i++) rc = add(c, "--option", NULL, l->text[i]);
    return rc;
}

static int check(const cli_args *a) {
    if (!cli_text(a, OPT_MODEL))
        return cli_fail(CLI_USAGE, "no model: give -m DIR (or set WEIR_MODEL; see weir tune --help)");
    if (!cli_text(a, OPT_MODEL_DRAFT)) return cli_fail(CLI_USAGE, "a rule needs a drafter: give -md DIR");
    const int rc = cli_need_q(weir_draft_facts(cli_draft_kind(a)), "tune a rule by");
    if (rc) return rc;
    if (a->n_rest == 0 && !strcmp(cli_text(a, OPT_TASK), "prompts"))
        return cli_fail(CLI_USAGE,
                        "no prompts: name a file of prompts after the options (see weir tune --help)");
    if (!cli_text(a, OPT_OUT)) return cli_fail(CLI_USAGE, "no output file: give --out FILE.json");
    if (!cli_is_set(a, OPT_MAX_QUALITY_LOSS) && !cli_is_set(a, OPT_MIN_SPEEDUP))
        return cli_fail(CLI_USAGE, "no budget: give --max-quality-loss, --min-speedup, or both");
    return CLI_OK;
}

/* Returns only where the lab could not be started. */
static int become(const command *c) {
    const char *before = getenv("PYTHONPATH");
    const size_t n = strlen(c->lab) + (before ? strlen(before) : 0) + 2;
    char *path = cli_alloc(n, 1);
    if (!path) return CLI_FAILED;
    snprintf(path, n, "%s%s%s", c->lab, before && *before ? ":" : "", before ? before : "");
    int rc = setenv("PYTHONPATH", path, 1) ? cli_fail(CLI_FAILED, "PYTHONPATH: %s", strerror(errno)) : CLI_OK;
    weir_free(path);
    if (rc) return rc;
    execvp(c->python, c->word);
    return cli_fail(CLI_FAILED,
                    "%s: %s; ./make.sh lab --help installs the lab's Python, --lab-python names another",
                    c->python, strerror(errno));
}

int cli_tune(const cli_args *a) {
    command c = {.n = 0};
    int rc = check(a);
    if (!rc) rc = find_lab(a, &c);
    if (!rc) rc = add(&c, c.python, NULL, NULL);
    static const char *const head[] = {"-m", "lab", "tune"};
    for (int i = 0; i < 3 && !rc; i++) rc = add(&c, head[i], NULL, NULL);
    if (!rc) rc = add(&c, "--program", NULL, c.program);
    if (!rc) rc = add_options(a, &c);
    if (!rc) rc = become(&c);
    release(&c);
    return rc;
}
