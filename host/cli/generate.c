#include <stdio.h>
#include <string.h>

#include "host/cli/cli.h"
#include "host/cli/io/marks.h"
#include "host/cli/io/terminal.h"
#include "host/cli/io/totals.h"
#include "host/cli/options/source.h"
#include "host/wire/answer.h"

/* Up to --parallel prompts are in the queue at once. Answers leave in input order: the
 * oldest unfinished one (the head) prints as its tokens come, later ones gather in their own buffers until
 * they are the head. */

typedef struct run run;

typedef struct job {
    struct job *next; /* in input order */
    run *run;
    int64_t index;
    wire_request request;
    weir_request *asked; /* NULL once finished */
    wire_buf text;       /* what is to be printed; all of it once finished */
    size_t printed;
    cli_marks marks;
    bool finished;
} job;

struct run {
    const cli_args *args;
    weir_engine *engine;
    weir_queue *queue;
    weir_engine_facts facts;
    cli_source source;
    bool json, sources, colours, one_line;
    job *head, *tail;
    int parallel; /* prompts that are answered at once */
    int64_t n_started, n_done, n_token;
    bool closed; /* nothing more is read */
    bool lost;   /* nothing more can be answered */
    int rc;      /* the first failure */
    cli_totals totals;
    terminal_bar bar;
};

static void fail_run(run *r, int rc) {
    if (r->rc == CLI_OK) r->rc = rc;
    r->closed = true;
}

/* ---- printing ------------------------------------------------------------------------------------------ */

static void print_head(run *r) {
    while (r->head) {
        job *j = r->head;
        if (j->text.len > j->printed) {
            cli_out(j->text.data + j->printed, j->text.len - j->printed);
            j->printed = j->text.len;
            cli_out_flush();
        }
        if (!j->finished) return;
        r->head = j->next;
        if (!r->head) r->tail = NULL;
        wire_buf_free(&j->text);
        wire_request_free(&j->request);
        weir_free(j);
    }
}

static bool add_text(const job *owner, wire_buf *b, const char *text, size_t n) {
    if (!owner->run->one_line) return wire_buf_add(b, text, n);
    for (size_t i = 0; i < n; i++) {
        char c = text[i] == '\n' || text[i] == '\r' ? ' ' : text[i];
        if (!wire_buf_add(b, &c, 1)) return false;
    }
    return true;
}

static void take_tokens(run *r, job *j, const weir_queue_event *ev) {
    r->n_token += (int64_t)ev->n_token;
    for (size_t i = 0; i < ev->n_token && !r->json; i++) {
        const weir_token_event *t = &ev->tokens[i];
        if (t->bytes == 0) continue;
        if (!cli_marks_open(&j->marks, &j->text, t->source) || !add_text(j, &j->text, t->text, t->bytes))
            fail_run(r, cli_fail(CLI_FAILED, "out of memory for an answer"));
    }
    print_head(r);
}

/* ---- jobs ---------------------------------------------------------------------------------------------- */

static int start_job(run *r, wire_request *request) {
    job *j = cli_alloc(1, sizeof *j);
    if (!j) return CLI_FAILED;
    *j = (job){.run = r, .index = r->n_started, .request = *request, .marks = {r->sources, r->colours, -1}};
    weir_err err = {{0}};
    weir_queue_job asked = weir_queue_job_default();
    asked.options = j->request.o, asked.prompt = j->request.ids, asked.n_prompt = j->request.n_ids;
    asked.ud = j;
    const weir_status s = weir_queue_submit(r->queue, &asked, 1, &j->asked, &err);
    if (s != WEIR_OK) {
        const char *text = err.text[0] ? err.text : weir_status_str(s);
        if (request->number)
            cli_fail(CLI_FAILED, "%s:%ld: %s", cli_source_name(&r->source), request->number, text);
        else
            cli_fail(CLI_FAILED, "%s: %s", cli_source_name(&r->source), text);
        weir_free(j);
        return CLI_FAILED;
    }
    *request = (wire_request){0};
    if (r->tail)
        r->tail->next = j;
    else
        r->head = j;
    r->tail = j;
    r->n_started++;
    return CLI_OK;
}

static void finish_job(run *r, job *j, const weir_session_view *v) {
    cli_totals_add(&r->totals, &j->request.o, v);
    int rc = CLI_OK;
    if (r->json) {
        rc = cli_json_write(wire_answer_json(j->index, &j->request.o, v, r->facts.has_tokenizer), &j->text);
    } else if (!cli_marks_close(&j->marks, &j->text) || !wire_buf_puts(&j->text, "\n")) {
        rc = cli_fail(CLI_FAILED, "out of memory for an answer");
    }
    if (rc) fail_run(r, rc);
    weir_request_free(j->asked);
    j->asked = NULL;
    j->finished = true;
    r->n_done++;
}

