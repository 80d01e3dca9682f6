#include "host/chat/chat.h"

#include <string.h>

#include "host/tokenizers/text/white.h"
#include "kernels/base/mem.h"

/* The formats, after the templates that their checkpoints carry. A template says `trim` where it strips:
 * Python's str.strip, Unicode white space at both ends. */

typedef enum role { SYSTEM, USER, ASSISTANT, N_ROLE } role;
static const char *const role_names[N_ROLE] = {"system", "user", "assistant"};
static const char *const role_lines[N_ROLE] = {"system\n", "user\n", "assistant\n"};

/* Most segments of one message (Qwen3's answer with its thinking), and of what stands around all messages. */
enum { PER_MESSAGE = 12, AROUND = 24 };

typedef struct text {
    const char *p;
    size_t n;
} text;

typedef struct writer {
    weir_segment *segments;
    size_t n;
} writer;

typedef struct style style;
typedef struct talk {
    const style *style;
    const weir_chat_message *messages;
    size_t n;
    weir_chat_ending ending;
} talk;

struct style {
    weir_chat_template facts;
    weir_status (*render)(const talk *t, writer *w, weir_err *err);
    const char *system; /* what stands for a system message where the first message is none; NULL: nothing */
    bool thinks;        /* answers may begin with <think> */
    bool silent;        /* an answer begins with thinking that is over */
    bool dated;         /* the system turn is always there, and begins with two dates */
};

/* ---- pieces -------------------------------------------------------------------------------------------- */

static void put(writer *w, text t, bool special) {
    if (t.n > 0) w->segments[w->n++] = (weir_segment){.text = t.p, .bytes = t.n, .special = special};
}

static text literal(const char *s) { return (text){s, strlen(s)}; }
static void put_token(writer *w, const char *name) { put(w, literal(name), true); }
static void put_text(writer *w, const char *s) { put(w, literal(s), false); }

static role role_at(const talk *t, size_t i) {
    int r = SYSTEM;
    while (r < N_ROLE && strcmp(role_names[r], t->messages[i].role) != 0) r++;
    return (role)r;
}

/* Nothing follows the content of this message. */
static bool stays_open(const talk *t, size_t i) { return t->ending == WEIR_CHAT_OPEN && i + 1 == t->n; }

static text content_at(const talk *t, size_t i) {
    return (text){t->messages[i].content, t->messages[i].bytes};
}

static text trim_left(text t) {
    weir__white_strip_left(&t.p, &t.n);
    return t;
}

static text trim_right(text t) {
    weir__white_strip_right(t.p, &t.n);
    return t;
}

static text trim(text t) { return trim_right(trim_left(t)); }

static text trim_newlines(text t, bool left, bool right) {
    for (; left && t.n > 0 && t.p[0] == '\n'; t.n--) t.p++;
    while (right && t.n > 0 && t.p[t.n - 1] == '\n') t.n--;
    return t;
}

/* Where word begins in t: its first or its last place; NULL if nowhere. */
static const char *find(text t, const char *word, bool last) {
    const size_t n = strlen(word);
    const char *found = NULL;
    for (text rest = t; rest.n >= n;) {
        const char *p = memmem(rest.p, rest.n, word, n);
        if (!p) break;
        found = p;
        if (!last) break;
        rest = (text){p + n, rest.n - (size_t)(p + n - rest.p)};
    }
    return found;
}

/* ---- order of roles ------------------------------------------------------------------------------------ */

static weir_status refuse(const talk *t, size_t i, weir_err *err, const char *why) {
    return weir_fail(err, WEIR_EINVAL, "message %zu (%s): template %s %s", i, t->messages[i].role,
                     t->style->facts.name, why);
}

/* Templates whose system text is part of the first user turn: then user and assistant in turn. *first: the
 * first of them. */
static weir_status check_turns(const talk *t, size_t *first, weir_err *err) {
    *first = role_at(t, 0) == SYSTEM ? 1 : 0;
    if (*first == t->n)
        return refuse(t, 0, err, "has the system's words in the first user message: there is none");
    for (size_t i = *first; i < t->n; i++)
        if (role_at(t, i) != ((i - *first) % 2 == 0 ? USER : ASSISTANT))
            return refuse(t, i, err, "wants user and assistant in turn, the user first");
    return WEIR_OK;
}

/* ---- ChatML: Qwen, SmolLM2 and many others ------------------------------------------------------------- */

static void begin_chatml(writer *w, role r) {
    put_token(w, "<|im_start|>");
    put_text(w, role_lines[r]);
}

