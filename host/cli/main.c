#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "host/cli/cli.h"
#include "host/cli/options/help.h"
#include "host/cli/options/profile.h"
#include "host/wire/nearest.h"
#include "host/wire/object.h"

static int (*const runs[CMD_COUNT])(const cli_args *) = {
    [CMD_GENERATE] = cli_generate, [CMD_CHAT] = cli_chat,
    [CMD_SCORE] = cli_score,       [CMD_RULE] = cli_rule,
    [CMD_RECORD] = cli_record,     [CMD_REPLAY] = cli_replay,
    [CMD_TOKENIZE] = cli_tokenize, [CMD_DETOKENIZE] = cli_detokenize,
    [CMD_INFO] = cli_info,         [CMD_BENCH] = cli_bench,
    [CMD_TUNE] = cli_tune,         [CMD_SERVE] = cli_serve,
};

/* A closed standard stream would be the number of the next file opened, and prompts or answers would go
 * there. Opened the wrong way round, so that its use fails as it should. */
static void hold_standard_streams(void) {
    static const int modes[] = {O_WRONLY, O_RDONLY, O_RDWR};
    for (int fd = 0; fd < 3; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF) (void)!open("/dev/null", modes[fd]);
}

static int print_version(void) {
    cli_outf("weir %s\n", WEIR_VERSION);
    return cli_out_end();
}

static int run_command(cli_command command, int argc, char **argv) {
    cli_args a;
    int rc = cli_parse(&a, command, argc, argv);
    if (rc) return rc;
    if (cli_flag(&a, OPT_HELP)) return cli_help(&command);
    if (cli_flag(&a, OPT_VERSION)) return print_version();
    if (cli_is_set(&a, OPT_PROFILE) && command != CMD_SERVE)
        rc = cli_profile_apply(&a, cli_text(&a, OPT_PROFILE));
    if (rc) return rc;
    rc = runs[command](&a);
    int written = cli_out_end();
    return rc ? rc : written;
}

int main(int argc, char **argv) {
    hold_standard_streams();
    wire_watch_json_memory();
    signal(SIGPIPE, SIG_IGN); /* a reader that goes away is a failed write, with a message */
    signal(SIGXFSZ, SIG_IGN); /* so is a file at its size limit */
    const char *word = argc > 1 ? argv[1] : NULL;
    if (!word) return cli_fail(CLI_USAGE, "no command given (see weir --help)");
    if (!strcmp(word, "--help") || !strcmp(word, "-h")) return cli_help(NULL);
    if (!strcmp(word, "--version")) return print_version();
    if (!strcmp(word, "--man")) return cli_man();
    if (!strcmp(word, "help")) {
        int about = argc > 2 ? cli_command_parse(argv[2]) : -1;
        return cli_help(about < 0 ? NULL : &(cli_command){(cli_command)about});
    }
    int command = cli_command_parse(word);
    if (command < 0 && word[0] == '-')
        return cli_fail(CLI_USAGE, "option %s before a command (see weir --help)", word);
    if (command < 0) {
        wire_nearest near = {.word = word};
        for (int i = 0; i < CMD_COUNT; i++) wire_nearest_try(&near, cli_commands[i].name);
        return cli_fail(CLI_USAGE, "unknown command %s%s (see weir --help)", word, wire_nearest_hint(&near));
    }
    return run_command((cli_command)command, argc - 1, argv + 1);
}
