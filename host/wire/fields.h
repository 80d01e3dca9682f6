#ifndef WEIR_HOST_WIRE_FIELDS_H
#define WEIR_HOST_WIRE_FIELDS_H

#include <stdbool.h>
#include <stddef.h>

#include "host/weir.h"

/* Every field of a request, once: the parser of input objects, the settings in answers, the command line's
 * options and the help texts read this table. */

/* Where a field may be. The first four are objects that are read, by the fields' names; the next two use
 * the short names of a law (rule, alpha) and are read and written; the next two are written only. The last
 * ones are bodies of HTTP requests, in which a field may have other names and another range. */
enum {
    WIRE_GENERATE = 1 << 0,    /* a line of generate or record */
    WIRE_SCORE = 1 << 1,       /* a line of score */
    WIRE_REPLAY = 1 << 2,      /* a line of replay */
    WIRE_PROFILE = 1 << 3,     /* what a tuning run wrote */
    WIRE_RULE = 1 << 4,        /* a line of weir rule */
    WIRE_LAW = 1 << 5,         /* the law of a recording */
    WIRE_ANSWER = 1 << 6,      /* settings of an answer */
    WIRE_LINE = 1 << 7,        /* the one-line description of a setting */
    WIRE_CHAT = 1 << 8,        /* /v1/chat/completions */
    WIRE_COMPLETIONS = 1 << 9, /* /v1/completions */
    WIRE_TOKENIZE = 1 << 10,   /* /tokenize */
    WIRE_DETOKENIZE = 1 << 11, /* /detokenize */
    WIRE_TEMPLATE = 1 << 12,   /* /apply-template */
    WIRE_SHORT = WIRE_RULE | WIRE_LAW | WIRE_ANSWER | WIRE_LINE,
    WIRE_ASK = WIRE_CHAT | WIRE_COMPLETIONS,
    WIRE_HTTP = WIRE_ASK | WIRE_TOKENIZE | WIRE_DETOKENIZE | WIRE_TEMPLATE
};

typedef enum wire_id {
    WIRE_METHOD,
    WIRE_DEFERRAL_RULE,
    WIRE_ALPHA,
    WIRE_BETA,
    WIRE_GATE,
    WIRE_EXACT_FIRST,
    WIRE_GAMMA,
    WIRE_BONUS,
    WIRE_BLOCK_VERIFY,
    WIRE_MEASURE_REJECTION,
    WIRE_TEMPERATURE,
    WIRE_TOP_K,
    WIRE_TOP_P,
    WIRE_MIN_P,
    WIRE_MAX_TOKENS,
    WIRE_SEED,
    WIRE_SEQ_CONFIDENCE,
    WIRE_IGNORE_EOS,
    WIRE_N_SETTING, /* those above set one member of weir_session_options; those below do not */
    WIRE_STOP = WIRE_N_SETTING,
    WIRE_SPECULATIVE,
    WIRE_PROMPT,
    WIRE_PROMPT_IDS,
    WIRE_MESSAGES,
    WIRE_COMPLETION,
    WIRE_COMPLETION_IDS,
    WIRE_WHOLE_TEXT,
    WIRE_WHOLE_IDS,
    WIRE_PARSE_SPECIAL,
    WIRE_Q_LOGITS,
    WIRE_P_LOGITS,
    WIRE_MODEL, /* from here on of HTTP alone */
    WIRE_PROMPTS,
    WIRE_CONTENT,
    WIRE_TEXT_PROMPT,
    WIRE_TOKENS,
    WIRE_ADD_SPECIAL,
    WIRE_WITH_PIECES,
    WIRE_ADD_GENERATION_PROMPT,
    WIRE_CONTINUE_FINAL,
    WIRE_N,
    WIRE_STREAM,
    WIRE_STREAM_OPTIONS,
    WIRE_LOGPROBS,
    WIRE_CHAT_LOGPROBS,
    WIRE_TOP_LOGPROBS,
    WIRE_ECHO,
    WIRE_RETURN_IDS,
    WIRE_RETURN_SOURCES,
    WIRE_PRIORITY,
    WIRE_ANSWER_MS,
    WIRE_CACHE_SALT,
    WIRE_REQUEST_ID,
    WIRE_N_FIELD
} wire_id;

typedef enum wire_type {
    WIRE_BOOL,
    WIRE_SWITCH, /* a bool as one of two words: false, true */
    WIRE_CHOICE, /* an enum as one of its words, in order */
    WIRE_INT,
    WIRE_UINT,   /* of 64 bits */
    WIRE_NUMBER, /* lands in a float; NaN is the word, where there is one */
    WIRE_NAME,   /* of a rule */
    WIRE_STRING,
    WIRE_STRINGS, /* a string or a list of strings */
    WIRE_IDS,     /* a list of token ids */
    WIRE_LOGITS,  /* a list of numbers */
    WIRE_LIST,    /* of messages */
    WIRE_TEXTS,   /* a text, a list of ids, or a list of such */
    WIRE_OBJECT
} wire_type;

/* What of a setting gives the field a meaning. */
typedef enum wire_need {
    WIRE_ALWAYS,
    WIRE_IF_RULE,    /* the method decides by a rule */
    WIRE_IF_KNOB,    /* it has an alpha */
    WIRE_IF_SECOND,  /* the rule has a beta */
    WIRE_IF_BLOCKS,  /* the method drafts blocks */
    WIRE_IF_SEQUENCE /* the method is the sequence cascade */
} wire_need;

typedef struct wire_field {
    const char *name;
    const char *brief; /* its name among WIRE_SHORT; NULL = the same */
    const char *line;  /* on the one-line description; NULL = the same with dashes */
    wire_type type;
    size_t at;           /* of a setting: its offset in weir_session_options */
    const char *also[2]; /* other names over HTTP; NULL = none further */
    double lo, hi;
    bool lo_open;            /* lo itself is refused */
    double http_lo, http_hi; /* over HTTP, with both ends; both 0 = the same */
    const char *words;       /* separated by |; of a number the word for NaN, of a whole one for 0 */
    const char *unit;        /* "tokens"; NULL = none */
    const char *preset;      /* the default, as text; NULL = absent says it */
    const char *absent;
    const char *help;
    wire_need need;
    enum { WIRE_AS_NULL, WIRE_AS_ZERO, WIRE_LEFT_OUT } otherwise; /* in an answer, where need is not met */
    bool terse; /* in the one-line description only if not the preset */
    unsigned where;
} wire_field;

extern const wire_field wire_fields[WIRE_N_FIELD];

enum { WIRE_MAX_STOP = 16 };

typedef struct wire_range {
    double lo, hi;
    bool lo_open;
} wire_range;

const char *wire_name(const wire_field *f, unsigned where);
wire_range wire_range_of(const wire_field *f, unsigned where);
bool wire_is_also(const wire_field *f, const char *name);      /* one of its other names */
const wire_field *wire_find(unsigned where, const char *name); /* NULL: none */
/* "number, above 0 to 1", "\"raw\" or \"scaled\"", "list of token ids"; written to buf. */
void wire_type_text(const wire_field *f, char *buf, size_t cap);
/* Index of word among words; -1. The word at an index, its length in *n; NULL past the last. */
int wire_word_index(const char *words, const char *word);
const char *wire_word_at(const char *words, int index, int *n);

#endif /* WEIR_HOST_WIRE_FIELDS_H */
