#include "tests/support/files.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void need(bool ok, const char *what) {
    if (ok) return;
    perror(what);
    abort();
}

char *files_temp_dir(void) {
    const char *base = getenv("TMPDIR");
    char *dir = files_path(base ? base : "/tmp", "weir-test-XXXXXX");
    need(mkdtemp(dir) != NULL, "mkdtemp");
    return dir;
}

void files_remove_dir(char *dir) {
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d));) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        char *path = files_path(dir, e->d_name);
        if (remove(path) != 0) perror(path);
        free(path);
    }
    if (d) closedir(d);
    if (rmdir(dir) != 0) perror(dir);
    free(dir);
}

char *files_path(const char *dir, const char *name) {
    size_t n = strlen(dir) + strlen(name) + 2;
    char *path = malloc(n);
    need(path != NULL, "malloc");
    snprintf(path, n, "%s/%s", dir, name);
    return path;
}

void files_write(const char *dir, const char *name, const void *bytes, size_t n) {
    char *path = files_path(dir, name);
    FILE *f = fopen(path, "wb");
    need(f != NULL, path);
    need(n == 0 || fwrite(bytes, 1, n, f) == n, path);
    need(fclose(f) == 0, path);
    free(path);
}

uint8_t *files_read(const char *path, size_t *n) {
    FILE *f = fopen(path, "rb");
    if (!f) return NULL;
    need(fseek(f, 0, SEEK_END) == 0, path);
    long size = ftell(f);
    need(size >= 0 && fseek(f, 0, SEEK_SET) == 0, path);
    uint8_t *bytes = malloc((size_t)size + 1);
    need(bytes != NULL, "malloc");
    need(fread(bytes, 1, (size_t)size, f) == (size_t)size, path);
    bytes[size] = 0;
    fclose(f);
    *n = (size_t)size;
    return bytes;
}

uint8_t *files_exact(const void *bytes, size_t n) {
    uint8_t *p = malloc(n ? n : 1);
    need(p != NULL, "malloc");
    if (n) memcpy(p, bytes, n);
    return p;
}

bool err_is_line(const weir_err *err, const char *part) {
    size_t n = strnlen(err->text, sizeof err->text);
    if (n == 0 || n == sizeof err->text) return false;
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)err->text[i] < 0x20) return false;
    return strstr(err->text, part) != NULL;
}
