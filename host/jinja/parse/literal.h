#ifndef WEIR_HOST_JINJA_PARSE_LITERAL_H
#define WEIR_HOST_JINJA_PARSE_LITERAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Literals: numbers as jinja2's lexer and Python's int() and float() read them, strings with Python's
 * escapes. Internal to host/jinja. */

/* Length of the literal at p, 0: none. *fits false: more than 64 bits. */
size_t weir__read_float(const char *p, size_t n, double *out);
size_t weir__read_integer(const char *p, size_t n, int64_t *out, bool *fits);

/* int(text, base) and float(text): the whole of it, white space around it allowed. false: a ValueError;
 * *fits as above. */
bool weir__parse_int(const char *p, size_t n, int base, int64_t *out, bool *fits);
bool weir__parse_float(const char *p, size_t n, double *out);

/* The text of a string literal between its quotes; at most 3 bytes per byte. false: *why. */
bool weir__unescape(const char *p, size_t n, char *out, size_t *n_out, const char **why);

#endif /* WEIR_HOST_JINJA_PARSE_LITERAL_H */
