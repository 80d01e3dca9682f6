#include "host/serve/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "host/wire/json.h"

bool serve_fail(serve_error *e, int status, const char *code, const char *param, const char *fmt, ...) {
    char line[sizeof e->message.text];
    va_list args;
    va_start(args, fmt);
    vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    *e = (serve_error){.status = status, .code = code};
    if (param) snprintf(e->param, sizeof e->param, "%s", param);
    (void)weir_fail(&e->message, WEIR_EINVAL, "%s", line);
    return false;
}

bool serve_fail_status(serve_error *e, weir_status s, const weir_err *err) {
    const char *text = err && err->text[0] ? err->text : weir_status_str(s);
    switch (s) {
    case WEIR_ETOOLONG: return serve_fail(e, 400, "context_length_exceeded", NULL, "%s", text);
    case WEIR_EINVAL:
    case WEIR_ENOTSUP:
    case WEIR_EFORMAT: return serve_fail(e, 400, "invalid_request", NULL, "%s", text);
    case WEIR_EPAGES:
        serve_fail(e, 503, "queue_full", NULL, "%s", text);
        e->retry_after = 1;
        return false;
    default: return serve_fail(e, 500, "internal_error", NULL, "%s", text);
    }
}

static const char *type_of(int status) {
    switch (status) {
    case 401: return "authentication_error";
    case 403: return "permission_error";
    case 404: return "not_found_error";
    case 503:
    case 504: return "overloaded_error";
    default: return status < 500 ? "invalid_request_error" : "server_error";
    }
}

bool serve_error_write(const serve_error *e, wire_buf *b) {
    json_t *inner = json_object(), *outer = json_object();
    wire_set(inner, "message", wire_text(e->message.text, strlen(e->message.text)));
    wire_set(inner, "type", json_string(type_of(e->status)));
    wire_set(inner, "param", e->param[0] ? wire_text(e->param, strlen(e->param)) : json_null());
    wire_set(inner, "code", json_string(e->code));
    wire_set(outer, "error", inner);
    return wire_write(outer, b);
}
