#include "host/cli/cli.h"
#include "host/cli/io/terminal.h"

enum { MAX_ROWS = 64 };

/* Well past the caches of a desktop part, and small enough that the copy is a moment. */
#define COPY_BYTES ((size_t)128 << 20)
#define COPY_REPEAT 10

typedef struct report {
    weir_engine_facts facts;
    weir_bench_row row[MAX_ROWS];
    int n;
    double copy; /* bytes read and written a second */
    int repeat, n_prompt, gamma;
} report;

static double gbps(const weir_bench_row *r) { return 1e-9 * weir_bench_rate(r); }

static void print_table(const report *b) {
    char device[420];
    cli_device_text(&b->facts, device, sizeof device);
    cli_outf("device %s, prompt %d tokens, gamma %d, median of %d runs, copy %.1f GB/s\n", device,
             b->n_prompt, b->gamma, b->repeat, 1e-9 * b->copy);
    cli_outf("%-32s %5s %12s %12s %9s %7s\n", "part", "rows", "us p50", "us p99", "GB/s", "% copy");
    for (int i = 0; i < b->n; i++) {
        const weir_bench_row *r = &b->row[i];
        cli_outf("%-32s %5d %12.2f %12.2f %9.2f %7.1f\n", r->name, r->rows, 1e6 * r->seconds_p50,
                 1e6 * r->seconds_p99, gbps(r), weir_bench_percent(r, b->copy));
    }
}

static void print_csv(const report *b) {
    char line[WEIR_BENCH_CSV_MAX];
    cli_outs(WEIR_BENCH_CSV "\n");
    for (int i = 0; i < b->n; i++) {
        weir_bench_csv(&b->row[i], b->copy, line, sizeof line);
        cli_outf("%s\n", line);
    }
}

static int print_json(const report *b) {
    json_t *rows = json_array(), *out = json_object();
    for (int i = 0; i < b->n; i++) {
        const weir_bench_row *r = &b->row[i];
        json_t *o = json_object();
        wire_set(o, "part", json_string(r->name));
        wire_set(o, "rows", json_integer(r->rows));
        wire_set(o, "us_p50", wire_real(1e6 * r->seconds_p50));
        wire_set(o, "us_p99", wire_real(1e6 * r->seconds_p99));
        wire_set(o, "bytes", wire_real(r->bytes));
        wire_set(o, "gbps", wire_real(gbps(r)));
        wire_set(o, "percent_of_copy", wire_real(weir_bench_percent(r, b->copy)));
        wire_add(rows, o);
    }
    wire_set_device(out, &b->facts);
    wire_set(out, "n_prompt", json_integer(b->n_prompt));
    wire_set(out, "gamma", json_integer(b->gamma));
    wire_set(out, "repeat", json_integer(b->repeat));
    wire_set(out, "copy_gbps", wire_real(1e-9 * b->copy));
    wire_set(out, "parts", rows);
    return cli_json_write(out, NULL);
}

static int measure(const cli_args *a, weir_engine *e, report *b) {
    weir_engine_get_facts(e, &b->facts);
    b->repeat = cli_int(a, OPT_REPEAT);
    b->n_prompt = cli_int(a, OPT_N_PROMPT);
    const int rc = cli_fixed_gamma(a, &b->gamma);
    if (rc) return rc;
    if (b->n_prompt > b->facts.ctx_size) {
        return cli_fail(CLI_USAGE, "--n-prompt %d: out of range, expected 1 to %d (--ctx-size)", b->n_prompt,
                        b->facts.ctx_size);
    }
    b->copy = weir_bench_copy(e, COPY_BYTES, COPY_REPEAT);
    weir_err err = {{0}};
    weir_status s =
        weir_bench(e, b->n_prompt, cli_int(a, OPT_ROWS), b->gamma, b->repeat, b->row, MAX_ROWS, &b->n, &err);
    if (s == WEIR_ECANCELED) return 128 + terminal_signal();
    return s == WEIR_OK ? CLI_OK : cli_fail(CLI_FAILED, "%s", err.text[0] ? err.text : weir_status_str(s));
}

int cli_bench(const cli_args *a) {
    if (cli_flag(a, OPT_JSON) && cli_flag(a, OPT_CSV))
        return cli_fail(CLI_USAGE, "give one of --json and --csv");
    weir_engine *e = NULL;
    int rc = cli_open(a, false, &e);
    if (rc) return rc;
    report b = {.n = 0};
    terminal_catch_signals();
    rc = measure(a, e, &b);
    if (!rc && cli_flag(a, OPT_JSON))
        rc = print_json(&b);
    else if (!rc && cli_flag(a, OPT_CSV))
        print_csv(&b);
    else if (!rc)
        print_table(&b);
    weir_engine_close(e);
    return rc;
}
