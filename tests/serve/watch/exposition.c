#include "tests/serve/watch/exposition.h"

#include <ctype.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char complaint[1024];

static const char *wrong(const char *line, const char *why) {
    snprintf(complaint, sizeof complaint, "%s: %.*s", why, (int)strcspn(line, "\n"), line);
    return complaint;
}

static bool copy(char *out, size_t cap, const char *from, size_t n) {
    if (n >= cap) return false;
    memcpy(out, from, n);
    out[n] = '\0';
    return true;
}

static size_t name_length(const char *s, bool colons) {
    if (isdigit((unsigned char)*s)) return 0;
    size_t n = 0;
    while (isalnum((unsigned char)s[n]) || s[n] == '_' || (colons && s[n] == ':')) n++;
    return n;
}

/* Bytes of name="value",… up to the brace; SIZE_MAX if they are none. */
static size_t labels_length(const char *s) {
    size_t at = 0;
    while (s[at] != '}') {
        const size_t n = name_length(s + at, false);
        if (n == 0 || strncmp(s + at + n, "=\"", 2) != 0) return SIZE_MAX;
        at += n + 2;
        for (; s[at] != '"'; at++) {
            if (s[at] == '\n' || s[at] == '\0') return SIZE_MAX;
            if (s[at] == '\\' && (!s[++at] || !strchr("\\\"n", s[at]))) return SIZE_MAX;
        }
        at++;
        if (s[at] == ',')
            at++;
        else if (s[at] != '}')
            return SIZE_MAX;
    }
    return at;
}

/* name{labels} value */
static const char *read_sample(sample *s, const char *line) {
    const size_t n = name_length(line, true);
    if (n == 0 || !copy(s->name, sizeof s->name, line, n)) return wrong(line, "no name of a metric");
    const char *at = line + n;
    if (*at == '{') {
        const size_t m = labels_length(++at);
        if (m == SIZE_MAX || !copy(s->labels, sizeof s->labels, at, m)) return wrong(line, "labels");
        at += m + 1;
    }
    if (*at++ != ' ') return wrong(line, "no blank before the value");
    char *end = NULL;
    s->value = strtod(at, &end);
    if (end == at || *end != '\n') return wrong(line, "no number");
    return NULL;
}

/* Whether a sample of this name belongs to the family. */
static bool belongs(const sample *s) {
    const size_t n = strlen(s->family);
    if (strncmp(s->name, s->family, n) != 0) return false;
    const char *rest = s->name + n;
    if (strcmp(s->type, "histogram") != 0) return *rest == '\0';
    return strcmp(rest, "_bucket") == 0 || strcmp(rest, "_sum") == 0 || strcmp(rest, "_count") == 0;
}

typedef struct reading {
    exposition *e;
    char help[96], family[96], type[16];
    char seen[128][96]; /* families so far */
    size_t n_seen;
} reading;

static const char *read_head(reading *r, const char *line) {
    const bool help = strncmp(line, "# HELP ", 7) == 0;
    if (!help && strncmp(line, "# TYPE ", 7) != 0) return wrong(line, "neither HELP nor TYPE");
    const size_t n = name_length(line + 7, true);
    if (n == 0 || line[7 + n] != ' ') return wrong(line, "no name of a metric");
    if (!copy(help ? r->help : r->family, sizeof r->help, line + 7, n)) return wrong(line, "name");
    if (help) {
        for (size_t i = 0; i < r->n_seen; i++)
            if (strcmp(r->seen[i], r->help) == 0) return wrong(line, "a family twice");
        if (r->n_seen == sizeof r->seen / sizeof *r->seen) return wrong(line, "too many families");
        memcpy(r->seen[r->n_seen++], r->help, sizeof r->help);
        return NULL;
    }
    const char *type = line + 8 + n;
    if (strcmp(r->help, r->family) != 0) return wrong(line, "TYPE without HELP");
    if (!copy(r->type, sizeof r->type, type, strcspn(type, "\n"))) return wrong(line, "type");
    if (strcmp(r->type, "counter") != 0 && strcmp(r->type, "gauge") != 0 && strcmp(r->type, "histogram") != 0)
        return wrong(line, "unknown type");
    const size_t len = strlen(r->family);
    const bool total = len > 6 && strcmp(r->family + len - 6, "_total") == 0;
    if (total != (strcmp(r->type, "counter") == 0))
        return wrong(line, "counters end in _total, others do not");
    return NULL;
}

