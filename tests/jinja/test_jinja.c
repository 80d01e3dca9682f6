#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/jinja/json_input.h"
#include "tests/support/alloc.h"
#include "tests/support/files.h"

/* What jinja2 makes of the same templates: tests/golden/make_jinja.py. */

#ifdef __SANITIZE_ADDRESS__ /* some ten times as slow: fewer of the same */
#define SANITIZED 1
#else
#define SANITIZED 0
#endif
#define GOLDEN WEIR_SOURCE_DIR "/tests/golden/jinja"

/* The day of the goldens. */
static const struct tm day = {.tm_year = 124,
                              .tm_mon = 6,
                              .tm_mday = 26,
                              .tm_hour = 9,
                              .tm_min = 5,
                              .tm_sec = 7,
                              .tm_wday = 5,
                              .tm_yday = 207};
static const weir_jinja_options options = {.now = &day};

static char *read_text(const char *name, size_t *n) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", GOLDEN, name);
    char *text = (char *)files_read(path, n);
    cr_assert(text, "%s", path);
    return text;
}

static weir_status render(const char *source, size_t bytes, const weir_jinja_input *in, size_t n,
                          const weir_jinja_options *o, weir_jinja_text *out, weir_err *err) {
    weir_jinja *t = NULL;
    weir_status s = weir__jinja_parse(&t, source, bytes, err);
    if (s == WEIR_OK) s = weir__jinja_render(t, in, n, o, out, err);
    weir__jinja_free(t);
    return s;
}

static void check_spans(const weir_jinja_text *t, const char *where) {
    size_t at = 0;
    for (size_t i = 0; i < t->n; i++) {
        cr_assert(t->spans[i].text == t->text + at && t->spans[i].bytes > 0, "%s", where);
        cr_assert(i == 0 || t->spans[i].of_template != t->spans[i - 1].of_template, "%s", where);
        at += t->spans[i].bytes;
    }
    cr_assert(at == t->bytes && t->text[at] == '\0', "%s", where);
}

/* The error that jinja2 has, line and all where it knows one; control characters are shown as ? in a line
 * of ours. */
static bool is_error(const char *got, const char *want) {
    char shown[512];
    snprintf(shown, sizeof shown, "%s", want);
    for (char *c = shown; *c; c++)
        if ((unsigned char)*c < 0x20) *c = '?';
    if (strncmp(want, "line ", 5) != 0) {
        got = strncmp(got, "line ", 5) == 0 ? strchr(got, ':') : NULL;
        got = got ? got + 2 : "";
    }
    return strcmp(got, shown) == 0;
}

static void check(const char *source, size_t bytes, const weir_jinja_input *in, size_t n, const json_t *want,
                  const char *where) {
    weir_jinja_text out = {0};
    weir_err err = {""};
    const weir_status s = render(source, bytes, in, n, &options, &out, &err);
    const char *error = json_string_value(json_object_get(want, "error"));
    const json_t *text = json_object_get(want, "text");
    if (error) {
        cr_expect(s != WEIR_OK && is_error(err.text, error), "%s: %s\nwant %s\ngot  %s", where, source, error,
                  err.text);
    } else {
        const bool same = s == WEIR_OK && out.bytes == json_string_length(text) &&
                          memcmp(out.text, json_string_value(text), out.bytes) == 0;
        cr_expect(same, "%s: %s\nwant %s\ngot  %s", where, source, json_string_value(text),
                  s == WEIR_OK ? out.text : err.text);
    }
    if (s == WEIR_OK) check_spans(&out, where);
    weir__jinja_text_free(&out);
}

static json_t *read_json(const char *name) {
    size_t n = 0;
    char *text = read_text(name, &n);
    json_t *v = json_loadb(text, n, JSON_ALLOW_NUL, NULL);
    cr_assert(v, "%s", name);
    free(text);
    return v;
}

/* The next line of *at, as its own text; NULL at the end. */
static char *next_line(char **at) {
    char *line = *at, *end = strchr(line, '\n');
    if (!end) return NULL;
    *end = '\0';
    *at = end + 1;
    return line;
}

