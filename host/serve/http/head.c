#include "host/serve/http/head.h"

#include <string.h>
#include <strings.h>

static bool bad(http_gate *g, const char *why) {
    return serve_fail(&g->error, 400, "bad_head", NULL, "%s", why);
}

bool http_is_token(const char *s, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const char c = s[i], lower = (char)(c | 0x20);
        const bool alnum = (c >= '0' && c <= '9') || (lower >= 'a' && lower <= 'z');
        if (!alnum && (c == '\0' || !strchr("!#$%&'*+-.^_`|~", c))) return false;
    }
    return n > 0;
}

bool http_has_word(const char *list, const char *word) {
    const size_t n = strlen(word);
    while (list && *list) {
        list += strspn(list, " \t,");
        const size_t len = strcspn(list, " \t,");
        if (len == n && strncasecmp(list, word, n) == 0) return true;
        list += len;
    }
    return false;
}

/* ---- the request line ---------------------------------------------------------------------------------- */

static bool version(http_gate *g, const char *v, size_t n) {
    if (n != 8 || memcmp(v, "HTTP/", 5) != 0 || v[6] != '.')
        return bad(g, "the request line ends in no HTTP/1.1");
    if (memcmp(v + 5, "1.1", 3) != 0 && memcmp(v + 5, "1.0", 3) != 0)
        return serve_fail(&g->error, 505, "http_version", NULL, "%.8s: this server speaks HTTP/1.0 and 1.1",
                          v);
    g->http11 = v[7] == '1';
    return true;
}

/* /path?query; http://host/path, whose host must be that of the field Host (http_head_check); or *. */
static bool target(http_gate *g, char *t) {
    for (const char *p = t; *p; p++)
        if (*p < 0x21 || *p > 0x7e)
            return bad(g, "the request's target has bytes that are not visible ASCII");
    char *path = t;
    if (strncasecmp(t, "http://", 7) == 0 || strncasecmp(t, "https://", 8) == 0) {
        path = strchr(strchr(t, ':') + 3, '/');
        if (!path) return bad(g, "the request's target has no path");
    } else if (*t != '/' && strcmp(t, "*") != 0) {
        return bad(g, "the request's target begins with no /");
    }
    char *query = strchr(path, '?');
    if (strchr(path, '#')) return bad(g, "the request's target has a fragment");
    if (query) *query++ = '\0';
    g->path = (size_t)(path - g->head.data);
    g->query = query ? (size_t)(query - g->head.data) : 0;
    return true;
}

bool http_head_request(http_gate *g, char *line, size_t n) {
    char *first = memchr(line, ' ', n);
    char *second = first ? memchr(first + 1, ' ', n - (size_t)(first + 1 - line)) : NULL;
    if (!second || second == first + 1) return bad(g, "the request line is no METHOD TARGET HTTP/1.1");
    if (!http_is_token(line, (size_t)(first - line))) return bad(g, "the request's method is no token");
    *first = *second = '\0';
    return version(g, second + 1, n - (size_t)(second + 1 - line)) && target(g, first + 1);
}

/* ---- fields -------------------------------------------------------------------------------------------- */

bool http_head_field(http_gate *g, char *line, size_t n, bool trailer) {
    if (line[0] == ' ' || line[0] == '\t') return bad(g, "a field is folded over two lines");
    char *colon = memchr(line, ':', n);
    if (!colon) return bad(g, "a line of the head has no colon");
    if (!http_is_token(line, (size_t)(colon - line))) return bad(g, "a field's name is no token");
    if (g->n_field + g->n_trailer == HTTP_FIELDS)
        return serve_fail(&g->error, 431, "head_too_large", NULL, "more than %d fields", HTTP_FIELDS);
    *colon = '\0';
    char *value = colon + 1 + strspn(colon + 1, " \t"), *end = line + n;
    while (end > value && (end[-1] == ' ' || end[-1] == '\t')) *--end = '\0';
    if (trailer) {
        g->n_trailer++;
    } else {
        g->name[g->n_field] = (uint16_t)(line - g->head.data);
        g->value[g->n_field++] = (uint16_t)(value - g->head.data);
    }
    return true;
}

