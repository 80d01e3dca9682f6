#ifndef WEIR_HOST_JINJA_VALUES_TEXT_H
#define WEIR_HOST_JINJA_VALUES_TEXT_H

#include "host/jinja/values/value.h"

/* Texts as Python's str: sequences of code points, stored as UTF-8. A byte that belongs to no character
 * counts as one. Internal to host/jinja. */

size_t weir__text_length(weir__text *t);            /* code points */
size_t weir__text_offset(weir__text *t, size_t at); /* byte where code point `at` begins; at <= length */
size_t weir__text_step(const weir__text *t, size_t at, uint32_t *cp); /* bytes of the one at byte `at` */
size_t weir__text_back(const weir__text *t, size_t at, uint32_t *cp); /* of the one that ends there; at > 0 */

bool weir__is_space(uint32_t cp);    /* str.isspace */
bool weir__is_line_end(uint32_t cp); /* str.splitlines; "\r\n" counts as one there */
bool weir__is_alnum(uint32_t cp);
bool weir__is_alpha(uint32_t cp);
bool weir__is_digit(
    uint32_t cp); /* str.isdigit, without superscripts and other digits outside decimal systems */
bool weir__is_word(uint32_t cp); /* \w */
bool weir__is_printable(uint32_t cp);
int weir__case_of(uint32_t cp); /* 1 upper or title, -1 lower, 0 neither */

/* The first place of needle at byte `from` or later, or the last before `upto`; SIZE_MAX: none. */
size_t weir__text_find(const weir__text *t, size_t from, size_t upto, const weir__text *needle, bool last);

/* str.strip: left and right say which ends; chars NULL: white space. */
weir_status weir__text_strip(weir__run *r, const weir__text *t, const weir__text *chars, bool left,
                             bool right, weir__value *out);

typedef enum weir__casing {
    WEIR__UPPER,
    WEIR__LOWER,
    WEIR__CAPITALIZE,
    WEIR__TITLE,
    WEIR__SWAP
} weir__casing;
weir_status weir__text_recase(weir__run *r, const weir__text *t, weir__casing how, weir__value *out);
/* The character of n bytes at byte `at` of t, to b: UPPER, LOWER, or TITLE, as the first letter of a word. */
weir_status weir__put_cased(weir__run *r, weir__buf *b, const weir__text *t, size_t at, size_t n,
                            weir__casing how);

/* count < 0: all. */
weir_status weir__text_replace(weir__run *r, const weir__text *t, const weir__text *old,
                               const weir__text *with, int64_t count, weir__value *out);
weir_status weir__text_split(weir__run *r, weir__text *t, const weir__text *by, int64_t most, bool from_right,
                             weir__value *out);
weir_status weir__text_splitlines(weir__run *r, const weir__text *t, bool keep, weir__value *out);

#endif /* WEIR_HOST_JINJA_VALUES_TEXT_H */