/* Signs of cases.txt that stand for characters a line cannot show. */
static size_t decode(char *line) {
    static const char *const signs[] = {"⏎", "\n", "␍", "\r", "⇥", "\t", "␋", "\v", "␣", "\u00a0"};
    size_t n = 0;
    for (char *p = line; *p;) {
        size_t k = 0;
        while (k < 10 && strncmp(p, signs[k], strlen(signs[k])) != 0) k += 2;
        if (k == 10) {
            line[n++] = *p++;
            continue;
        }
        memcpy(line + n, signs[k + 1], strlen(signs[k + 1]));
        n += strlen(signs[k + 1]);
        p += strlen(signs[k]);
    }
    line[n] = '\0';
    return n;
}

Test(jinja, constructs_give_what_jinja2_gives) {
    size_t n = 0, n_case = 0;
    char where[64], *line, *cases = read_text("cases.txt", &n), *wants = read_text("cases.jsonl", &n),
                           *at = cases, *want_at = wants;
    json_t *variables = read_json("variables.json");
    weir_jinja_input *in = json_input(variables, &n);
    while ((line = next_line(&at)) != NULL) {
        snprintf(where, sizeof where, "case %zu", ++n_case);
        json_t *want = json_loads(next_line(&want_at), JSON_ALLOW_NUL, NULL);
        const size_t bytes = decode(line);
        check(line, bytes, in, n, want, where);
        json_decref(want);
    }
    cr_assert(n_case > 900 && *want_at == '\0', "%zu", n_case);
    json_input_free(in, n);
    json_decref(variables);
    free(cases);
    free(wants);
}

/* ---- chat templates --------------------------------------------------------------------------------- */

static json_t *variables_of(const json_t *talk, size_t i) {
    const bool generate = i == 0 || (i != 3 && i % 5 != 0);
    return json_pack("{s:O, s:n, s:n, s:b, s:s, s:s, s:s, s:s}", "messages", talk, "tools", "documents",
                     "add_generation_prompt", generate, "bos_token", "<s>", "eos_token", "</s>", "unk_token",
                     "<unk>", "pad_token", "<pad>");
}

static void check_template(const char *name, const json_t *talks) {
    char path[300], where[320];
    size_t bytes = 0, n = 0, i = 0;
    snprintf(path, sizeof path, "templates/%s.jinja", name);
    char *source = read_text(path, &bytes);
    snprintf(path, sizeof path, "templates/%s.jsonl", name);
    char *wants = read_text(path, &n), *at = wants, *line;
    while ((line = next_line(&at)) != NULL) {
        json_t *want = json_loads(line, JSON_ALLOW_NUL, NULL),
               *given = variables_of(json_array_get(talks, i), i);
        snprintf(where, sizeof where, "%s, conversation %zu", name, i++);
        weir_jinja_input *in = json_input(given, &n);
        check(source, bytes, in, n, want, where);
        json_input_free(in, n);
        json_decref(given);
        json_decref(want);
    }
    cr_assert(i == json_array_size(talks) && i >= 10, "%s", name);
    free(source);
    free(wants);
}

/* Calls f with the name of each template; how many there were. */
static int each_template(void (*f)(const char *name, const json_t *talks), const json_t *talks) {
    DIR *dir = opendir(GOLDEN "/templates");
    int n = 0;
    cr_assert(dir);
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        char name[256];
        snprintf(name, sizeof name, "%s", e->d_name);
        char *end = strstr(name, ".jinja");
        if (!end) continue;
        *end = '\0';
        f(name, talks);
        n++;
    }
    closedir(dir);
    return n;
}

Test(jinja, chat_templates_write_what_jinja2_writes) {
    json_t *talks = read_json("conversations.json");
    cr_assert(each_template(check_template, talks) >= 60);
    json_decref(talks);
}

/* ---- who wrote it ----------------------------------------------------------------------------------- */

static weir_jinja_input text_input(const char *key, const char *text, bool trusted) {
    return (weir_jinja_input){.key = key,
                              .kind = WEIR_JINJA_STRING,
                              .as.string = {.text = text, .bytes = strlen(text), .trusted = trusted}};
}

