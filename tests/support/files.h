#ifndef WEIR_TESTS_SUPPORT_FILES_H
#define WEIR_TESTS_SUPPORT_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/base/status.h"

/* Files for tests of parsers. All abort the program on failure: they are scaffolding. */

/* A new empty directory; files_remove_dir removes it with the plain files and empty folders in it. */
char *files_temp_dir(void);
void files_remove_dir(char *dir); /* frees the name too */

/* dir/name, malloc'ed. */
char *files_path(const char *dir, const char *name);
void files_write(const char *dir, const char *name, const void *bytes, size_t n);
/* Whole file, malloc'ed, a zero byte after its n bytes. NULL if there is none. */
uint8_t *files_read(const char *path, size_t *n);

/* The first n bytes in a block of exactly n bytes, so that ASan sees a read past them. */
uint8_t *files_exact(const void *bytes, size_t n);

/* An error for the user: not empty, one line, and it has `part` in it. */
bool err_is_line(const weir_err *err, const char *part);

#endif
