#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "host/cli/cli.h"
#include "host/cli/options/profile.h"
#include "host/cli/options/setup.h"
#include "host/serve/serve.h"

/* weir serve: options into what the server is given. */

enum { MAX_NAMES = 64 };

typedef struct names {
    char *text[MAX_NAMES]; /* weir_free */
    int n;
} names;

typedef struct server {
    const cli_args *args;
    serve_options o;
    names alias, hosts, origins;
    api_profile profile[CLI_MAX_LIST];
    char profile_name[CLI_MAX_LIST][64];
} server;

static void free_names(names *l) {
    for (int i = 0; i < l->n; i++) weir_free(l->text[i]);
}

static int add_name(names *l, const char *option, const char *text, size_t n) {
    if (n == 0) return CLI_OK;
    if (l->n == MAX_NAMES) return cli_fail(CLI_USAGE, "--%s: more than %d names", option, MAX_NAMES);
    char *copy = cli_alloc(n + 1, 1);
    if (!copy) return CLI_FAILED;
    memcpy(copy, text, n);
    copy[n] = '\0';
    l->text[l->n++] = copy;
    return CLI_OK;
}

/* Names of an option that may be repeated, each a list separated by commas. */
static int read_names(const cli_args *a, cli_option_id id, names *l) {
    int rc = CLI_OK;
    for (int i = 0; i < a->list[id].n; i++) {
        for (const char *p = a->list[id].text[i]; *p && !rc;) {
            const size_t n = strcspn(p, ",");
            rc = add_name(l, cli_option_row(id)->name, p, n);
            p += n + (p[n] == ',');
        }
    }
    return rc;
}

/* Last part of a path, without what follows its last point if that is a known ending. */
static void stem(const char *path, const char *ending, const char **name, size_t *n) {
    size_t len = strlen(path);
    while (len > 1 && path[len - 1] == '/') len--;
    size_t from = len;
    while (from > 0 && path[from - 1] != '/') from--;
    const size_t end = strlen(ending);
    if (len - from > end && strncmp(path + len - end, ending, end) == 0) len -= end;
    *name = path + from;
    *n = len - from;
}

/* The pair's name without --alias: of the checkpoint; of a directory called "verifier" that of its parent. */
static int own_name(const cli_args *a, names *l) {
    const char *path = cli_text(a, OPT_MODEL), *name = NULL;
    size_t n = 0;
    if (l->n > 0 || !path) return CLI_OK;
    stem(path, ".gguf", &name, &n);
    if (n == 8 && strncmp(name, "verifier", 8) == 0 && name > path + 1) {
        size_t to = (size_t)(name - path) - 1, from = to;
        while (from > 0 && path[from - 1] != '/') from--;
        name = path + from;
        n = to - from;
    }
    if (n == 0 || strncmp(name, ".", n) == 0 || strncmp(name, "..", n) == 0) name = "weir", n = 4;
    return add_name(l, "alias", name, n);
}

static int read_profile(server *v, int i, const char *text) {
    static const char *const taken[] = {"exact", "verifier", "drafter"};
    const char *equals = strchr(text, '='), *slash = strchr(text, '/'), *path = text, *name = text;
    size_t n = 0;
    if (equals && (!slash || equals < slash)) {
        n = (size_t)(equals - text);
        path = equals + 1;
    } else {
        stem(text, ".json", &name, &n);
    }
    snprintf(v->profile_name[i], sizeof v->profile_name[i], "%.*s", (int)n, name);
    const char *called = v->profile_name[i];
    if (n == 0 || n >= sizeof v->profile_name[i] || strchr(called, ':'))
        return cli_fail(CLI_USAGE, "--profile %s: expected a name of 1 to 63 characters without a colon",
                        text);
    for (size_t k = 0; k < sizeof taken / sizeof *taken; k++)
        if (strcmp(called, taken[k]) == 0)
            return cli_fail(CLI_USAGE, "--profile %s: %s is a setting that is always served", text, called);
    for (int k = 0; k < i; k++)
        if (strcmp(called, v->profile_name[k]) == 0)
            return cli_fail(CLI_USAGE, "--profile %s: %s was given before", text, called);
    cli_args with = *v->args;
    int rc = cli_profile_apply(&with, path);
    if (!rc) rc = cli_session(&with, &v->profile[i].o);
    v->profile[i].name = called;
    return rc;
}

static int read_profiles(server *v) {
    const cli_list *l = &v->args->list[OPT_PROFILE];
    int rc = CLI_OK;
    for (int i = 0; i < l->n && !rc; i++) rc = read_profile(v, i, l->text[i]);
    v->o.api.profiles = v->profile;
    v->o.api.n_profile = l->n;
    return rc;
}

/* Whether what the drafter is, which is known once it is open, serves a setting that requests start from. */
static int check_setting(const weir_engine_facts *f, const char *name, const weir_session_options *o) {
    weir_err err = {{0}};
    if (weir_draft_check(f->draft, o->method, &o->law, &err) == WEIR_OK) return CLI_OK;
    return cli_fail(CLI_FAILED, "%s: %s", name, err.text);
}

static int check_settings(const server *v, const weir_engine *e) {
    weir_engine_facts f;
    weir_engine_get_facts(e, &f);
    int rc = check_setting(&f, "requests without settings", &v->o.api.defaults);
    for (int i = 0; i < v->o.api.n_profile && !rc; i++)
        rc = check_setting(&f, v->profile[i].name, &v->profile[i].o);
    return rc;
}

