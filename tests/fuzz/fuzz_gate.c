#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/serve/http/gate.h"
#include "tests/fuzz/target.h"

/* What the gate made of some bytes, as a number: pieces of a body count as one. */
typedef struct outcome {
    uint64_t hash;
    bool refused;
} outcome;

static void mix(outcome *o, const char *bytes, size_t n) {
    for (size_t i = 0; i < n; i++) o->hash = (o->hash ^ (unsigned char)bytes[i]) * 0x100000001b3u;
}

static void mix_text(outcome *o, const char *s) { mix(o, s, strlen(s) + 1); }

static void head_read(const http_gate *g, outcome *o) {
    const char *end = g->head.data + g->head.len;
    FUZZ_CHECK(g->head.len <= HTTP_HEAD_BYTES + 1 && g->n_field <= HTTP_FIELDS);
    FUZZ_CHECK(http_gate_path(g) < end && strlen(http_gate_path(g)) <= HTTP_TARGET_BYTES);
    FUZZ_CHECK(!g->chunked || !http_gate_header(g, "content-length"));
    FUZZ_CHECK(!g->http11 || http_gate_header(g, "HOST"));
    mix_text(o, http_gate_method(g));
    mix_text(o, http_gate_path(g));
    for (int i = 0; i < g->n_field; i++) {
        FUZZ_CHECK(g->head.data + g->value[i] < end);
        mix_text(o, g->head.data + g->name[i]);
        mix_text(o, g->head.data + g->value[i]);
    }
}

static void feed(http_gate *g, outcome *o, const char *bytes, size_t n) {
    for (size_t at = 0, used; !o->refused; at += used) {
        const http_edge edge = http_gate_feed(g, bytes + at, n - at, &used);
        FUZZ_CHECK(used <= n - at);
        if (edge == HTTP_MORE) {
            FUZZ_CHECK(at + used == n);
            return;
        }
        if (edge == HTTP_HEAD) head_read(g, o);
        if (edge == HTTP_BODY) {
            FUZZ_CHECK(g->n_span > 0 && g->n_span <= used && g->n_body <= g->max_body);
            mix(o, g->span, g->n_span);
        }
        if (edge == HTTP_END) mix_text(o, "end");
        if (edge == HTTP_REFUSED) {
            o->refused = true;
            FUZZ_CHECK(g->error.status >= 400 && g->error.message.text[0]);
            mix_text(o, g->error.message.text);
        }
    }
}

/* The first byte says how long the pieces are: whatever it is, the outcome is that of all bytes at once. */
FUZZ_TARGET(gate) {
    if (n == 0) return 0;
    const char *bytes = (const char *)data + 1;
    const size_t step = 1 + data[0] % 40, len = n - 1;
    http_gate whole, pieces;
    outcome a = {0}, b = {0};
    http_gate_init(&whole, 1000);
    http_gate_init(&pieces, 1000);
    feed(&whole, &a, bytes, len);
    for (size_t at = 0; at < len; at += step)
        feed(&pieces, &b, bytes + at, len - at < step ? len - at : step);
    FUZZ_CHECK(a.hash == b.hash && a.refused == b.refused);
    http_gate_reset(&whole);
    http_gate_reset(&pieces);
    return 0;
}
