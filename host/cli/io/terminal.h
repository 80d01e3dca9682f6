#ifndef WEIR_HOST_CLI_IO_TERMINAL_H
#define WEIR_HOST_CLI_IO_TERMINAL_H

#include <stdbool.h>
#include <stdint.h>

/* Signals, colours and the progress bar. */

/* From now on the first SIGINT or SIGTERM is only recorded; the second one kills. */
void terminal_catch_signals(void);
int terminal_signal(void);         /* the signal that came, or 0 */
bool terminal_interrupted(void *); /* the same as a weir_interrupt */
/* Between the two a signal ends the program at once: for work that cannot be asked to stop (a tokenizer's, a
 * JSON line's), with nothing in flight that should be told. What was written so far goes out first. */
void terminal_begin_blind(void);
void terminal_end_blind(void);
/* It was dealt with: the next one is the first again. */
void terminal_forget_signal(void);

/* Whether standard output is a terminal that may be coloured (NO_COLOR unset or empty, TERM not "dumb"). */
bool terminal_colours(void);
bool terminal_is(int fd);

/* Escape sequence or mark of a source, for --show-sources. */
const char *terminal_source_colour(int source);
const char *terminal_source_mark(int source);
void terminal_legend(bool colours); /* to standard error */

/* A bar on standard error, redrawn at most ten times a second; nothing where that is no terminal or standard
 * output is one, since both would write to the same line. */
typedef struct terminal_bar {
    bool on, drawn;
    double start, last;
} terminal_bar;

void terminal_bar_start(terminal_bar *b, bool wanted);
void terminal_bar_show(terminal_bar *b, int64_t done, int64_t total, int64_t tokens); /* total < 0: unknown */
void terminal_bar_end(terminal_bar *b);                                               /* clears the line */

#endif /* WEIR_HOST_CLI_IO_TERMINAL_H */