static const struct {
    const char *source, *want; /* what the input wrote stands in [] */
} written[] = {
    {"<|u|>{{ c }}<|e|>", "<|u|>[aB c]<|e|>"},
    {"{{ '<|u|>' + c + '<|e|>' }}", "<|u|>[aB c]<|e|>"},
    {"{{ '<|u|>' ~ c ~ 1 ~ c ~ none }}", "<|u|>[aB c]1[aB c]None"},
    {"{{ c | upper }}{{ c.lower() }}{{ c | title }}", "[AB Cab cAb C]"},
    {"{{ c | trim }}{{ c[1:] }}{{ c[::-1] }}{{ c[0] }}", "[aB cB cc Baa]"},
    {"{{ c | replace('B', '<x>') }}", "[a]<x>[ c]"},
    {"{{ '<x>' | replace('x', c) }}", "<[aB c]>"},
    {"{{ [c, c] | join('<s>') }}", "[aB c]<s>[aB c]"},
    {"{{ c.split(' ') | join('|') }}", "[aB]|[c]"},
    {"{{ '|'.join(c) }}", "[a]|[B]|[ ]|[c]"},
    {"{{ c | tojson }}{{ {'k': c} }}", "\"[aB c]\"{'k': '[aB c]'}"},
    {"{{ '<%s>' | format(c) }}{{ '<{}>'.format(c) }}{{ '%(k)s!' % {'k': c} }}", "<[aB c]><[aB c]>[aB c]!"},
    {"{% set x %}<{{ c }}>{% endset %}{{ x }}{{ x | length }}", "<[aB c]>6"},
    {"{% macro m(x) %}<{{ x }}>{% endmacro %}{{ m(c) }}{{ m('l') }}", "<[aB c]><l>"},
    {"{% filter upper %}x{{ c }}{% endfilter %}", "X[AB C]"},
    {"{% for x in c %}{{ x }}-{% endfor %}", "[a]-[B]-[ ]-[c]-"},
    {"{% set ns = namespace(t='') %}{% for x in [c, '<s>'] %}{% set ns.t = ns.t ~ x %}{% endfor %}{{ ns.t }}",
     "[aB c]<s>"},
    {"{{ c if c == 'aB c' else '' }}{{ c * 2 }}{{ c | indent(1, true) }}", "[aB caB caB c] [aB c]"},
    {"{{ c | list | last }}{{ c | e }}{{ (c ~ '<') | e }}", "[caB caB c]&lt;"},
    {"{{ d.items() | list }}", "[('[k]', '[aB c]')]"},
    {"{{ {'aB c': '<s>'}[c] }}", "<s>"}, /* what a message chooses, the template wrote */
    {"{{ b }}{{ b ~ c }}", "<s><s>[aB c]"},
    {"{{ c | center(8) }}{{ c.rjust(6, '>') }}", "  [aB c]  >>[aB c]"},
    {"{{ 'é' | tojson(true) }}{{ (c ~ 'é') | urlencode }}", "\"\\u00e9\"[aB%20c]%C3%A9"},
};

Test(jinja, every_byte_knows_who_wrote_it) {
    weir_jinja_input item = text_input("k", "aB c", false);
    const weir_jinja_input in[] = {text_input("c", "aB c", false),
                                   text_input("b", "<s>", true),
                                   {.key = "d", .kind = WEIR_JINJA_DICT, .as.items = {&item, 1}}};
    for (size_t i = 0; i < sizeof written / sizeof *written; i++) {
        weir_jinja_text out = {0};
        weir_err err = {""};
        char got[256] = "";
        cr_assert(render(written[i].source, strlen(written[i].source), in, 3, NULL, &out, &err) == WEIR_OK,
                  "%s", err.text);
        check_spans(&out, written[i].source);
        for (size_t k = 0; k < out.n; k++) {
            const weir_jinja_span *s = &out.spans[k];
            const size_t at = strlen(got);
            snprintf(got + at, sizeof got - at, s->of_template ? "%.*s" : "[%.*s]", (int)s->bytes, s->text);
        }
        cr_expect_str_eq(got, written[i].want, "%s: %s, want %s", written[i].source, got, written[i].want);
        weir__jinja_text_free(&out);
    }
}

/* ---- bounds ----------------------------------------------------------------------------------------- */

typedef struct refusal {
    const char *source, *part;
    weir_status status;
} refusal;

