#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "host/cli/chat_command.h"
#include "host/cli/chat_turns.h"
#include "host/cli/io/terminal.h"

/* ---- an answer ----------------------------------------------------------------------------------------- */

static void on_tokens(void *ud, const weir_queue_event *ev) {
    chat *c = ud;
    for (size_t i = 0; i < ev->n_token; i++) {
        const weir_token_event *t = &ev->tokens[i];
        wire_buf b = {0};
        if (t->bytes == 0) continue;
        /* Without memory for the marks the text still comes. */
        (void)!cli_marks_open(&c->marks, &b, t->source);
        cli_out(b.data, b.len);
        cli_out(t->text, t->bytes);
        wire_buf_free(&b);
    }
    cli_out_flush();
}

static void end_line(chat *c) {
    wire_buf b = {0};
    (void)!cli_marks_close(&c->marks, &b);
    cli_out(b.data, b.len);
    cli_outs("\n");
    cli_out_flush();
    wire_buf_free(&b);
}

static int too_long(const chat *c, size_t n) {
    return cli_fail(
        CLI_FAILED,
        "the conversation has %zu tokens with this message, which is left out; the context holds %d: "
        "/reset begins a new one (or start with a larger -c)",
        n, c->facts.ctx_size);
}

/* The ids of the turns, the last of them the user's. */
static int prompt_of(const chat *c, int32_t **ids, size_t *n_ids) {
    size_t n = 0;
    weir_err err = {{0}};
    weir_chat_message *m = chat_messages(c, &n);
    if (!m) return CLI_FAILED;
    const weir_status st = weir_chat_tokenize(c->engine, m, n, false, ids, n_ids, &err);
    weir_free(m);
    if (st != WEIR_OK) return cli_fail(CLI_FAILED, "%s", chat_words(&err, st));
    /* of a decoder-only model the answer needs room, too */
    const size_t room = (size_t)c->facts.ctx_size - !c->facts.encoder_decoder;
    return *n_ids > room ? too_long(c, *n_ids) : CLI_OK;
}

/* CLI_OK, or CLI_FAILED after a message. */
static int run(chat *c, const int32_t *ids, size_t n_ids, weir_request **r, weir_queue_event *ev) {
    const weir_status st = cli_answer(c->queue, &c->o, ids, n_ids, on_tokens, c, r, ev);
    if (*r) end_line(c);
    if (st == WEIR_OK) return CLI_OK;
    c->over |= *r && st != WEIR_ELOGITS; /* nothing more can be answered */
    return cli_fail(CLI_FAILED, "%s", chat_words(&ev->err, st));
}

static void note_end(const chat *c, const weir_session_view *v) {
    if (v->finish == WEIR_FINISH_LENGTH)
        cli_note("the answer was cut at %zu tokens (%s)", v->n,
                 v->n < (size_t)c->o.max_tokens ? "--ctx-size" : "--n-predict");
    if (v->finish == WEIR_FINISH_CANCELLED && terminal_signal() == SIGINT)
        cli_note("the answer was cancelled; the conversation keeps what there is of it");
}

static void take_stats(chat *c, const weir_session_view *v, double seconds) {
    c->last = (cli_totals){.seconds = seconds};
    cli_totals_add(&c->last, &c->o, v);
    cli_totals_add(&c->all, &c->o, v);
    c->all.seconds += seconds;
}

/* The answer to the user's turn that was added last. A turn that got none is left out again. */
static int answer(chat *c) {
    int32_t *ids = NULL;
    size_t n_ids = 0;
    weir_request *r = NULL;
    weir_queue_event ev = {.kind = WEIR_QUEUE_IDLE};
    int rc = prompt_of(c, &ids, &n_ids);
    const double start = weir_seconds();
    if (rc == CLI_OK) rc = run(c, ids, n_ids, &r, &ev);
    weir_ids_free(ids);
    c->over |= cli_out_failed();
    if (ev.kind == WEIR_QUEUE_END) take_stats(c, &ev.view, weir_seconds() - start);
    if (rc == CLI_OK && !chat_add_turn(c, ev.view.text, ev.view.bytes))
        rc = cli_fail(CLI_FAILED, "out of memory for an answer");
    if (rc == CLI_OK) note_end(c, &ev.view);
    if (rc) chat_drop_turn(c);
    weir_request_free(r);
    /* An interrupt was for this answer; any other signal ends the program. */
    if (terminal_signal() == SIGINT) terminal_forget_signal();
    return rc;
}