static void end_chatml(writer *w) {
    put_token(w, "<|im_end|>");
    put_text(w, "\n");
}

/* Qwen3 counts what follows the last question as one answer: the thinking of earlier ones is left out, its
 * own stays. Tool responses do not count as questions. */
static size_t last_question(const talk *t) {
    for (size_t i = t->n; i-- > 0;) {
        static const char open[] = "<tool_response>", close[] = "</tool_response>";
        const size_t n_open = sizeof open - 1, n_close = sizeof close - 1;
        const text c = content_at(t, i);
        const bool response = c.n >= n_open && c.n >= n_close && memcmp(c.p, open, n_open) == 0 &&
                              memcmp(c.p + c.n - n_close, close, n_close) == 0;
        if (role_at(t, i) == USER && !response) return i;
    }
    return t->n - 1;
}

static void put_thinking(writer *w, text thoughts) {
    put_token(w, "<think>");
    put_text(w, "\n");
    put(w, thoughts, false);
    put_text(w, "\n");
    put_token(w, "</think>");
    put_text(w, "\n\n");
}

static void put_thoughtful(writer *w, const talk *t, size_t i, size_t question) {
    static const char open[] = "<think>", close[] = "</think>";
    text answer = content_at(t, i), thoughts = {"", 0};
    const text all = answer;
    const char *end = find(all, close, false), *last = find(all, close, true);
    if (end) {
        thoughts = trim_newlines((text){all.p, (size_t)(end - all.p)}, false, true);
        const char *begin = find(thoughts, open, true);
        if (begin) {
            begin += sizeof open - 1;
            thoughts = (text){begin, thoughts.n - (size_t)(begin - thoughts.p)};
        }
        thoughts = trim_newlines(thoughts, true, false);
        last += sizeof close - 1;
        answer = trim_newlines((text){last, all.n - (size_t)(last - all.p)}, true, false);
    }
    if (i > question && (i + 1 == t->n || thoughts.n > 0)) {
        put_thinking(w, trim_newlines(thoughts, true, true));
        answer = trim_newlines(answer, true, false);
    }
    put(w, answer, false);
}

static weir_status render_chatml(const talk *t, writer *w, weir_err *err) {
    (void)err;
    const style *s = t->style;
    if (s->system && role_at(t, 0) != SYSTEM) {
        begin_chatml(w, SYSTEM);
        put_text(w, s->system);
        end_chatml(w);
    }
    const size_t question = s->thinks ? last_question(t) : 0;
    for (size_t i = 0; i < t->n; i++) {
        const role r = role_at(t, i);
        begin_chatml(w, r);
        if (s->thinks && r == ASSISTANT)
            put_thoughtful(w, t, i, question);
        else
            put(w, content_at(t, i), false);
        if (!stays_open(t, i)) end_chatml(w);
    }
    if (t->ending != WEIR_CHAT_ANSWER) return WEIR_OK;
    begin_chatml(w, ASSISTANT);
    if (s->silent) put_thinking(w, (text){"", 0});
    return WEIR_OK;
}

/* ---- Llama 3 ------------------------------------------------------------------------------------------- */

/* The template of 3.1 and 3.3 has this day in it. That of 3.2 asks its renderer for the clock and takes the
 * same day where there is none: there is none here, so that a prompt is the same prompt tomorrow. */
static const char llama3_dates[] = "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n";

static void put_llama3_header(writer *w, role r) {
    put_token(w, "<|start_header_id|>");
    put_text(w, role_names[r]);
    put_token(w, "<|end_header_id|>");
    put_text(w, "\n\n");
}

static weir_status render_llama3(const talk *t, writer *w, weir_err *err) {
    (void)err;
    size_t i = 0;
    put_token(w, "<|begin_of_text|>");
    if (t->style->dated) {
        put_llama3_header(w, SYSTEM);
        put_text(w, llama3_dates);
        if (role_at(t, 0) == SYSTEM) put(w, trim(content_at(t, i++)), false);
        put_token(w, "<|eot_id|>");
    }
    for (; i < t->n; i++) {
        put_llama3_header(w, role_at(t, i));
        put(w, trim(content_at(t, i)), false);
        if (!stays_open(t, i)) put_token(w, "<|eot_id|>");
    }
    if (t->ending == WEIR_CHAT_ANSWER) put_llama3_header(w, ASSISTANT);
    return WEIR_OK;
}

/* ---- Llama 2 ------------------------------------------------------------------------------------------- */