static bool open_engine(void *ud, weir_engine **out) {
    const server *v = ud;
    int rc = cli_open(v->args, false, out);
    if (rc == CLI_OK && (rc = check_settings(v, *out)) != CLI_OK) {
        weir_engine_close(*out);
        *out = NULL;
    }
    return rc == CLI_OK;
}

static void listening(void *ud, const char *url) {
    (void)ud;
    cli_note("listening on %s; loading the models", url);
}

static void ready(void *ud, const weir_engine *e) {
    const server *v = ud;
    weir_engine_facts f;
    weir_engine_get_facts(e, &f);
    cli_note_setting(&f, &v->o.api.defaults);
    cli_note("ready: model %s, %d slots, context %d", v->o.api.names[0], f.n_parallel, f.ctx_size);
}

static void warn(void *ud, const char *line) {
    (void)ud;
    cli_warn("%s", line);
}

static double seconds(const cli_args *a, cli_option_id id) { return a->value[id].number; }

static void read_http(const cli_args *a, server *v) {
    v->o.http = (http_options){.host = cli_text(a, OPT_HOST),
                               .port = cli_int(a, OPT_PORT),
                               .cert_file = cli_text(a, OPT_SSL_CERT_FILE),
                               .key_file = cli_text(a, OPT_SSL_KEY_FILE),
                               .allowed_hosts = (const char *const *)v->hosts.text,
                               .n_allowed_host = (size_t)v->hosts.n,
                               .cors_origins = (const char *const *)v->origins.text,
                               .n_cors_origin = (size_t)v->origins.n,
                               .max_body = (size_t)cli_int(a, OPT_MAX_BODY_MIB) << 20,
                               .max_connections = cli_int(a, OPT_MAX_CONNECTIONS),
                               .stall_seconds = seconds(a, OPT_TIMEOUT)};
}

static void read_limits(const cli_args *a, serve_options *o) {
    o->keys = a->list[OPT_API_KEY].text;
    o->n_key = (size_t)a->list[OPT_API_KEY].n;
    o->key_file = cli_text(a, OPT_API_KEY_FILE);
    o->no_auth = cli_flag(a, OPT_NO_AUTH);
    o->stall_seconds = seconds(a, OPT_PREFILL_STALL_MS) * 1e-3;
    o->max_requests = cli_int(a, OPT_MAX_NUM_QUEUED_REQS);
    o->max_queued_tokens = (size_t)cli_int(a, OPT_MAX_NUM_QUEUED_TOKENS);
    o->request_seconds = seconds(a, OPT_REQUEST_TIMEOUT);
    o->ping_seconds = seconds(a, OPT_SSE_PING_INTERVAL);
    o->shutdown_seconds = seconds(a, OPT_SHUTDOWN_TIMEOUT);
    o->watchdog_seconds = seconds(a, OPT_WATCHDOG);
    o->buffer_bytes = (size_t)cli_int(a, OPT_BUFFER_MIB) << 20;
    o->n_worker = cli_int(a, OPT_THREADS_HTTP);
    o->speculate_below = cli_int(a, OPT_SPEC_DISABLE_ABOVE);
    o->metrics = cli_flag(a, OPT_METRICS);
    o->metrics_prefix = cli_text(a, OPT_METRICS_PREFIX);
    o->slots = cli_flag(a, OPT_SLOTS);
    o->page = !cli_flag(a, OPT_NO_WEBUI);
    o->log_off = cli_flag(a, OPT_LOG_DISABLE);
    o->log_json = cli_flag(a, OPT_LOG_JSONL);
    o->log_file = cli_text(a, OPT_LOG_FILE);
}

static int read_options(const cli_args *a, server *v) {
    int rc = CLI_OK;
    if (!cli_text(a, OPT_MODEL))
        return cli_fail(CLI_USAGE, "no model: give -m DIR (or set WEIR_MODEL; see weir serve --help)");
    if (!cli_is_set(a, OPT_SSL_CERT_FILE) != !cli_is_set(a, OPT_SSL_KEY_FILE))
        return cli_fail(CLI_USAGE, "--ssl-cert-file and --ssl-key-file: expected both or neither");
    if (!rc) rc = read_names(a, OPT_ALIAS, &v->alias);
    if (!rc) rc = own_name(a, &v->alias);
    if (!rc) rc = read_names(a, OPT_ALLOWED_HOSTS, &v->hosts);
    if (!rc) rc = read_names(a, OPT_CORS_ORIGINS, &v->origins);
    if (!rc) rc = cli_session(a, &v->o.api.defaults);
    if (!rc) rc = read_profiles(v);
    if (rc) return rc;
    read_http(a, v);
    read_limits(a, &v->o);
    v->o.api.names = (const char *const *)v->alias.text;
    v->o.api.n_name = v->alias.n;
    v->o.api.strict_fields = cli_flag(a, OPT_STRICT_FIELDS);
    v->o.api.slots = cli_flag(a, OPT_SLOTS);
    v->o.api.metrics = cli_flag(a, OPT_METRICS);
    v->o.api.created = (int64_t)time(NULL);
    return CLI_OK;
}

int cli_serve(const cli_args *a) {
    server v = {.args = a};
    v.o.ud = &v;
    v.o.open_engine = open_engine;
    v.o.listening = listening;
    v.o.ready = ready;
    v.o.warn = warn;
    int rc = read_options(a, &v);
    if (!rc) {
        weir_err err = {{0}};
        const weir_status st = serve_run(&v.o, &err);
        rc = st == WEIR_OK ? CLI_OK : err.text[0] ? cli_fail(CLI_FAILED, "%s", err.text) : CLI_FAILED;
    }
    free_names(&v.alias);
    free_names(&v.hosts);
    free_names(&v.origins);
    return rc;
}
