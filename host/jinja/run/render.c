#include <string.h>

#include "host/jinja/run/eval.h"
#include "host/jinja/values/dict.h"
#include "kernels/base/mem.h"

/* ---- what a template is given ----------------------------------------------------------------------- */

static weir_status from_input(weir__run *r, const weir_jinja_input *in, weir__value *out);

static weir_status items_of(weir__run *r, const weir_jinja_input *in, weir__value *out) {
    const bool dict = in->kind == WEIR_JINJA_DICT;
    weir__value key, v;
    WEIR_TRY(weir__run_enter(r));
    if (dict)
        WEIR_TRY(weir__dict_new(r, WEIR__DICT, out));
    else
        WEIR_TRY(weir__value_list(r, WEIR__LIST, in->as.items.n, out));
    for (size_t i = 0; i < in->as.items.n; i++) {
        const weir_jinja_input *item = &in->as.items.at[i];
        WEIR_TRY(from_input(r, item, &v));
        if (!dict) {
            out->as.seq->at[i] = v;
            continue;
        }
        WEIR_TRY(weir__value_string(r, item->key, strlen(item->key), WEIR__BY_INPUT, &key));
        WEIR_TRY(weir__dict_put(r, out->as.dict, key, v));
    }
    r->depth--;
    return WEIR_OK;
}

static weir_status from_input(weir__run *r, const weir_jinja_input *in, weir__value *out) {
    switch (in->kind) {
    case WEIR_JINJA_BOOL: *out = weir__bool(in->as.boolean); return WEIR_OK;
    case WEIR_JINJA_INT: *out = weir__int(in->as.integer); return WEIR_OK;
    case WEIR_JINJA_FLOAT: *out = weir__float(in->as.real); return WEIR_OK;
    case WEIR_JINJA_STRING:
        return weir__value_string(r, in->as.string.text ? in->as.string.text : "", in->as.string.bytes,
                                  in->as.string.trusted ? WEIR__BY_TEMPLATE : WEIR__BY_INPUT, out);
    case WEIR_JINJA_LIST:
    case WEIR_JINJA_DICT: return items_of(r, in, out);
    default: *out = weir__none(); return WEIR_OK;
    }
}

static size_t input_bytes(const weir_jinja_input *in, size_t n, int depth) {
    size_t total = n * sizeof *in;
    for (size_t i = 0; i < n && depth < 1000; i++) {
        if (in[i].kind == WEIR_JINJA_STRING) total += in[i].as.string.bytes;
        if (in[i].kind >= WEIR_JINJA_LIST)
            total += input_bytes(in[i].as.items.at, in[i].as.items.n, depth + 1);
    }
    return total;
}

/* Bounds that the caller left to us. */
static weir_jinja_options bounds(const weir_jinja_options *o, size_t input) {
    weir_jinja_options b = o ? *o : (weir_jinja_options){0};
    if (input > ((size_t)1 << 40)) input = (size_t)1 << 40;
    if (b.max_steps == 0) b.max_steps = 20000000 + input;
    if (b.max_bytes == 0) b.max_bytes = ((size_t)256 << 20) + 64 * input;
    if (b.max_output == 0) b.max_output = ((size_t)16 << 20) + 4 * input;
    if (b.max_depth == 0) b.max_depth = 600;
    return b;
}

/* ---- the result ------------------------------------------------------------------------------------- */

static size_t count_spans(const weir__buf *b) {
    size_t n = b->n > 0;
    for (size_t i = 1; i < b->n; i++) n += b->from[i] != b->from[i - 1];
    return n;
}

static weir_status take_result(weir__run *r, const weir__buf *b, weir_jinja_text *out) {
    const size_t n = count_spans(b);
    weir_jinja_span *spans = weir_alloc(n, sizeof *spans);
    char *text = weir_alloc(b->n + 1, 1);
    if (!spans || !text) {
        weir_free(spans);
        weir_free(text);
        return weir_fail(r->err, WEIR_ENOMEM, "no memory to render a template");
    }
    if (b->n > 0) memcpy(text, b->p, b->n);
    text[b->n] = '\0';
    size_t k = 0;
    for (size_t i = 0; i < b->n; i++) {
        if (i == 0 || b->from[i] != b->from[i - 1])
            spans[k++] = (weir_jinja_span){.text = text + i, .of_template = b->from[i] == WEIR__BY_TEMPLATE};
        spans[k - 1].bytes++;
    }
    *out = (weir_jinja_text){.text = text, .bytes = b->n, .spans = spans, .n = n};
    return WEIR_OK;
}

static weir_status run(weir__run *r, const weir_jinja *t, const weir_jinja_input *variables, size_t n) {
    weir__frame *given = NULL;
    weir__value v;
    weir__flow flow = WEIR__GO_ON;
    r->line = 1;
    WEIR_TRY(weir__frame_new(r, NULL, &given));
    for (size_t i = 0; i < n; i++) {
        WEIR_TRY(from_input(r, &variables[i], &v));
        WEIR_TRY(weir__assign(r, given, variables[i].key, v));
    }
    WEIR_TRY(weir__frame_new(r, given, &r->frame));
    return weir__exec(r, t->body, &flow);
}

weir_status weir__jinja_render(const weir_jinja *t, const weir_jinja_input *variables, size_t n,
                               const weir_jinja_options *options, weir_jinja_text *out, weir_err *err) {
    weir_err none = {""};
    weir__buf text = {0};
    weir__run r = {.err = err ? err : &none, .out = &text};
    r.options = bounds(options, input_bytes(variables, n, 0));
    r.arena.limit = r.options.max_bytes;
    weir_status s = run(&r, t, variables, n);
    if (s == WEIR_OK) s = take_result(&r, &text, out);
    weir__arena_free(&r.arena);
    return s;
}

void weir__jinja_text_free(weir_jinja_text *text) {
    weir_free(text->text);
    weir_free(text->spans);
    *text = (weir_jinja_text){0};
}