static void check_refusals(const refusal *all, size_t n, const weir_jinja_options *o) {
    for (size_t i = 0; i < n; i++) {
        weir_jinja_text out = {0};
        weir_err err = {""};
        const weir_status s = render(all[i].source, strlen(all[i].source), NULL, 0, o, &out, &err);
        cr_expect(s == all[i].status && err_is_line(&err, all[i].part) && strncmp(err.text, "line ", 5) == 0,
                  "%s: %d %s", all[i].source, s, err.text);
        cr_expect(out.text == NULL && out.spans == NULL);
        weir__jinja_text_free(&out);
    }
}

Test(jinja, bounds_are_errors_of_one_line) {
    const weir_jinja_options small = {
        .max_steps = 20000, .max_bytes = 300000, .max_output = 2000, .max_depth = 100};
    static const refusal all[] = {
        {"{% for i in range(1000) %}{% for j in range(1000) %}{% endfor %}{% endfor %}",
         "more than 20000 steps", WEIR_ENOTSUP},
        {"{% set x = 'ab' * 3000000000000 %}", "more than", WEIR_ENOTSUP},
        {"{% set ns = namespace(s='x' * 1000) %}"
         "{% for i in range(30) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
         "more than 300000 bytes of memory", WEIR_ENOTSUP},
        {"{% set x = [1] * 9223372036854775807 %}", "more than", WEIR_ENOTSUP},
        {"{% for i in range(3000) %}a{% endfor %}", "writes more than 2000 bytes", WEIR_ENOTSUP},
        {"{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "more than 100 levels", WEIR_ENOTSUP},
        {"{% for i in [1] recursive %}{{ loop([1]) }}{% endfor %}", "more than 100 levels", WEIR_ENOTSUP},
        {"{% set ns = namespace(l=[]) %}"
         "{% for i in range(500) %}{% set ns.l = [ns.l] %}{% endfor %}{{ ns.l }}",
         "more than 100 levels", WEIR_ENOTSUP},
        {"{% set ns = namespace(l=[], m=[]) %}"
         "{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% set ns.m = [ns.m, ns.m] %}"
         "{% endfor %}{{ ns.l == ns.m }}{{ 1 }}",
         "more than 20000 steps", WEIR_ENOTSUP},
        {"{{ 'x' | center(9000000000000000000) }}", "more than", WEIR_ENOTSUP},
        {"{{ '%99999999999d' % 1 }}", "wider", WEIR_ENOTSUP},
        {"{{ 9223372036854775807 + 1 }}", "64 bits", WEIR_ENOTSUP},
        {"{{ 3 ** 50 }}", "64 bits", WEIR_ENOTSUP},
        {"{{ 99999999999999999999 }}", "64 bits", WEIR_ENOTSUP},
    };
    check_refusals(all, sizeof all / sizeof *all, &small);
}

Test(jinja, depth_of_a_source_is_bounded) {
    static const char *const parts[] = {"(",     "[",         "{1:",    "not ",       "- ",
                                        "x if ", "x is in [", "x | d(", "{% if 1 %}", "{% for a in b %}"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        const size_t n = strlen(parts[i]), times = 50000;
        const bool statement = parts[i][1] == '%';
        char *source = calloc(times + 1, n + 4), *p = source;
        if (!statement) p = stpcpy(p, "{{ ");
        for (size_t k = 0; k < times; k++) p = stpcpy(p, parts[i]);
        weir_jinja_text out = {0};
        weir_err err = {""};
        const weir_status s = render(source, (size_t)(p - source), NULL, 0, NULL, &out, &err);
        cr_expect((s == WEIR_ENOTSUP || s == WEIR_EFORMAT) && err_is_line(&err, "line "), "%s: %d %s",
                  parts[i], s, err.text);
        free(source);
    }
}

Test(jinja, what_is_left_out_is_refused_by_name) {
    static const refusal all[] = {
        {"\n{% include 'x' %}", "line 2: the statement 'include' is not supported", WEIR_ENOTSUP},
        {"{% import 'x' as y %}", "'import'", WEIR_ENOTSUP},
        {"{% from 'x' import y %}", "'from'", WEIR_ENOTSUP},
        {"{% extends 'x' %}", "'extends'", WEIR_ENOTSUP},
        {"{% block x %}{% endblock %}", "'block'", WEIR_ENOTSUP},
        {"{% autoescape true %}{% endautoescape %}", "'autoescape'", WEIR_ENOTSUP},
        {"{{ x | truncate(3) }}", "the filter 'truncate' is not supported", WEIR_ENOTSUP},
        {"{{ x | wordwrap }}", "'wordwrap'", WEIR_ENOTSUP},
        {"{{ x | random }}", "'random'", WEIR_ENOTSUP},
        {"{{ x | pprint }}", "'pprint'", WEIR_ENOTSUP},
        {"{{ x | xmlattr }}", "'xmlattr'", WEIR_ENOTSUP},
        {"{{ x | urlize }}", "'urlize'", WEIR_ENOTSUP},
        {"{{ x | filesizeformat }}", "'filesizeformat'", WEIR_ENOTSUP},
        {"{{ lipsum() }}", "the function 'lipsum' is not supported", WEIR_ENOTSUP},
        {"{{ '\\N{DASH}' }}", "characters by name", WEIR_EFORMAT},
        {"{{ '&' | striptags }}", "striptags", WEIR_ENOTSUP},
        {"{% break %}", "'break' outside loop", WEIR_EFORMAT},
        {"{% continue %}", "'continue' not properly in loop", WEIR_EFORMAT},
    };
    check_refusals(all, sizeof all / sizeof *all, NULL);
}

/* ---- time and memory grow with the input ------------------------------------------------------------ */

Test(jinja, long_inputs) {
    enum { LONG = SANITIZED ? 1 << 18 : 5 << 20 };
    char *text = malloc(LONG);
    memset(text, 'x', LONG);
    for (size_t i = 0; i < LONG; i += 7) text[i] = i % 2 ? ' ' : '\n';
    const weir_jinja_input in = {
        .key = "c", .kind = WEIR_JINJA_STRING, .as.string = {.text = text, .bytes = LONG}};
    static const char *const sources[] = {
        "{{ '<s>' + c | trim + '</s>' }}",
        "{{ c | upper | replace('X', 'é') | length }}",
        "{{ c | tojson | length }}",
        "{{ c.split('\\n') | length }}{{ c.split() | length }}{{ c.splitlines() | length }}",
        "{{ c[5:-5][0] }}{{ c.find('zz') }}",
        "{% set ns = namespace(t='') %}"
        "{% for i in range(100000) %}{% set ns.t = ns.t ~ 'ab' %}{% endfor %}{{ ns.t | length }}"};
    for (size_t i = 0; i < sizeof sources / sizeof *sources; i++) {
        weir_jinja_text out = {0};
        weir_err err = {""};
        cr_expect(render(sources[i], strlen(sources[i]), &in, 1, NULL, &out, &err) == WEIR_OK, "%s: %s",
                  sources[i], err.text);
        weir__jinja_text_free(&out);
    }
    free(text);
}

Test(jinja, any_bytes_are_text) {
    const weir_jinja_input in = {
        .key = "c", .kind = WEIR_JINJA_STRING, .as.string = {.text = "a\xff\0\xc3z", .bytes = 5}};
    const char source[] = "{{ c }}|{{ c | upper }}|{{ c | length }}|{{ c[1] }}|{{ c[::-1] }}\xfe";
    const char want[] = "a\xff\0\xc3z|A\xff\0\xc3Z|5|\xff|z\xc3\0\xff"
                        "a\xfe";
    weir_jinja_text out = {0};
    cr_assert(render(source, sizeof source - 1, &in, 1, NULL, &out, NULL) == WEIR_OK);
    cr_expect(out.bytes == sizeof want - 1 && memcmp(out.text, want, out.bytes) == 0);
    weir__jinja_text_free(&out);
}

Test(jinja, the_clock_is_the_default) {
    weir_jinja_text out = {0};
    const char source[] = "{{ strftime_now('%Y') }}";
    cr_assert(render(source, sizeof source - 1, NULL, 0, NULL, &out, NULL) == WEIR_OK);
    cr_expect(out.bytes == 4 && strtol(out.text, NULL, 10) >= 2024, "%s", out.text);
    weir__jinja_text_free(&out);
}

/* ---- sweeps ----------------------------------------------------------------------------------------- */

static void sweep_prefixes(const char *name, const json_t *talks) {
    char path[300];
    size_t bytes = 0, n = 0;
    json_t *given = variables_of(json_array_get(talks, 9), 1);
    weir_jinja_input *in = json_input(given, &n);
    snprintf(path, sizeof path, "templates/%s.jinja", name);
    char *source = read_text(path, &bytes);
    for (size_t k = SANITIZED ? strlen(name) % 7 : 0; k < bytes; k += SANITIZED ? 7 : 1) {
        char *part = (char *)files_exact(source, k);
        weir_jinja_text out = {0};
        weir_err err = {""};
        const weir_status s = render(part, k, in, n, &options, &out, &err);
        cr_assert(s == WEIR_OK || err_is_line(&err, "line "), "%s, %zu bytes: %d %s", name, k, s, err.text);
        weir__jinja_text_free(&out);
        free(part);
    }
    json_input_free(in, n);
    json_decref(given);
    free(source);
}

Test(jinja, every_prefix) {
    json_t *talks = read_json("conversations.json");
    cr_assert(each_template(sweep_prefixes, talks) >= 60);
    json_decref(talks);
}

/* Every place where a render can stop: each step is the last one once. */
static void sweep_steps(const char *name, const json_t *talks) {
    char path[300];
    size_t bytes = 0, n = 0;
    json_t *given = variables_of(json_array_get(talks, 9), 1);
    weir_jinja_input *in = json_input(given, &n);
    weir_jinja *t = NULL;
    snprintf(path, sizeof path, "templates/%s.jinja", name);
    char *source = read_text(path, &bytes);
    cr_assert(weir__jinja_parse(&t, source, bytes, NULL) == WEIR_OK);
    weir_status s = WEIR_ENOTSUP;
    size_t step = 0;
    alloc_install(0);
    while (s == WEIR_ENOTSUP && step < 20000) {
        weir_jinja_options o = {.now = &day, .max_steps = ++step};
        weir_jinja_text out = {0};
        weir_err err = {""};
        s = weir__jinja_render(t, in, n, &o, &out, &err);
        cr_assert(s != WEIR_ENOTSUP || err_is_line(&err, "steps"), "%s: %s", name, err.text);
        weir__jinja_text_free(&out);
        cr_assert_eq(alloc_live(), 0);
    }
    alloc_uninstall();
    cr_assert(s == WEIR_OK || s == WEIR_EINVAL, "%s: %d after %zu steps", name, s, step);
    weir__jinja_free(t);
    json_input_free(in, n);
    json_decref(given);
    free(source);
}

Test(jinja, every_step_can_be_the_last) {
    json_t *talks = read_json("conversations.json");
    cr_assert(each_template(sweep_steps, talks) >= 60);
    json_decref(talks);
}

static void sweep_allocations(const char *name, const json_t *talks) {
    char path[300];
    size_t bytes = 0, n = 0;
    json_t *given = variables_of(json_array_get(talks, 1), 1);
    weir_jinja_input *in = json_input(given, &n);
    snprintf(path, sizeof path, "templates/%s.jinja", name);
    char *source = read_text(path, &bytes);
    weir_status s = WEIR_ENOMEM;
    for (long k = 1; s == WEIR_ENOMEM && k < 1000; k++) {
        weir_jinja_text out = {0};
        weir_err err = {""};
        alloc_install(k);
        s = render(source, bytes, in, n, &options, &out, &err);
        cr_assert(s != WEIR_ENOMEM || (err_is_line(&err, "memory") && out.text == NULL), "%s: %s", name,
                  err.text);
        weir__jinja_text_free(&out);
        cr_assert_eq(alloc_live(), 0, "%s", name);
        alloc_uninstall();
    }
    cr_assert(s == WEIR_OK || s == WEIR_EINVAL, "%s: %d", name, s);
    json_input_free(in, n);
    json_decref(given);
    free(source);
}

Test(jinja, every_failed_allocation) {
    json_t *talks = read_json("conversations.json");
    cr_assert(each_template(sweep_allocations, talks) >= 60);
    json_decref(talks);
}