/* Its marks are plain text in its vocabulary: a message that spells one cannot be told from markup. Its
 * authors' own program refuses such messages too. */
static weir_status check_marks(const talk *t, weir_err *err) {
    static const char *const marks[] = {"[INST]", "[/INST]", "<<SYS>>", "<</SYS>>"};
    for (size_t i = 0; i < t->n; i++)
        for (int k = 0; k < 4; k++)
            if (role_at(t, i) != ASSISTANT && find(content_at(t, i), marks[k], false))
                return weir_fail(err, WEIR_EINVAL,
                                 "message %zu (%s): %s is markup of template %s and plain text in its "
                                 "vocabulary: no message may hold it",
                                 i, t->messages[i].role, marks[k], t->style->facts.name);
    return WEIR_OK;
}

static weir_status render_llama2(const talk *t, writer *w, weir_err *err) {
    size_t first = 0;
    WEIR_TRY(check_turns(t, &first, err));
    WEIR_TRY(check_marks(t, err));
    for (size_t i = first; i < t->n; i++) {
        const text content = trim(content_at(t, i));
        if (role_at(t, i) == ASSISTANT) {
            put_text(w, " ");
            put(w, content, false);
            if (stays_open(t, i)) return WEIR_OK;
            put_text(w, " ");
            put_token(w, "</s>");
            continue;
        }
        put_token(w, "<s>");
        put_text(w, "[INST] ");
        if (i == first && first > 0) {
            /* System text and first message are stripped as one: inside, white space stays. */
            const text rest = trim_right(content_at(t, i));
            put_text(w, "<<SYS>>\n");
            put(w, content_at(t, 0), false);
            put_text(w, rest.n > 0 ? "\n<</SYS>>\n\n" : "\n<</SYS>>");
            put(w, rest, false);
        } else {
            put(w, content, false);
        }
        put_text(w, " [/INST]");
    }
    return WEIR_OK;
}

/* ---- Gemma 2 and 3 ------------------------------------------------------------------------------------- */

/* Gemma 3 puts the system's words before the first user message; Gemma 2's template refuses them, and gets
 * them the same way. */
static weir_status render_gemma(const talk *t, writer *w, weir_err *err) {
    size_t first = 0;
    WEIR_TRY(check_turns(t, &first, err));
    put_token(w, "<bos>");
    for (size_t i = first; i < t->n; i++) {
        put_token(w, "<start_of_turn>");
        put_text(w, role_at(t, i) == USER ? "user\n" : "model\n");
        if (i == first && first > 0) {
            put(w, content_at(t, 0), false);
            put_text(w, "\n\n");
        }
        put(w, trim(content_at(t, i)), false);
        if (stays_open(t, i)) return WEIR_OK;
        put_token(w, "<end_of_turn>");
        put_text(w, "\n");
    }
    if (t->ending != WEIR_CHAT_ANSWER) return WEIR_OK;
    put_token(w, "<start_of_turn>");
    put_text(w, "model\n");
    return WEIR_OK;
}

/* ---- no template --------------------------------------------------------------------------------------- */

static weir_status render_plain(const talk *t, writer *w, weir_err *err) {
    for (size_t i = 0; i < t->n; i++)
        if (role_at(t, i) == SYSTEM) return refuse(t, i, err, "has no place for it");
    if (role_at(t, t->n - 1) != USER)
        return refuse(t, t->n - 1, err, "is the last message alone, which must be the user's");
    put(w, content_at(t, t->n - 1), false);
    return WEIR_OK;
}

/* ---- the table ----------------------------------------------------------------------------------------- */

#define CHATML_END \
    { "<|im_end|>", "<|endoftext|>" }

