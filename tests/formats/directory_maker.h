#ifndef WEIR_TESTS_FORMATS_DIRECTORY_MAKER_H
#define WEIR_TESTS_FORMATS_DIRECTORY_MAKER_H

#include <jansson.h>

/* A model directory as people publish it, from a row of directories.json: configuration, tokenizer and tiny
 * weights of random values. Aborts on failure: scaffolding. */
char *directory_make(const json_t *table, const json_t *row); /* the directory; for files_remove_dir */

#endif
