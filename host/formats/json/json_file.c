#include "host/formats/json/json_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kernels/base/mem.h"

/* A DOM value takes about 80 bytes, so a hostile 100 MB text of "[0,0,0,…" would take gigabytes. Commas bound
 * the number of values; a header of 600,000 tensors stays below. */
enum { MAX_COMMAS = 1 << 22 };

const char *weir__label(const char *path) {
    size_t n = strlen(path);
    return n > 200 ? path + (n - 200) : path;
}

weir_status weir__path_join(char **out, const char *dir, const char *name, weir_err *err) {
    const size_t n = strlen(dir) + strlen(name) + 2;
    char *p = weir_alloc(n, 1);
    if (!p) return weir_fail(err, WEIR_ENOMEM, "%s: no memory for a path", weir__label(dir));
    snprintf(p, n, "%s/%s", dir, name);
    *out = p;
    return WEIR_OK;
}

weir_status weir__file_open(const char *path, int *fd, size_t *bytes, weir_err *err) {
    /* O_NONBLOCK: a named pipe must be refused, not waited for. */
    int f = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (f < 0) return weir_fail(err, WEIR_EIO, "%s: cannot open: %s", weir__label(path), strerror(errno));

    struct stat st;
    if (fstat(f, &st) != 0) {
        int e = errno;
        close(f);
        return weir_fail(err, WEIR_EIO, "%s: cannot stat: %s", weir__label(path), strerror(e));
    }
    if (!S_ISREG(st.st_mode)) {
        close(f);
        return weir_fail(err, WEIR_EIO, "%s: %s, expected an ordinary file", weir__label(path),
                         S_ISDIR(st.st_mode) ? "is a directory" : "is not an ordinary file");
    }
    *fd = f;
    *bytes = (size_t)st.st_size;
    return WEIR_OK;
}

/* Reads until n bytes are there; a file that became shorter meanwhile gives fewer. */
static weir_status read_all(int fd, char *buf, size_t n, size_t *got, const char *path, weir_err *err) {
    size_t done = 0;
    while (done < n) {
        ssize_t r = read(fd, buf + done, n - done);
        if (r < 0 && errno == EINTR) continue;
        if (r < 0) return weir_fail(err, WEIR_EIO, "%s: cannot read: %s", weir__label(path), strerror(errno));
        if (r == 0) break;
        done += (size_t)r;
    }
    *got = done;
    return WEIR_OK;
}

weir_status weir__file_read(const char *path, size_t max, char **text, size_t *bytes, weir_err *err) {
    int fd;
    size_t n, got = 0;
    WEIR_TRY(weir__file_open(path, &fd, &n, err));

    weir_status s = WEIR_OK;
    char *buf = NULL;
    if (n > max) {
        s = weir_fail(err, WEIR_EFORMAT, "%s: %zu bytes, expected at most %zu", weir__label(path), n, max);
    } else if (!(buf = weir_alloc(n, 1))) {
        s = weir_fail(err, WEIR_ENOMEM, "%s: no memory for its %zu bytes", weir__label(path), n);
    } else {
        s = read_all(fd, buf, n, &got, path, err);
    }
    close(fd);
    if (s != WEIR_OK) {
        weir_free(buf);
        return s;
    }
    *text = buf;
    *bytes = got;
    return WEIR_OK;
}

static weir_status check_commas(const char *text, size_t bytes, const char *label, weir_err *err) {
    size_t commas = 0;
    for (size_t i = 0; i < bytes; i++) commas += text[i] == ',';
    if (commas <= MAX_COMMAS) return WEIR_OK;
    return weir_fail(err, WEIR_EFORMAT, "%s: JSON of %zu commas, expected at most %d", weir__label(label),
                     commas, MAX_COMMAS);
}

static weir_status parse(const char *text, size_t bytes, size_t flags, const char *label, json_t **out,
                         weir_err *err) {
    json_error_t e;
    json_t *root = json_loadb(text, bytes, flags, &e);
    if (!root) {
        if (json_error_code(&e) == json_error_out_of_memory)
            return weir_fail(err, WEIR_ENOMEM, "%s: no memory to parse its JSON", weir__label(label));
        return weir_fail(err, WEIR_EFORMAT, "%s: bad JSON at line %d column %d: %s", weir__label(label),
                         e.line, e.column, e.text);
    }
    if (!json_is_object(root)) {
        json_decref(root);
        return weir_fail(err, WEIR_EFORMAT, "%s: JSON is not an object", weir__label(label));
    }
    *out = root;
    return WEIR_OK;
}

weir_status weir__json_strict(const char *text, size_t bytes, const char *label, json_t **out,
                              weir_err *err) {
    WEIR_TRY(check_commas(text, bytes, label, err));
    return parse(text, bytes, JSON_REJECT_DUPLICATES, label, out, err);
}

weir_status weir__json_object(const char *text, size_t bytes, const char *label, json_t **out,
                              weir_err *err) {
    char *lenient;
    size_t n = bytes;
    WEIR_TRY(check_commas(text, bytes, label, err));
    if (weir__json_lenient(text, bytes, &lenient, &n) != WEIR_OK)
        return weir_fail(err, WEIR_ENOMEM, "%s: no memory to parse its JSON", weir__label(label));
    const weir_status s = parse(lenient ? lenient : text, n, 0, label, out, err);
    weir_free(lenient);
    return s;
}

weir_status weir__json_file(const char *path, size_t max, json_t **out, weir_err *err) {
    char *text;
    size_t bytes;
    WEIR_TRY(weir__file_read(path, max, &text, &bytes, err));
    weir_status s = weir__json_object(text, bytes, path, out, err);
    weir_free(text);
    return s;
}
