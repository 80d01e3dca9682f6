#include <stdio.h>
#include <string.h>

#include "host/cli/cli.h"
#include "host/cli/io/marks.h"
#include "host/cli/io/terminal.h"
#include "host/cli/io/totals.h"
#include "host/cli/options/source.h"
#include "host/wire/answer.h"

/* Up to --parallel sessions are stepped together. Answers leave in input order: the oldest unfinished one
 * (the head) prints as its tokens come, later ones gather in their own buffers until they are the head. */

typedef struct run run;

typedef struct job {
    struct job *next; /* in input order */
    run *run;
    int64_t index;
    wire_request request;
    weir_session *session; /* NULL once finished */
    wire_buf text;         /* what is to be printed; all of it once finished */
    size_t printed;
    cli_marks marks;
    bool finished;
} job;

struct run {
    const cli_args *args;
    weir_engine *engine;
    weir_engine_facts facts;
    cli_source source;
    bool json, sources, colours, one_line;
    job *head, *tail;
    job **active;           /* (parallel), n_active of them set; in the order of `stepped` */
    weir_session **stepped; /* (parallel) */
    int parallel, n_active;
    int64_t n_started, n_done, n_token;
    bool closed; /* nothing more is read */
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

static bool on_token(void *ud, weir_session *s, const weir_token_event *ev) {
    (void)s;
    job *j = ud;
    run *r = j->run;
    r->n_token++;
    if (!r->json && ev->bytes > 0) {
        bool ok =
            cli_marks_open(&j->marks, &j->text, ev->source) && add_text(j, &j->text, ev->text, ev->bytes);
        if (!ok) fail_run(r, cli_fail(CLI_FAILED, "out of memory for an answer"));
        print_head(r);
    }
    return !terminal_signal() && !cli_out_failed();
}

/* ---- jobs ---------------------------------------------------------------------------------------------- */

static int start_job(run *r, wire_request *request) {
    job *j = cli_alloc(1, sizeof *j);
    if (!j) return CLI_FAILED;
    *j = (job){.run = r, .index = r->n_started, .request = *request, .marks = {r->sources, r->colours, -1}};
    weir_err err = {{0}};
    weir_status s = weir_session_create(r->engine, &j->request.o, j->request.ids, j->request.n_ids, on_token,
                                        j, &j->session, &err);
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
    r->active[r->n_active] = j;
    r->stepped[r->n_active++] = j->session;
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
    weir_session_free(j->session);
    j->session = NULL;
    j->finished = true;
    r->n_done++;
}

static void collect(run *r) {
    int kept = 0;
    for (int i = 0; i < r->n_active; i++) {
        job *j = r->active[i];
        weir_session_view v;
        weir_session_get(j->session, &v);
        if (v.finish != WEIR_RUNNING) {
            finish_job(r, j, &v);
            continue;
        }
        r->active[kept] = j;
        r->stepped[kept++] = j->session;
    }
    r->n_active = kept;
    print_head(r);
}

/* Takes prompts while there is room for them. Waits for input only when nothing else is to be done. */
static void refill(run *r) {
    while (!r->closed && r->n_active < r->parallel) {
        wire_request request = {0};
        cli_read got = cli_source_next(&r->source, r->n_active == 0, &request);
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
    for (int i = 0; i < r->n_active; i++) weir_session_cancel(r->stepped[i]);
    r->closed = true;
}

/* One round of the loop; false when nothing is left. */
static bool round_of_steps(run *r) {
    if (terminal_signal() || cli_out_failed()) cancel_all(r);
    refill(r);
    if (r->n_active == 0) return false;
    /* A slot that falls free inside a call stays empty until it returns: one block where others could fill
     * it. Calls of a device are dearer than its blocks. */
    int blocks = r->parallel > 1 ? 1 : 4;
    if (!r->facts.isa) blocks *= 8;
    weir_err err = {{0}};
    weir_status s = weir_step(r->engine, r->stepped, r->n_active, blocks, &err);
    if (s != WEIR_OK) {
        fail_run(r, cli_fail(CLI_FAILED, "%s", err.text[0] ? err.text : weir_status_str(s)));
    }
    collect(r);
    /* ELOGITS ends the one session it names; after anything else no further step can be trusted. */
    if (s != WEIR_OK && s != WEIR_ELOGITS) return false;
    terminal_bar_show(&r->bar, r->n_done, r->source.total, r->n_token);
    return true;
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
        weir_session_free(j->session);
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
    r->active = cli_alloc((size_t)r->parallel, sizeof *r->active);
    r->stepped = cli_alloc((size_t)r->parallel, sizeof *r->stepped);
    return r->active && r->stepped ? CLI_OK : CLI_FAILED;
}

static void work(run *r) {
    r->source.engine = r->engine;
    r->source.has_draft = r->facts.has_draft;
    cli_note_setting(&r->facts, &r->source.defaults);
    if (r->sources && !cli_flag(r->args, OPT_QUIET)) terminal_legend(r->colours);
    terminal_bar_start(&r->bar, r->source.kind != SOURCE_ONE && !cli_flag(r->args, OPT_QUIET));
    terminal_catch_signals();
    double start = weir_seconds();
    while (round_of_steps(r)) continue;
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
    if (r.rc == CLI_OK) work(&r);
    cli_source_close(&r.source);
    weir_engine_close(r.engine);
    weir_free(r.active);
    weir_free(r.stepped);
    return terminal_signal() ? 128 + terminal_signal() : r.rc;
}
