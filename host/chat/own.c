#include "host/chat/own.h"

#include <string.h>

#include "kernels/base/mem.h"

weir_status weir__chat_own_open(weir_chat_own **out, const char *source, size_t bytes,
                                const char *const special[WEIR_SPECIAL_N], weir_err *err) {
    weir_err why = {""};
    weir_chat_own *o = weir_calloc(1, sizeof *o);
    if (!o) return weir_fail(err, WEIR_ENOMEM, "no memory for a chat template");
    const weir_status s = weir__jinja_parse(&o->program, source, bytes, &why);
    if (s != WEIR_OK) {
        weir_free(o);
        return weir_fail(err, s, "chat template: %s", why.text);
    }
    o->bytes = bytes;
    memcpy(o->special, special, sizeof o->special);
    *out = o;
    return WEIR_OK;
}

void weir__chat_own_free(weir_chat_own *o) {
    if (!o) return;
    weir__jinja_free(o->program);
    weir_free(o);
}

/* ---- rendering -------------------------------------------------------------------------------------- */

/* Roles that templates know. They are structure, which whoever writes the messages decides, not words of a
 * message. */
static bool is_role(const char *role) {
    static const char *const roles[] = {"system", "user",     "assistant", "tool",       "developer",
                                        "model",  "function", "ipython",   "observation"};
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++)
        if (strcmp(role, roles[i]) == 0) return true;
    return false;
}

static weir_jinja_input string(const char *key, const char *text, size_t bytes, bool trusted) {
    return (weir_jinja_input){.key = key,
                              .kind = WEIR_JINJA_STRING,
                              .as.string = {.text = text, .bytes = bytes, .trusted = trusted}};
}

/* Items of each message: fields[2 * i], fields[2 * i + 1]. */
static void fill_messages(const weir_chat_message *messages, size_t n, weir_jinja_input *list,
                          weir_jinja_input *fields) {
    for (size_t i = 0; i < n; i++) {
        const weir_chat_message *m = &messages[i];
        fields[2 * i] = string("role", m->role, strlen(m->role), is_role(m->role));
        fields[2 * i + 1] = string("content", m->content, m->bytes, false);
        list[i] = (weir_jinja_input){.kind = WEIR_JINJA_DICT, .as.items = {&fields[2 * i], 2}};
    }
}

static weir_status render(const weir_chat_own *o, const weir_jinja_input *list, size_t n, bool generate,
                          weir_jinja_text *out, weir_err *err) {
    weir_jinja_input v[4 + WEIR_SPECIAL_N] = {
        {.key = "messages", .kind = WEIR_JINJA_LIST, .as.items = {list, n}},
        {.key = "tools", .kind = WEIR_JINJA_NONE},
        {.key = "documents", .kind = WEIR_JINJA_NONE},
        {.key = "add_generation_prompt", .kind = WEIR_JINJA_BOOL, .as.boolean = generate}};
    size_t n_var = 4;
    for (int i = 0; i < WEIR_SPECIAL_N; i++)
        if (o->special[i])
            v[n_var++] = string(weir_special_names[i], o->special[i], strlen(o->special[i]), true);
    weir_err why = {""};
    const weir_status s = weir__jinja_render(o->program, v, n_var, NULL, out, &why);
    return s == WEIR_OK ? s : weir_fail(err, s, "chat template: %s", why.text);
}

weir_status weir__chat_own_render(const weir_chat_own *o, const weir_chat_message *messages, size_t n,
                                  bool add_generation_prompt, weir_jinja_text *out, weir_err *err) {
    if (n == 0) return weir_fail(err, WEIR_EINVAL, "a conversation without a message");
    weir_jinja_input *list = weir_alloc(n, 3 * sizeof *list);
    if (!list) return weir_fail(err, WEIR_ENOMEM, "no memory for %zu messages", n);
    fill_messages(messages, n, list, list + n);
    const weir_status s = render(o, list, n, add_generation_prompt, out, err);
    weir_free(list);
    return s;
}

/* ---- what it does ----------------------------------------------------------------------------------- */

