/* docker/grafana/dashboards/weir.json asks for metrics that the server has, and for all of them. */
#include <criterion/criterion.h>
#include <ctype.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "host/serve/watch/metrics.h"
#include "tests/serve/watch/exposition.h"

static exposition scrape(void) {
    static const char *const paths[] = {"/v1/models"};
    const watch_metrics_options o = {.paths = paths, .n_path = 1, .max_draft = 1};
    watch_metrics *m = NULL;
    wire_buf b = {0};
    exposition e;
    cr_assert(watch_metrics_open(&m, &o, NULL) == WEIR_OK);
    watch_http_ended(m, paths[0], 200);
    cr_assert(watch_metrics_write(m, &b));
    const char *bad = exposition_read(&e, b.data);
    cr_assert(!bad, "%s", bad);
    wire_buf_free(&b);
    watch_metrics_close(m);
    return e;
}

typedef struct check {
    exposition e;
    bool *used; /* (e.n) */
    size_t n_name;
    char ids[128];
    size_t n_panel;
} check;

static bool labels_have(const char *labels, const char *name, size_t n) {
    char key[64];
    snprintf(key, sizeof key, "%.*s=\"", (int)n, name);
    return strstr(labels, key) != NULL;
}

/* One name of a metric in an expression, from "weir:" on. */
static void check_name(check *c, const char *at, size_t n) {
    bool known = false;
    for (size_t i = 0; i < c->e.n; i++) {
        const sample *s = &c->e.samples[i];
        if (strlen(s->name) != n || strncmp(s->name, at, n) != 0) continue;
        known = true;
        for (size_t k = 0; k < c->e.n; k++)
            if (strcmp(c->e.samples[k].family, s->family) == 0) c->used[k] = true;
    }
    cr_expect(known, "%.*s is no metric", (int)n, at);
    c->n_name++;
}

static void check_names(check *c, const char *expr) {
    for (const char *at = expr; (at = strstr(at, "weir:"));) {
        size_t n = 5;
        while (isalnum((unsigned char)at[n]) || at[n] == '_') n++;
        check_name(c, at, n);
        at += n;
    }
}

/* {{label}} in a legend stays empty unless the expression groups by it and its metric has it. */
static void check_legend(const check *c, const char *expr, const char *legend) {
    for (const char *at = legend; (at = strstr(at, "{{")); at += 2) {
        const size_t n = strcspn(at + 2, "}");
        char by[64];
        bool has = false;
        snprintf(by, sizeof by, " by (%.*s)", (int)n, at + 2);
        for (size_t i = 0; i < c->e.n; i++)
            has =
                has || (strstr(expr, c->e.samples[i].name) && labels_have(c->e.samples[i].labels, at + 2, n));
        cr_expect(has && strstr(expr, by), "%s in %s", by, expr);
    }
}

static const char *text_of(const json_t *o, const char *key) {
    const char *s = json_string_value(json_object_get(o, key));
    cr_assert(s, "no %s", key);
    return s;
}

static void check_panel(check *c, const json_t *panel) {
    size_t i = 0;
    json_t *t = NULL;
    const json_int_t id = json_integer_value(json_object_get(panel, "id"));
    cr_assert(id > 0 && id < (json_int_t)sizeof c->ids && !c->ids[id], "id of %s", text_of(panel, "title"));
    c->ids[id] = 1;
    if (strcmp(text_of(panel, "type"), "row") == 0) return;
    cr_expect(json_array_size(json_object_get(panel, "targets")) > 0);
    json_array_foreach(json_object_get(panel, "targets"), i, t) {
        check_names(c, text_of(t, "expr"));
        check_legend(c, text_of(t, "expr"), text_of(t, "legendFormat"));
    }
    c->n_panel++;
}

Test(watch_dashboard, names) {
    json_error_t why;
    json_t *d =
        json_load_file(WEIR_SOURCE_DIR "/docker/grafana/dashboards/weir.json", JSON_REJECT_DUPLICATES, &why);
    cr_assert(d, "line %d: %s", why.line, why.text);
    check c = {.e = scrape()};
    c.used = calloc(c.e.n, sizeof *c.used);
    size_t i = 0;
    json_t *x = NULL;
    json_array_foreach(json_object_get(d, "panels"), i, x) check_panel(&c, x);
    json_array_foreach(json_object_get(json_object_get(d, "templating"), "list"), i, x) {
        json_t *query = json_object_get(x, "query");
        if (json_is_object(query)) check_names(&c, text_of(query, "query"));
    }
    cr_expect(c.n_panel >= 20 && c.n_name >= 40);
    for (i = 0; i < c.e.n; i++) {
        const char *family = c.e.samples[i].family;
        if (i == 0 || strcmp(family, c.e.samples[i - 1].family) != 0)
            cr_expect(c.used[i], "%s is on no panel", family);
    }
    free(c.used);
    exposition_free(&c.e);
    json_decref(d);
}