static const char *read_line(reading *r, const char *line) {
    if (*line == '#') return read_head(r, line);
    exposition *e = r->e;
    e->samples = realloc(e->samples, (e->n + 1) * sizeof *e->samples);
    sample *s = &e->samples[e->n++];
    memset(s, 0, sizeof *s);
    memcpy(s->family, r->family, sizeof s->family);
    memcpy(s->type, r->type, sizeof s->type);
    const char *bad = read_sample(s, line);
    if (bad) return bad;
    if (!belongs(s)) return wrong(line, "a sample outside its family");
    for (size_t i = 0; i + 1 < e->n; i++)
        if (strcmp(e->samples[i].name, s->name) == 0 && strcmp(e->samples[i].labels, s->labels) == 0)
            return wrong(line, "a series twice");
    if (strcmp(s->type, "gauge") != 0 && (isnan(s->value) || s->value < 0)) return wrong(line, "no count");
    return NULL;
}

static bool ends_in(const char *s, const char *end) {
    const size_t n = strlen(s), m = strlen(end);
    return n >= m && strcmp(s + n - m, end) == 0;
}

/* One label set: these histograms differ in le alone. */
static const char *check_histogram(const exposition *e, size_t *at) {
    const char *family = e->samples[*at].family;
    double edge = -INFINITY, count = 0;
    for (; *at < e->n && strcmp(e->samples[*at].family, family) == 0; ++*at) {
        const sample *s = &e->samples[*at];
        if (!ends_in(s->name, "_bucket")) break;
        const char *le = strstr(s->labels, "le=\"");
        if (!le) return wrong(s->name, "a bucket without le");
        const double next = strtod(le + 4, NULL);
        if (!(next > edge) || s->value < count) return wrong(s->name, "buckets out of order");
        edge = next;
        count = s->value;
    }
    if (!isinf(edge)) return wrong(family, "the last bucket is not +Inf");
    if (*at + 2 > e->n || !ends_in(e->samples[*at].name, "_sum")) return wrong(family, "no sum");
    if (!ends_in(e->samples[*at + 1].name, "_count") || e->samples[*at + 1].value != count)
        return wrong(family, "the count is not that of +Inf");
    *at += 2;
    return NULL;
}

const char *exposition_read(exposition *e, const char *text) {
    reading r = {.e = e};
    *e = (exposition){0};
    if (!*text || text[strlen(text) - 1] != '\n') return "the last line has no end";
    for (const char *line = text; *line; line = strchr(line, '\n') + 1) {
        const char *bad = read_line(&r, line);
        if (bad) return bad;
    }
    for (size_t at = 0; at < e->n;) {
        const char *bad = NULL;
        if (strcmp(e->samples[at].type, "histogram") == 0)
            bad = check_histogram(e, &at);
        else
            at++;
        if (bad) return bad;
    }
    return NULL;
}

void exposition_free(exposition *e) {
    free(e->samples);
    *e = (exposition){0};
}

double exposition_value(const exposition *e, const char *name, const char *labels) {
    double value = NAN;
    size_t n = 0;
    for (size_t i = 0; i < e->n; i++)
        if (strcmp(e->samples[i].name, name) == 0 && strstr(e->samples[i].labels, labels)) {
            value = e->samples[i].value;
            n++;
        }
    return n == 1 ? value : NAN;
}