/* ELOGITS ends the one answer it is about; after anything else no further one can be trusted. */
static void take_end(run *r, job *j, const weir_queue_event *ev) {
    if (ev->status != WEIR_OK) fail_run(r, cli_fail(CLI_FAILED, "%s", ev->err.text));
    r->lost = ev->status != WEIR_OK && ev->status != WEIR_ELOGITS;
    if (!r->lost) finish_job(r, j, &ev->view);
    print_head(r);
}

/* Takes prompts while there is room for them. Waits for input only when nothing else is to be done. */
static void refill(run *r) {
    while (!r->closed && r->n_started - r->n_done < r->parallel) {
        wire_request request = {0};
        cli_read got = cli_source_next(&r->source, r->n_started == r->n_done, &request);
        if (got == CLI_READ_LATER) return;
        if (got == CLI_READ_END || got == CLI_READ_STOPPED) r->closed = true;
        if (got == CLI_READ_FAILED) fail_run(r, CLI_FAILED);
        if (got != CLI_READ_LINE) return;
        int rc = start_job(r, &request);
        wire_request_free(&request);
        if (rc) fail_run(r, rc);
    }
}

static void cancel_all(run *r) {
    for (job *j = r->head; j; j = j->next)
        if (j->asked) weir_queue_cancel(j->asked);
    r->closed = true;
}

/* False when nothing is left. */
static bool next_event(run *r) {
    if (terminal_signal() || cli_out_failed()) cancel_all(r);
    refill(r);
    weir_queue_event ev;
    weir_queue_next(r->queue, 0.0, &ev);
    if (ev.kind == WEIR_QUEUE_TOKENS) take_tokens(r, ev.ud, &ev);
    if (ev.kind == WEIR_QUEUE_END) take_end(r, ev.ud, &ev);
    if (!r->lost) terminal_bar_show(&r->bar, r->n_done, r->source.total, r->n_token);
    return !r->lost && (r->n_done < r->n_started || !r->closed);
}

/* After a failure that ended the run: complete answers are printed, but as text only up to the first one that
 * is not, since a line's number is what ties it to its prompt. */
static void drop_jobs(run *r) {
    print_head(r);
    if (r->head && r->head->printed > 0)
        cli_outs(r->head->marks.source >= 0 && r->colours ? "\033[0m\n" : "\n");
    while (r->head) {
        job *j = r->head;
        r->head = j->next;
        if (r->json && j->finished) cli_out(j->text.data, j->text.len);
        weir_request_free(j->asked);
        wire_buf_free(&j->text);
        wire_request_free(&j->request);
        weir_free(j);
    }
}

/* ---- the command --------------------------------------------------------------------------------------- */

static int prepare(run *r, const cli_args *a) {
    int rc = cli_session(a, &r->source.defaults);
    if (rc) return rc;
    rc = cli_source_open(&r->source, a);
    if (rc) return rc;
    r->json = cli_flag(a, OPT_JSONL) || r->source.kind == SOURCE_JSONL;
    r->sources = cli_flag(a, OPT_SHOW_SOURCES) && !r->json;
    r->colours = terminal_colours();
    r->one_line = r->source.kind == SOURCE_LINES;
    r->parallel = cli_int(a, OPT_PARALLEL);
    return CLI_OK;
}

static void work(run *r) {
    r->source.engine = r->engine;
    cli_note_setting(&r->facts, &r->source.defaults);
    if (r->sources && !cli_flag(r->args, OPT_QUIET)) terminal_legend(r->colours);
    terminal_bar_start(&r->bar, r->source.kind != SOURCE_ONE && !cli_flag(r->args, OPT_QUIET));
    terminal_catch_signals();
    double start = weir_seconds();
    while (next_event(r)) continue;
    r->totals.seconds = weir_seconds() - start;
    terminal_bar_end(&r->bar);
    drop_jobs(r);
    cli_out_flush();
    if (cli_flag(r->args, OPT_STATS)) cli_totals_print(&r->totals);
}

int cli_generate(const cli_args *a) {
    run r = {.args = a, .source.reader.fd = -1};
    r.rc = prepare(&r, a);
    if (r.rc == CLI_OK) r.rc = cli_open(a, false, &r.engine);
    if (r.rc == CLI_OK) {
        weir_engine_get_facts(r.engine, &r.facts);
        r.rc = cli_fit_context(a, &r.facts, &r.source.defaults);
    }
    if (r.rc == CLI_OK) r.rc = cli_queue_open(r.engine, &r.queue);
    if (r.rc == CLI_OK) work(&r);
    weir_queue_close(r.queue);
    cli_source_close(&r.source);
    weir_engine_close(r.engine);
    return terminal_signal() ? 128 + terminal_signal() : r.rc;
}
