#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "host/serve/http/conn.h"
#include "host/serve/http/gate.h"
#include "host/wire/nearest.h"

/* What is refused by a request's head alone, before a byte of its body is read. */

/* ---- hosts and origins --------------------------------------------------------------------------------- */

/* Bytes of host[:port] before the port. */
static size_t name_length(const char *host) {
    const char *bracket = host[0] == '[' ? strchr(host, ']') : NULL;
    return bracket ? (size_t)(bracket + 1 - host) : strcspn(host, ":");
}

static bool same_name(const char *host, const char *name) {
    const size_t n = name_length(host);
    return strlen(name) == n && strncasecmp(host, name, n) == 0;
}

static bool is_loopback_name(const char *host) {
    const size_t n = name_length(host);
    if (same_name(host, "localhost") || same_name(host, "[::1]")) return true;
    return n > 4 && strncmp(host, "127.", 4) == 0 && strspn(host, "0123456789.") == n;
}

/* A name elsewhere may point to this machine's loopback address (DNS rebinding). To the browser a page from
 * there would be of one origin with this server; the field Host tells them apart. */
static bool host_allowed(const http_conn *c, serve_error *e) {
    const http_server *s = c->server;
    const char *host = http_gate_header(&c->gate, "Host");
    if (!s->loopback || !host || is_loopback_name(host)) return true;
    for (size_t i = 0; i < s->opt.n_allowed_host; i++)
        if (same_name(host, s->opt.allowed_hosts[i]) || strcasecmp(host, s->opt.allowed_hosts[i]) == 0)
            return true;
    return serve_fail(e, 403, "host_not_allowed", NULL,
                      "the field Host names %.100s; a server on a loopback address answers to localhost and "
                      "to --allowed-hosts",
                      host);
}

static bool same_origin(const char *origin, const char *host) {
    const char *authority = strstr(origin, "://");
    return authority && host && strcasecmp(authority + 3, host) == 0;
}

/* Sets x->origin for an origin elsewhere that may read the answer. */
static bool origin_allowed(http_conn *c, serve_error *e) {
    const http_options *opt = &c->server->opt;
    const char *origin = http_gate_header(&c->gate, "Origin");
    if (!origin) return true;
    for (size_t i = 0; i < opt->n_cors_origin; i++) {
        if (strcmp(opt->cors_origins[i], "*") == 0)
            c->x.origin = "*";
        else if (strcasecmp(opt->cors_origins[i], origin) == 0)
            c->x.origin = opt->cors_origins[i];
        if (c->x.origin) return true;
    }
    if (same_origin(origin, http_gate_header(&c->gate, "Host"))) return true;
    return serve_fail(e, 403, "origin_not_allowed", NULL,
                      "pages of %.100s may not ask this server; --cors-origins lists who may", origin);
}

/* ---- routes -------------------------------------------------------------------------------------------- */

static bool route_fits(const http_route *r, const char *path) {
    return r->below ? strncmp(path, r->path, strlen(r->path)) == 0 : strcmp(path, r->path) == 0;
}

static const http_route *find_route(const http_server *s, const char *path) {
    const http_route *below = NULL;
    for (size_t i = 0; i < s->n_route; i++) {
        if (!route_fits(&s->routes[i], path)) continue;
        if (!s->routes[i].below) return &s->routes[i];
        if (!below || strlen(s->routes[i].path) > strlen(below->path)) below = &s->routes[i];
    }
    return below;
}

static bool not_found(const http_conn *c, serve_error *e) {
    const http_server *s = c->server;
    const char *path = http_gate_path(&c->gate);
    wire_nearest near = {.word = path};
    for (size_t i = 0; i < s->n_route; i++)
        if (!s->routes[i].instead) wire_nearest_try(&near, s->routes[i].path);
    return serve_fail(e, 404, "not_found", NULL, "no such path: %.200s%s", path, wire_nearest_hint(&near));
}

static const char *methods_of(const http_route *r) {
    const unsigned all = r ? r->methods : HTTP_GET | HTTP_POST;
    if (all == HTTP_GET) return "GET, HEAD, OPTIONS";
    return all == HTTP_POST ? "POST, OPTIONS" : "GET, HEAD, POST, OPTIONS";
}