#define SAY(who, words) \
    { .role = who, .content = words, .bytes = sizeof(words) - 1 }

/* An answer that no template writes by itself. */
static const char ANSWER[] = "Quite so, 7 owls.";

/* The template's span after the last one that ends in the answer. */
static const weir_jinja_span *find_after(const weir_jinja_text *t) {
    const size_t n = sizeof ANSWER - 1;
    for (size_t i = t->n; i-- > 0;) {
        const weir_jinja_span *s = &t->spans[i];
        if (s->of_template || s->bytes < n || !memmem(s->text, s->bytes, ANSWER, n)) continue;
        return i + 1 < t->n ? &t->spans[i + 1] : NULL;
    }
    return NULL;
}

weir_status weir__chat_own_after_answer(const weir_chat_own *o, char **text, size_t *bytes, weir_err *err) {
    static const weir_chat_message talk[] = {
        SAY("user", "a"), {"assistant", ANSWER, sizeof ANSWER - 1}, SAY("user", "b")};
    const weir_jinja_span none = {.text = ""}, *after = NULL;
    weir_jinja_text t = {0};
    for (size_t n = 2; n <= 3 && !after;
         n++) { /* the last turn may stay open: then what the next one begins with */
        weir__jinja_text_free(&t);
        if (weir__chat_own_render(o, talk, n, false, &t, err) == WEIR_ENOMEM) return WEIR_ENOMEM;
        after = find_after(&t);
    }
    if (!after) after = &none;
    char *copy = weir_alloc(after->bytes, 1);
    if (copy && after->bytes > 0) memcpy(copy, after->text, after->bytes);
    *bytes = after->bytes;
    weir__jinja_text_free(&t);
    if (!copy) return weir_fail(err, WEIR_ENOMEM, "no memory for a chat template");
    *text = copy;
    return WEIR_OK;
}

/* Whether both write the same, or both refuse. */
static bool agree(const weir_chat_own *o, const weir_chat_template *t, const weir_chat_message *talk,
                  size_t n, bool generate) {
    weir_jinja_text mine = {0};
    weir_chat_text theirs = {0};
    size_t at = 0;
    const weir_status a = weir__chat_own_render(o, talk, n, generate, &mine, NULL);
    const weir_status b = weir_chat_render(t, talk, n, generate, &theirs, NULL);
    bool same = a == WEIR_OK && b == WEIR_OK;
    for (size_t i = 0; same && i < theirs.n; at += theirs.segments[i++].bytes) {
        const weir_segment *s = &theirs.segments[i];
        same = s->bytes <= mine.bytes - at && memcmp(mine.text + at, s->text, s->bytes) == 0;
    }
    same = same && at == mine.bytes;
    weir__jinja_text_free(&mine);
    weir_chat_text_free(&theirs);
    return same;
}

/* Turns in the order that every template takes, with white space and thoughts that some treat in their own
 * way. */
const weir_chat_template *weir__chat_own_format(const weir_chat_own *o) {
    static const weir_chat_message talk[] = {SAY("system", " Be brief. \n"),
                                             SAY("user", "\n  a <b> 'c'\t"),
                                             SAY("assistant", "<think>\nhm\n</think>\n\n yes "),
                                             SAY("user", "d\n\n"),
                                             SAY("assistant", "<think>\nso\n</think>\n\nno"),
                                             SAY("user", "e")};
    static const struct {
        size_t from, n;
        bool generate;
    } parts[] = {{1, 1, true}, {0, 2, true},  {0, 4, true}, {1, 5, true},
                 {0, 6, true}, {0, 3, false}, {1, 4, false}};
    const weir_chat_template *t = NULL;
    for (int i = 0; (t = weir_chat_template_at(i)) != NULL; i++) {
        size_t k = 0;
        while (t->remembers && k < sizeof parts / sizeof *parts &&
               agree(o, t, talk + parts[k].from, parts[k].n, parts[k].generate))
            k++;
        if (k == sizeof parts / sizeof *parts) return t;
    }
    return NULL;
}