static const style styles[] = {
    {.facts = {"chatml", "ChatML: <|im_start|> and <|im_end|>; no system message of its own.", CHATML_END,
               true},
     .render = render_chatml},
    {.facts = {"qwen2", "Qwen2: ChatML, with a system message of its own where the first message is none.",
               CHATML_END, true},
     .render = render_chatml,
     .system = "You are a helpful assistant."},
    {.facts = {"qwen2.5", "Qwen2.5 and Qwen2.5-Coder: as qwen2, in other words.", CHATML_END, true},
     .render = render_chatml,
     .system = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."},
    {.facts = {"qwen3", "Qwen3, which may think: as chatml; what earlier answers thought is left out.",
               CHATML_END, true},
     .render = render_chatml,
     .thinks = true},
    {.facts = {"qwen3-nothink", "Qwen3 with thinking switched off: an answer begins with empty thoughts.",
               CHATML_END, true},
     .render = render_chatml,
     .thinks = true,
     .silent = true},
    {.facts = {"smollm2", "SmolLM2: as qwen2, in other words.", CHATML_END, true},
     .render = render_chatml,
     .system = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"},
    {.facts = {"llama2",
               "Llama 2 chat: [INST] and <<SYS>>, plain text in its vocabulary, which no message may hold.",
               {"</s>"},
               true},
     .render = render_llama2},
    {.facts = {"llama3",
               "Llama 3: headers, and <|eot_id|> after each turn.",
               {"<|eot_id|>", "<|end_of_text|>"},
               true},
     .render = render_llama3},
    {.facts = {"llama3.1",
               "Llama 3.1, 3.2 and 3.3: as llama3, after a system turn with two dates. 3.2, too, gets "
               "the day that stands in its template, 26 Jul 2024, and never the clock's.",
               {"<|eot_id|>", "<|end_of_text|>", "<|eom_id|>"},
               true},
     .render = render_llama3,
     .dated = true},
    {.facts = {"gemma",
               "Gemma 2 and 3: the system message begins the first user turn (Gemma 2's own template refuses "
               "one).",
               {"<end_of_turn>", "<eos>"},
               true},
     .render = render_gemma},
    {.facts = {"plain",
               "No template: each message alone is a prompt, nothing is remembered; also none or raw.",
               {NULL},
               false},
     .render = render_plain},
};
enum { N_STYLE = (int)(sizeof styles / sizeof styles[0]) };

const weir_chat_template *weir_chat_template_at(int i) {
    return i >= 0 && i < N_STYLE ? &styles[i].facts : NULL;
}

const weir_chat_template *weir_chat_template_find(const char *name) {
    if (strcmp(name, "none") == 0 || strcmp(name, "raw") == 0) name = "plain";
    for (int i = 0; i < N_STYLE; i++)
        if (strcmp(styles[i].facts.name, name) == 0) return &styles[i].facts;
    return NULL;
}

void weir_chat_template_names(char *buf, size_t cap) {
    size_t at = 0;
    if (cap == 0) return;
    buf[0] = '\0';
    for (int i = 0; i < N_STYLE; i++) {
        const char *comma = i > 0 ? ", " : "", *name = styles[i].facts.name;
        const size_t a = strlen(comma), n = strlen(name);
        if (at + a + n >= cap) return;
        memcpy(buf + at, comma, a);
        memcpy(buf + at + a, name, n + 1);
        at += a + n;
    }
}

/* ---- rendering ----------------------------------------------------------------------------------------- */

static weir_status check_messages(const talk *t, weir_err *err) {
    if (t->n == 0) return weir_fail(err, WEIR_EINVAL, "a conversation without a message");
    for (size_t i = 0; i < t->n; i++)
        if (role_at(t, i) == N_ROLE)
            return weir_fail(err, WEIR_EINVAL,
                             "message %zu: role %.40s is unknown, expected system, user or assistant", i,
                             t->messages[i].role);
    return WEIR_OK;
}

weir_status weir_chat_render(const weir_chat_template *t, const weir_chat_message *messages, size_t n,
                             weir_chat_ending ending, weir_chat_text *out, weir_err *err) {
    const style *s = NULL;
    for (int i = 0; i < N_STYLE; i++)
        if (&styles[i].facts == t) s = &styles[i];
    if (!s) return weir_fail(err, WEIR_EINVAL, "a chat template that is not of the table");
    const talk all = {.style = s, .messages = messages, .n = n, .ending = ending};
    WEIR_TRY(check_messages(&all, err));
    size_t cap = 0;
    writer w = {NULL, 0};
    if (!__builtin_mul_overflow(n, (size_t)PER_MESSAGE, &cap) &&
        !__builtin_add_overflow(cap, (size_t)AROUND, &cap))
        w.segments = weir_alloc(cap, sizeof *w.segments);
    if (!w.segments) return weir_fail(err, WEIR_ENOMEM, "no memory for the prompt of %zu messages", n);
    const weir_status st = s->render(&all, &w, err);
    if (st != WEIR_OK) {
        weir_free(w.segments);
        return st;
    }
    *out = (weir_chat_text){.segments = w.segments, .n = w.n, .add_special = !t->remembers};
    return WEIR_OK;
}

void weir_chat_text_free(weir_chat_text *t) {
    weir_free(t->segments);
    *t = (weir_chat_text){0};
}