/* The value of a field that may be there once; NULL: none, or, with *twice, several. */
static const char *only(const http_gate *g, const char *name, bool *twice) {
    const char *found = NULL;
    *twice = false;
    for (int i = 0; i < g->n_field; i++) {
        if (strcasecmp(g->head.data + g->name[i], name) != 0) continue;
        if (found) *twice = true;
        found = g->head.data + g->value[i];
    }
    return found;
}

/* host[:port], with the characters that such a name may have. */
static bool is_authority(const char *s) {
    if (!*s) return false;
    for (; *s; s++) {
        const char lower = (char)(*s | 0x20);
        const bool alnum = (*s >= '0' && *s <= '9') || (lower >= 'a' && lower <= 'z');
        if (!alnum && !strchr("-._~:[]%!$&'()*+;=", *s)) return false;
    }
    return true;
}

static bool check_host(http_gate *g) {
    bool twice;
    const char *host = only(g, "Host", &twice);
    if (twice) return bad(g, "the field Host is there twice");
    if (!host && g->http11) return bad(g, "the field Host is missing");
    if (host && !is_authority(host)) return bad(g, "the field Host is no name of a host");
    const char *absolute = strstr(g->head.data + strlen(g->head.data) + 1, "://"); /* in the target */
    const char *path = http_gate_path(g);
    if (!absolute || absolute >= path) return true;
    const size_t n = (size_t)(path - (absolute + 3));
    if (!host || strlen(host) != n || strncasecmp(absolute + 3, host, n) != 0)
        return bad(g, "the request's target and the field Host name two hosts");
    return true;
}

bool http_head_too_large(http_gate *g) {
    return serve_fail(&g->error, 413, "body_too_large", NULL, "the body is larger than %llu bytes",
                      (unsigned long long)g->max_body);
}

static bool content_length(http_gate *g, const char *text) {
    uint64_t n = 0;
    const size_t digits = strspn(text, "0123456789");
    if (digits == 0 || text[digits]) return bad(g, "Content-Length is no number");
    for (const char *p = text; *p; p++)
        if (__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, (uint64_t)(*p - '0'), &n))
            return http_head_too_large(g);
    if (n > g->max_body) return http_head_too_large(g);
    g->left = g->n_body = n;
    g->has_body = n > 0;
    return true;
}

static bool check_length(http_gate *g) {
    bool two_lengths, two_codings;
    const char *length = only(g, "Content-Length", &two_lengths);
    const char *coding = only(g, "Transfer-Encoding", &two_codings);
    if (two_lengths) return bad(g, "the field Content-Length is there twice");
    if (length && coding) return bad(g, "both Content-Length and Transfer-Encoding");
    if (two_codings || (coding && strcasecmp(coding, "chunked") != 0))
        return bad(g, "Transfer-Encoding other than chunked");
    if (coding && !g->http11) return bad(g, "Transfer-Encoding in HTTP/1.0");
    g->has_body = g->chunked = coding != NULL;
    return !length || content_length(g, length);
}

static bool check_expect(http_gate *g) {
    const char *expect = http_gate_header(g, "Expect");
    if (!expect) return true;
    if (strcasecmp(expect, "100-continue") != 0)
        return serve_fail(&g->error, 417, "expectation_failed", NULL, "Expect: only 100-continue is known");
    g->expect = g->http11 && g->has_body;
    return true;
}

static bool connection_has(const http_gate *g, const char *word) {
    for (int i = 0; i < g->n_field; i++)
        if (strcasecmp(g->head.data + g->name[i], "Connection") == 0 &&
            http_has_word(g->head.data + g->value[i], word))
            return true;
    return false;
}

bool http_head_check(http_gate *g) {
    if (!check_host(g) || !check_length(g) || !check_expect(g)) return false;
    g->keep = !connection_has(g, "close") && (g->http11 || connection_has(g, "keep-alive"));
    return true;
}
