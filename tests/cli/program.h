#ifndef WEIR_TESTS_CLI_PROGRAM_H
#define WEIR_TESTS_CLI_PROGRAM_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* Runs the program as a user does and keeps all it wrote. A run that cannot be made fails the test. */

typedef struct run_spec {
    const char *line;     /* words after the program's name; '...' holds spaces; @V and @D are the demo
                               pair */
    const char *input;    /* standard input; NULL = empty */
    size_t input_len;     /* 0 = strlen(input) */
    bool hold_input;      /* standard input stays open after its bytes, until the program ends */
    const char *env[6];   /* "NAME=value"; WEIR_* and NO_COLOR of the caller are not passed on, WEIR_DEVICE
                               is cpu, WEIR_COSTS TEST_COSTS */
    const char *out_path; /* standard output goes to this file */
    bool close_out;       /* standard output is closed in the program */
    bool broken_out;      /* standard output is a pipe nobody reads */
    bool in_tty, out_tty, err_tty; /* a pseudo-terminal instead of a pipe; the input then ends with Ctrl-D,
                                      "\004" */
    bool on_runner;                /* the program with the CUDA backend in the runner of kernels */
    bool fake;                     /* the program with tests/cli/fake_engine.c behind it */
    int signal;                    /* sent once `after` was seen on standard output or error */
    const char *after;
    int wait_ms; /* or once this time has passed */
} run_spec;

typedef struct outcome {
    int rc;          /* exit status; 1000 + signal when killed */
    char *out, *err; /* zero-terminated; freed with the test process */
    size_t out_len, err_len;
} outcome;

extern const char program_weir[], program_man_page[]; /* absolute paths */

/* "/tmp/weir-NAME-PID.ENDING", for a file of this test's process; the path is valid until the next call. The
 * other, a suite's .fini, removes the last one. */
const char *own_file(const char *name, const char *ending);
void own_file_remove(void);

outcome run_spec_do(const run_spec *spec);
outcome run(const char *line); /* no input */
outcome run_with(const char *line, const char *input);

/* Fails the test unless the run ended with rc and one line on standard error that holds each of the words
 * (NULL: none). */
void expect_failure(const outcome *o, int rc, const char *word, const char *word2);
void expect_success(const outcome *o);

/* Standard output as JSON values, one a line; fails the test at the first line that is none. */
json_t *json_lines(const outcome *o);

/* A number or string by a path of keys such as "usage.prompt_tokens"; NULL where there is none. */
json_t *at(json_t *value, const char *path);

#endif /* WEIR_TESTS_CLI_PROGRAM_H */
