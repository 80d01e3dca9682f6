/* Lines of any length and bytes; and what they do when memory ends. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/cli/cli.h"
#include "host/cli/io/reader.h"
#include "host/wire/object.h"
#include "tests/support/alloc.h"

/* A reader over bytes, through a pipe or a file. */
static cli_reader reader_of(const char *bytes, size_t n) {
    char path[] = "/tmp/weir_io_XXXXXX";
    int fd = mkstemp(path);
    cr_assert(fd >= 0 && write(fd, bytes, n) == (ssize_t)n);
    close(fd);
    cli_reader r;
    cr_assert(cli_reader_open(&r, path) == CLI_OK);
    unlink(path);
    return r;
}

Test(reader, lines_keep_nul_bytes_and_lose_line_ends_only) {
    static const char text[] = "one\n\nt\0o\r\nlast";
    cli_reader r = reader_of(text, sizeof text - 1);
    cr_expect(cli_reader_count(&r) == 4);
    static const struct {
        const char *s;
        size_t n;
    } want[] = {{"one", 3}, {"", 0}, {"t\0o", 3}, {"last", 4}};
    for (int i = 0; i < 4; i++) {
        const char *line;
        size_t n;
        cr_assert(cli_reader_next(&r, true, &line, &n) == CLI_READ_LINE);
        cr_expect(n == want[i].n && memcmp(line, want[i].s, n) == 0, "line %d", i);
        cr_expect(r.line == i + 1);
    }
    const char *line;
    size_t n;
    cr_expect(cli_reader_next(&r, true, &line, &n) == CLI_READ_END);
    cr_expect(cli_reader_next(&r, true, &line, &n) == CLI_READ_END);
    cli_reader_close(&r);
}

Test(reader, lines_longer_than_any_buffer) {
    enum { N = 5 << 20 };
    char *text = malloc(N);
    memset(text, 'x', N);
    text[N / 2] = '\n';
    cli_reader r = reader_of(text, N);
    const char *line;
    size_t n;
    cr_assert(cli_reader_next(&r, true, &line, &n) == CLI_READ_LINE && n == N / 2);
    cr_assert(cli_reader_next(&r, true, &line, &n) == CLI_READ_LINE && n == N - N / 2 - 1);
    cli_reader_close(&r);
    free(text);
}

Test(reader, a_line_that_is_not_there_yet_is_not_waited_for) {
    int fd[2];
    cr_assert(pipe(fd) == 0);
    cli_reader r = {.fd = fd[0], .name = "pipe"};
    const char *line;
    size_t n;
    cr_expect(cli_reader_next(&r, false, &line, &n) == CLI_READ_LATER);
    cr_assert(write(fd[1], "ab", 2) == 2);
    cr_expect(cli_reader_next(&r, false, &line, &n) == CLI_READ_LATER);
    cr_assert(write(fd[1], "c\nx\nd", 5) == 5);
    cr_expect(cli_reader_next(&r, false, &line, &n) == CLI_READ_LINE && n == 3 &&
              memcmp(line, "abc", 3) == 0);
    /* within what was scanned */
    cr_expect(cli_reader_next(&r, false, &line, &n) == CLI_READ_LINE && n == 1 && *line == 'x');
    cr_expect(cli_reader_next(&r, false, &line, &n) == CLI_READ_LATER);
    close(fd[1]);
    cr_expect(cli_reader_next(&r, false, &line, &n) == CLI_READ_LINE && n == 1);
    cr_expect(cli_reader_next(&r, false, &line, &n) == CLI_READ_END);
    cli_reader_close(&r);
}

/* Reads and parses a small input with fewer and fewer failures; every round must leave nothing behind. */
static int read_and_parse(int fd) {
    cli_reader r = {.fd = dup(fd), .name = "input"};
    lseek(fd, 0, SEEK_SET);
    const char *text;
    size_t n;
    wire_object o = {0};
    weir_err err = {{0}};
    int32_t *ids = NULL;
    float *x = NULL;
    int rc = cli_reader_next(&r, true, &text, &n) == CLI_READ_LINE ? CLI_OK : CLI_FAILED;
    if (!rc && wire_object_parse(&o, text, n, &err)) rc = cli_reader_fail(&r, WEIR_EFORMAT, &err);
    if (!rc && wire_read_ids(&o, "ids", &ids, &n, NULL, &err)) rc = cli_reader_fail(&r, WEIR_EINVAL, &err);
    if (!rc && wire_read_floats(&o, "x", &x, &n, NULL, &err)) rc = cli_reader_fail(&r, WEIR_EINVAL, &err);
    wire_buf b = {0};
    if (!rc) rc = cli_json_write(wire_floats(x, n), &b);
    wire_buf_free(&b);
    weir_free(ids);
    weir_free(x);
    wire_object_free(&o);
    cli_reader_close(&r);
    return rc;
}

Test(reader, no_memory_is_an_error_and_leaves_nothing_behind) {
    char path[] = "/tmp/weir_io_XXXXXX";
    int fd = mkstemp(path);
    unlink(path);
    static const char text[] =
        "{\"ids\": [1, 2, 3], \"x\": [0.5, -1], \"n\": 18446744073709551615, \"m\": 1e999}\n";
    cr_assert(write(fd, text, sizeof text - 1) == (ssize_t)(sizeof text - 1));
    bool done = false;
    for (long fail_at = 1; !done; fail_at++) {
        cr_assert(fail_at < 1000);
        alloc_install(fail_at);
        int rc = read_and_parse(fd);
        long live = alloc_live();
        done = rc == CLI_OK;
        alloc_uninstall();
        cr_assert(live == 0, "%ld blocks left when allocation %ld fails", live, fail_at);
    }
    close(fd);
}
