#include "host/chat/own.h"

#include <string.h>

#include "host/tokenizers/text/white.h"
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

/* The last place of a word that a message wrote, in span *span; NULL: there is none. */
static const char *find_last(const weir_jinja_text *t, const char *word, size_t n, size_t *span) {
    for (size_t i = t->n; i-- > 0;) {
        const weir_jinja_span *s = &t->spans[i];
        for (size_t at = s->of_template || s->bytes < n ? 0 : s->bytes - n + 1; at-- > 0;) {
            if (memcmp(s->text + at, word, n) != 0) continue;
            *span = i;
            return s->text + at;
        }
    }
    return NULL;
}

/* Messages as they are, but for the content of the last one where `last` is not NULL. */
static weir_status render_messages(const weir_chat_own *o, const weir_chat_message *messages, size_t n,
                                   const weir_jinja_input *last, bool generate, weir_jinja_text *out,
                                   weir_err *err) {
    weir_jinja_input *list = weir_alloc(n, 3 * sizeof *list);
    if (!list) return weir_fail(err, WEIR_ENOMEM, "no memory for %zu messages", n);
    fill_messages(messages, n, list, list + n);
    if (last) list[n + 2 * n - 1] = *last;
    const weir_status s = render(o, list, n, generate, out, err);
    weir_free(list);
    return s;
}

/* Ends the text at `end`, a place of span i. */
static void cut(weir_jinja_text *t, size_t i, const char *end) {
    t->spans[i].bytes = (size_t)(end - t->spans[i].text);
    t->n = t->spans[i].bytes > 0 ? i + 1 : i;
    t->bytes = (size_t)(end - t->text);
    t->text[t->bytes] = '\0';
}

/* What follows the content of a message that is to be continued. It ends in a blank, which MARK does not
 * count: where that is gone, the template strips messages. */
static const char mark[] = "Left open, 7 owls. ";
enum { MARK = sizeof mark - 2 };

/* Cuts at the mark, blanks before it included where they would have been stripped; false if the template did
 * not write the message, of so many bytes, once and to its end. */
static bool cut_at_mark(weir_jinja_text *t, size_t message) {
    size_t i = 0;
    const char *at = find_last(t, mark, MARK, &i);
    if (!at) return false;
    const size_t before = (size_t)(at - t->spans[i].text);
    const bool stripped = before + MARK >= t->spans[i].bytes || at[MARK] != ' ';
    size_t kept = before < message ? before : message;
    const char *begin = at - kept;
    if (stripped) weir__white_strip_right(begin, &kept);
    cut(t, i, begin + kept);
    return !find_last(t, mark, MARK, &i);
}

/* As transformers' continue_final_message: rendered with a mark, and cut there. */
static weir_status render_open(const weir_chat_own *o, const weir_chat_message *messages, size_t n,
                               weir_jinja_text *out, weir_err *err) {
    const weir_chat_message *m = &messages[n - 1];
    char *marked = m->bytes < SIZE_MAX - sizeof mark ? weir_alloc(m->bytes + MARK + 1, 1) : NULL;
    if (!marked) return weir_fail(err, WEIR_ENOMEM, "no memory for a message of %zu bytes", m->bytes);
    if (m->bytes > 0) memcpy(marked, m->content, m->bytes);
    memcpy(marked + m->bytes, mark, MARK + 1);
    const weir_jinja_input last = string("content", marked, m->bytes + MARK + 1, false);
    weir_jinja_text t = {0};
    const weir_status s = render_messages(o, messages, n, &last, false, &t, err);
    weir_free(marked);
    if (s != WEIR_OK) return s;
    if (!cut_at_mark(&t, m->bytes)) {
        weir__jinja_text_free(&t);
        return weir_fail(err, WEIR_ENOTSUP,
                         "chat template: message %zu is not written once and to its end: it cannot be "
                         "continued",
                         n - 1);
    }
    *out = t;
    return WEIR_OK;
}

weir_status weir__chat_own_render(const weir_chat_own *o, const weir_chat_message *messages, size_t n,
                                  weir_chat_ending ending, weir_jinja_text *out, weir_err *err) {
    if (n == 0) return weir_fail(err, WEIR_EINVAL, "a conversation without a message");
    if (ending == WEIR_CHAT_OPEN) return render_open(o, messages, n, out, err);
    return render_messages(o, messages, n, NULL, ending == WEIR_CHAT_ANSWER, out, err);
}

/* ---- what it does ----------------------------------------------------------------------------------- */

#define SAY(who, words) \
    { .role = who, .content = words, .bytes = sizeof(words) - 1 }

/* An answer that no template writes by itself. */
static const char ANSWER[] = "Quite so, 7 owls.";

/* The template's span after the last one that ends in the answer. */
static const weir_jinja_span *find_after(const weir_jinja_text *t) {
    size_t i = 0;
    return find_last(t, ANSWER, sizeof ANSWER - 1, &i) && i + 1 < t->n ? &t->spans[i + 1] : NULL;
}

weir_status weir__chat_own_after_answer(const weir_chat_own *o, char **text, size_t *bytes, weir_err *err) {
    static const weir_chat_message talk[] = {
        SAY("user", "a"), {"assistant", ANSWER, sizeof ANSWER - 1}, SAY("user", "b")};
    const weir_jinja_span none = {.text = ""}, *after = NULL;
    weir_jinja_text t = {0};
    for (size_t n = 2; n <= 3 && !after;
         n++) { /* the last turn may stay open: then what the next one begins with */
        weir__jinja_text_free(&t);
        if (weir__chat_own_render(o, talk, n, WEIR_CHAT_CLOSED, &t, err) == WEIR_ENOMEM) return WEIR_ENOMEM;
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
    const weir_chat_ending ending = generate ? WEIR_CHAT_ANSWER : WEIR_CHAT_CLOSED;
    const weir_status a = weir__chat_own_render(o, talk, n, ending, &mine, NULL);
    const weir_status b = weir_chat_render(t, talk, n, ending, &theirs, NULL);
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
