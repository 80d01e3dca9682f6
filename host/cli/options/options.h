#ifndef WEIR_HOST_CLI_OPTIONS_OPTIONS_H
#define WEIR_HOST_CLI_OPTIONS_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "host/wire/fields.h"

/* Commands and options of the program as data: the parser, --help, the man page and the checks of ranges all
 * read the tables in table.c, serve_table.c and commands.c and nothing else. */

typedef enum cli_command {
    CMD_GENERATE,
    CMD_CHAT,
    CMD_SCORE,
    CMD_RULE,
    CMD_RECORD,
    CMD_REPLAY,
    CMD_TOKENIZE,
    CMD_DETOKENIZE,
    CMD_INFO,
    CMD_BENCH,
    CMD_TUNE,
    CMD_SERVE,
    CMD_COUNT
} cli_command;

typedef enum cli_option_id {
    OPT_MODEL,
    OPT_MODEL_DRAFT,
    OPT_LOOKUP_MIN,
    OPT_LOOKUP_MAX,
    OPT_QUANTIZE,
    OPT_QUANTIZE_DRAFT,
    OPT_PROMPT,
    OPT_FILE,
    OPT_INPUT,
    OPT_CHAT_TEMPLATE,
    OPT_CHAT_TEMPLATE_FILE,
    OPT_SYSTEM,
    OPT_N_PREDICT,
    OPT_CTX_SIZE,
    OPT_SEED,
    OPT_TEMP,
    OPT_TOP_K,
    OPT_TOP_P,
    OPT_MIN_P,
    OPT_METHOD,
    OPT_DRAFT_N_MAX,
    OPT_COSTS,
    OPT_RULE,
    OPT_ALPHA,
    OPT_BETA,
    OPT_EXACT_FIRST,
    OPT_GATE,
    OPT_BONUS,
    OPT_BLOCK_VERIFY,
    OPT_MEASURE_REJECTION,
    OPT_SEQ_CONFIDENCE,
    OPT_PROFILE,
    OPT_STOP,
    OPT_IGNORE_EOS,
    OPT_NO_SPECIAL,
    OPT_NO_PARSE_SPECIAL,
    OPT_DRAWS,
    OPT_TAIL,
    OPT_RECORDING,
    OPT_DEVICE,
    OPT_PARALLEL,
    OPT_THREADS,
    OPT_ISA,
    OPT_TP,
    OPT_DRAFT_TP,
    OPT_COMM,
    OPT_COMM_TIMEOUT,
    OPT_NO_GRAPH,
    OPT_STRICT_CONFIG,
    OPT_N_PROMPT,
    OPT_ROWS,
    OPT_REPEAT,
    OPT_TASK,
    OPT_TASK_OPTION,
    OPT_LIMIT,
    OPT_GAMMAS,
    OPT_MAX_QUALITY_LOSS,
    OPT_MIN_SPEEDUP,
    OPT_OUT,
    OPT_LAB,
    OPT_LAB_PYTHON,
    OPT_SHOW_SOURCES,
    OPT_JSONL,
    OPT_JSON,
    OPT_CSV,
    OPT_STATS,
    OPT_QUIET,
    OPT_HELP,
    OPT_VERSION,
    OPT_FIRST_OF_SERVE,
    OPT_HOST = OPT_FIRST_OF_SERVE,
    OPT_PORT,
    OPT_API_KEY,
    OPT_API_KEY_FILE,
    OPT_NO_AUTH,
    OPT_SSL_CERT_FILE,
    OPT_SSL_KEY_FILE,
    OPT_ALLOWED_HOSTS,
    OPT_CORS_ORIGINS,
    OPT_ALIAS,
    OPT_KV_SIZE_MIB,
    OPT_NO_CACHE_PROMPT,
    OPT_PREFILL_STALL_MS,
    OPT_MAX_NUM_QUEUED_REQS,
    OPT_MAX_NUM_QUEUED_TOKENS,
    OPT_SPEC_DISABLE_ABOVE,
    OPT_REQUEST_TIMEOUT,
    OPT_TIMEOUT,
    OPT_SSE_PING_INTERVAL,
    OPT_SHUTDOWN_TIMEOUT,
    OPT_WATCHDOG,
    OPT_MAX_BODY_MIB,
    OPT_MAX_CONNECTIONS,
    OPT_BUFFER_MIB,
    OPT_THREADS_HTTP,
    OPT_STRICT_FIELDS,
    OPT_METRICS,
    OPT_METRICS_PREFIX,
    OPT_SLOTS,
    OPT_NO_WEBUI,
    OPT_LOG_JSONL,
    OPT_LOG_FILE,
    OPT_LOG_DISABLE,
    OPT_COUNT
} cli_option_id;

