/* /weir/rule: the object of the command, with null as absent. */
#include "host/serve/api/body.h"
#include "host/serve/api/calls.h"
#include "host/wire/json.h"
#include "host/wire/rule.h"

bool api_rule(const char *body, size_t n, wire_buf *out, serve_error *e) {
    const weir_law law = weir_law_default();
    const weir_interrupt never = {NULL, NULL};
    api_body b;
    wire_position at = {0};
    bool ok = api_body_parse(&b, NULL, WIRE_RULE, body, n, e) &&
              api_body_ok(&b, wire_position_read(&b.in, &law, &at, &b.err)) &&
              api_body_ok(&b, wire_position_study(&at, 0, 0, never, &b.err));
    if (ok) ok = wire_write(wire_position_json(&at), out) || api_no_memory(e);
    wire_position_free(&at);
    api_body_free(&b);
    return ok;
}