static bool method_allowed(http_conn *c, serve_error *e) {
    const http_route *r = c->x.route;
    const char *method = http_gate_method(&c->gate);
    if (c->x.method & r->methods) return true;
    http_add_header(&c->x, "Allow", methods_of(r));
    return serve_fail(e, 405, "method_not_allowed", NULL, "%.20s %s: use %s", method, r->path, methods_of(r));
}

/* Of a page elsewhere a form may be posted without asking, JSON only after a preflight that it does not pass.
 * So the type is asked for. */
static bool type_allowed(http_conn *c, serve_error *e) {
    if (c->x.method != HTTP_POST) return true;
    const char *type = http_gate_header(&c->gate, "Content-Type");
    const size_t n = type ? strcspn(type, "; \t") : 0;
    if (n == 16 && strncasecmp(type, "application/json", n) == 0) return true;
    return serve_fail(e, 415, "unsupported_media_type", NULL,
                      "the body's type is %.60s; send -H 'Content-Type: application/json'",
                      type ? type : "not given");
}

static bool key_fits(http_conn *c, serve_error *e) {
    const http_keys *k = c->server->keys;
    const http_gate *g = &c->gate;
    if (!k || !http_keys_any(k)) return true;
    if (http_keys_fit(k, http_gate_header(g, "Authorization"), http_gate_header(g, "X-Api-Key"),
                      &c->x.client))
        return true;
    if (c->x.route && c->x.route->open) return true;
    http_add_header(&c->x, "WWW-Authenticate", "Bearer realm=\"weir\"");
    return serve_fail(e, 401, "invalid_api_key", NULL,
                      "no key, or a wrong one: send Authorization: Bearer KEY, or X-Api-Key: KEY");
}

/* ---- OPTIONS ------------------------------------------------------------------------------------------- */

static bool is_list_of_tokens(const char *list) {
    for (; *list; list++)
        if (*list != ',' && *list != ' ' && !http_is_token(list, 1)) return false;
    return true;
}

/* A preflight comes without a key. Other origins got their 403 before. */
static void answer_options(http_conn *c, bool close) {
    http_exchange *x = &c->x;
    const char *allow = methods_of(x->route);
    http_add_header(x, "Allow", allow);
    if (x->origin) {
        const char *asked = http_gate_header(&c->gate, "Access-Control-Request-Headers");
        http_add_header(x, "Access-Control-Allow-Methods", allow);
        http_add_header(x, "Access-Control-Allow-Headers",
                        asked && *asked && is_list_of_tokens(asked)
                            ? asked
                            : "Authorization, Content-Type, X-Api-Key, X-Request-Id");
        http_add_header(x, "Access-Control-Max-Age", "86400");
    }
    http_answer(x, 204, NULL, "", 0, close);
}

/* ---- all of it ----------------------------------------------------------------------------------------- */

static unsigned method_number(const char *method) {
    if (strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0) return HTTP_GET;
    return strcmp(method, "POST") == 0 ? HTTP_POST : 0;
}

/* Who asks, and from where. */
static bool asker_allowed(http_conn *c, serve_error *e) {
    if (!c->surplus) return host_allowed(c, e) && origin_allowed(c, e);
    serve_fail(e, 503, "too_many_connections", NULL, "this server has as many connections as it may");
    e->retry_after = 1;
    return false;
}

static bool request_allowed(http_conn *c, serve_error *e) {
    const http_route *r = c->x.route;
    if (!key_fits(c, e)) return false;
    if (!r) return not_found(c, e);
    if (r->instead) return serve_fail(e, 404, "not_found", NULL, "%s", r->instead);
    return method_allowed(c, e) && type_allowed(c, e);
}

/* A refused body is skipped if it is short and surely comes; else the connection closes. */
static bool must_close(const http_gate *g) {
    return g->has_body && (g->expect || g->chunked || g->n_body > HTTP_READ_BYTES);
}

bool http_admit(http_conn *c) {
    http_exchange *x = &c->x;
    serve_error e = {0};
    const char *method = http_gate_method(&c->gate);
    x->head = strcmp(method, "HEAD") == 0;
    x->method = method_number(method);
    x->route = find_route(c->server, http_gate_path(&c->gate));
    if (!asker_allowed(c, &e)) {
        http_refuse(x, &e, must_close(&c->gate));
    } else if (strcmp(method, "OPTIONS") == 0) {
        answer_options(c, must_close(&c->gate));
    } else if (request_allowed(c, &e)) {
        return true;
    } else {
        http_refuse(x, &e, must_close(&c->gate));
    }
    return false;
}
