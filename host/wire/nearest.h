#ifndef WEIR_HOST_WIRE_NEAREST_H
#define WEIR_HOST_WIRE_NEAREST_H

/* The name nearest to a word that was mistyped. */
typedef struct wire_nearest {
    const char *word, *best; /* best: NULL until a name was tried; both borrowed */
    int distance;            /* edits from word to best */
    const char *dashes;      /* in front of a name in the hint; NULL: none */
    char hint[80];
} wire_nearest;

void wire_nearest_try(wire_nearest *n, const char *name); /* NULL is passed over */
void wire_nearest_rule(wire_nearest *n);                  /* tries all rules */
/* "; the nearest is BEST" for the end of a message, or "" where the word is no misspelling of any name: one
 * edit is one, and so are as many as half its letters. Valid as long as n. */
const char *wire_nearest_hint(wire_nearest *n);

#endif /* WEIR_HOST_WIRE_NEAREST_H */