typedef enum cli_type {
    CLI_FLAG,   /* present or not */
    CLI_TEXT,   /* any string; the last one wins */
    CLI_LIST,   /* any string that is not empty; repeatable */
    CLI_INT,    /* whole number in [lo, hi]; or `word` where given */
    CLI_UINT,   /* whole number of 64 bits */
    CLI_NUMBER, /* finite decimal number in [lo, hi]; or `word` where given */
    CLI_CHOICE, /* one of the words in `value`, separated by | */
} cli_type;

typedef struct cli_option {
    const char *name;  /* long name, without dashes */
    const char *brief; /* name after a single dash, or NULL */
    const char *alias; /* second long name, or NULL */
    const char *old;   /* long name of other programs: accepted with a warning, or NULL */
    bool env;          /* mirrored by WEIR_<NAME>; requests themselves (prompts) are not */
    const wire_field
        *field; /* the request's field that it sets: type, range, unit, default, help and the words of a
                                choice are the field's; NULL = its own */
    cli_type type;
    const char *value; /* name of the value in help texts */
    double lo, hi;
    bool lo_open; /* lo itself is refused */
    const char
        *word; /* the one word that such a value may be besides a number (number NaN, integer 0), or NULL */
    const char *unit;   /* "tokens"; NULL = none */
    const char *preset; /* default, parsed like a given value; NULL = unset */
    const char *absent; /* what happens when unset, for help texts; NULL where preset says it */
    const char *help;
    unsigned commands; /* bit 1 << cli_command */
} cli_option;

typedef struct cli_command_info {
    const char *name;
    const char *usage;   /* after "weir NAME" */
    const char *summary; /* one line */
    const char *text;    /* paragraphs separated by newlines */
    const char *example; /* lines */
    unsigned fields;     /* of its input objects: a mask of fields.h, or 0 */
} cli_command_info;

const cli_option *cli_option_row(int id);
extern const cli_option cli_serve_options[OPT_COUNT - OPT_FIRST_OF_SERVE]; /* rows of serve_table.c */
/* A row with what its field says. */
cli_option cli_option_at(int id);
/* The option that sets a field; NULL: none. */
const cli_option *cli_option_of(const wire_field *f);
extern const cli_command_info cli_commands[CMD_COUNT];

enum { CLI_MAX_LIST = WIRE_MAX_STOP };

typedef enum cli_from { CLI_UNSET, CLI_FROM_PRESET, CLI_FROM_ENV, CLI_FROM_LINE } cli_from;

typedef struct cli_value {
    cli_from from;
    const char *text; /* as written; borrowed from argv or the environment */
    double number;    /* CLI_NUMBER, CLI_INT; NaN for the word */
    int64_t integer;  /* CLI_INT; CLI_CHOICE: index of the word; CLI_FLAG: 0 or 1 */
    uint64_t bits;    /* CLI_UINT */
} cli_value;

typedef struct cli_list {
    const char *text[CLI_MAX_LIST]; /* borrowed as above */
    int n;
} cli_list;

typedef struct cli_args {
    cli_command command;
    cli_value value[OPT_COUNT];
    cli_list list[OPT_COUNT]; /* of CLI_LIST options */
    char **rest;              /* arguments that are no options (detokenize, tune) */
    int n_rest;
    const char *old_spelling; /* an option written as other programs do, or NULL */
} cli_args;

/* The command line, then the environment for what it left open, then presets. 0, or CLI_USAGE after one line
 * on stderr. argv[0] is the command; arguments that are no options are moved to the front of argv. --help and
 * --version are only recorded, and keep anything else from being checked. */
int cli_parse(cli_args *out, cli_command command, int argc, char **argv);

/* Sets what neither the command line nor the environment set; label is what messages call it. 0 or
 * CLI_USAGE. */
int cli_set_preset(cli_args *a, cli_option_id id, const char *label, const char *text);

/* Another value of one option, as if the command line had given it; label is what the user wrote. text is
 * borrowed. 0, or CLI_USAGE after one line on stderr, and a as it was. */
int cli_set(cli_args *a, cli_option_id id, const char *label, const char *text);

/* Index into cli_commands; -1 unknown. */
int cli_command_parse(const char *name);

/* "WEIR_SPEC_DRAFT_N_MAX" of an option, written to buf. */
void cli_env_name(const cli_option *o, char *buf, int cap);
/* "0 to 2", "at least 1", "" where any value is fine; written to buf. */
void cli_range_text(const cli_option *o, char *buf, int cap);

static inline bool cli_given(const cli_args *a, cli_option_id id) {
    return a->value[id].from == CLI_FROM_LINE;
}
static inline bool cli_is_set(const cli_args *a, cli_option_id id) { return a->value[id].from != CLI_UNSET; }
static inline bool cli_flag(const cli_args *a, cli_option_id id) { return a->value[id].integer != 0; }
static inline int cli_int(const cli_args *a, cli_option_id id) { return (int)a->value[id].integer; }
static inline const char *cli_text(const cli_args *a, cli_option_id id) { return a->value[id].text; }

#endif /* WEIR_HOST_CLI_OPTIONS_OPTIONS_H */