/* ---- lines --------------------------------------------------------------------------------------------- */

static void show_prompt(const chat *c, const char *prompt) {
    if (!c->interactive || cli_flag(&c->args, OPT_QUIET)) return;
    fputs(prompt, stderr);
    fflush(stderr);
}

/* One message: a line, and the next one where it ends in a backslash, which stands for the line break. */
static cli_read read_message(chat *c, wire_buf *text) {
    show_prompt(c, "> ");
    for (;;) {
        const char *line = NULL;
        size_t n = 0;
        const cli_read got = cli_reader_next(&c->reader, true, &line, &n);
        if (got == CLI_READ_END && text->len > 0) return CLI_READ_LINE;
        if (got != CLI_READ_LINE) return got;
        const bool more = n > 0 && line[n - 1] == '\\';
        if (!wire_buf_add(text, line, more ? n - 1 : n) || (more && !wire_buf_puts(text, "\n"))) {
            cli_fail(CLI_FAILED, "out of memory for a message");
            return CLI_READ_FAILED;
        }
        if (!more) return CLI_READ_LINE;
        show_prompt(c, "  ");
    }
}

static bool blank(const wire_buf *b) { return !b->data || strspn(b->data, " \t\r\n") == b->len; }

static int do_message(chat *c, const wire_buf *text) {
    if (text->len > 0 && text->data[0] == '/') return chat_command(c, text->data);
    if (!chat_add_turn(c, text->data, text->len)) return cli_fail(CLI_FAILED, "out of memory for a message");
    return answer(c);
}

static void talk(chat *c) {
    while (!c->over && !terminal_signal()) {
        wire_buf text = {0};
        const cli_read got = read_message(c, &text);
        int rc = got == CLI_READ_FAILED ? CLI_FAILED : CLI_OK;
        if (got == CLI_READ_LINE && !blank(&text)) rc = do_message(c, &text);
        wire_buf_free(&text);
        if (rc && (!c->interactive || c->over || got == CLI_READ_FAILED)) c->rc = CLI_FAILED;
        if (got != CLI_READ_LINE) break;
    }
    if (c->interactive) show_prompt(c, "\n");
}

/* ---- the command --------------------------------------------------------------------------------------- */

static int prepare(chat *c, const cli_args *a) {
    int rc = cli_session(a, &c->o);
    if (rc == CLI_OK) rc = cli_reader_open(&c->reader, NULL);
    if (rc == CLI_OK) rc = cli_open(a, false, &c->engine);
    if (rc == CLI_OK) rc = cli_queue_open(c->engine, &c->queue);
    if (rc) return rc;
    weir_engine_get_facts(c->engine, &c->facts);
    rc = cli_fit_context(a, &c->facts, &c->o);
    if (rc) return rc;
    c->interactive = terminal_is(c->reader.fd);
    c->marks = (cli_marks){.on = cli_flag(a, OPT_SHOW_SOURCES), .colours = terminal_colours(), .source = -1};
    return chat_set_system(c, cli_text(a, OPT_SYSTEM));
}

static void introduce(const chat *c) {
    cli_note_setting(&c->facts, &c->o);
    if (c->marks.on && !cli_flag(&c->args, OPT_QUIET)) terminal_legend(c->marks.colours);
    cli_note("chat template %s; /help lists the commands, Ctrl-C stops an answer, Ctrl-D ends",
             c->facts.chat_template);
}

int cli_chat(const cli_args *a) {
    chat c = {.args = *a, .reader.fd = -1};
    c.rc = prepare(&c, a);
    if (c.rc == CLI_OK) {
        introduce(&c);
        terminal_catch_signals();
        talk(&c);
        cli_out_flush();
        if (cli_flag(a, OPT_STATS)) cli_totals_print(&c.all);
    }
    chat_forget(&c);
    weir_free(c.turns);
    weir_free(c.system);
    for (int i = 0; i < OPT_COUNT; i++) weir_free(c.owned[i]);
    cli_reader_close(&c.reader);
    weir_queue_close(c.queue);
    weir_engine_close(c.engine);
    return terminal_signal() ? 128 + terminal_signal() : c.rc;
}
