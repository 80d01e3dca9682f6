// The SentencePiece library behind weir_tokenizer_ops. No exception leaves this file; results are copied into
// weir_alloc buffers, so that C callers free everything alike.
#include <sentencepiece_processor.h>

#include <climits>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "host/tokenizers/ops.h"
#include "host/tokenizers/spm_check.h"
extern "C" {
#include "kernels/base/mem.h"
}

namespace {

using sentencepiece::SentencePieceProcessor;

const SentencePieceProcessor &self(const void *impl) {
    return *static_cast<const SentencePieceProcessor *>(impl);
}

// Runs fn, which returns a weir_status, and turns what the library may throw into one.
template <typename F> weir_status guarded(weir_err *err, const char *what, F fn) {
    try {
        return fn();
    } catch (const std::bad_alloc &) {
        return weir_fail(err, WEIR_ENOMEM, "%s: no memory", what);
    } catch (const std::exception &e) {
        return weir_fail(err, WEIR_EFORMAT, "%s: sentencepiece: %s", what, e.what());
    } catch (...) {
        return weir_fail(err, WEIR_EFORMAT, "%s: sentencepiece failed", what);
    }
}

void spm_free(void *impl) { delete static_cast<SentencePieceProcessor *>(impl); }

int32_t spm_size(const void *impl) { return self(impl).GetPieceSize(); }

const char *spm_piece(const void *impl, int32_t id) { return self(impl).IdToPiece(id).c_str(); }

weir_piece_kind spm_kind(const void *impl, int32_t id) {
    if (self(impl).IsControl(id)) return WEIR_PIECE_CONTROL;
    return self(impl).IsUnknown(id) ? WEIR_PIECE_UNKNOWN : WEIR_PIECE_TEXT;
}

weir_status spm_encode(const void *impl, const char *text, size_t bytes, int32_t **ids, size_t *n,
                       weir_err *err) {
    return guarded(err, "text", [&]() -> weir_status {
        // The library counts bytes in int, and its normaliser may grow a text about eighteenfold.
        if (bytes > INT_MAX / 32)
            return weir_fail(err, WEIR_EINVAL, "text of %zu bytes, expected at most %d", bytes, INT_MAX / 32);
        std::vector<int> v;
        const auto status = self(impl).Encode(absl::string_view(text, bytes), &v);
        if (!status.ok())
            return weir_fail(err, WEIR_EINVAL, "text: sentencepiece: %s", status.ToString().c_str());
        int32_t *out = static_cast<int32_t *>(weir_alloc(v.size(), sizeof(int32_t)));
        if (!out) return weir_fail(err, WEIR_ENOMEM, "no memory for %zu ids", v.size());
        for (size_t i = 0; i < v.size(); i++) out[i] = v[i];
        *ids = out;
        *n = v.size();
        return WEIR_OK;
    });
}

weir_status spm_decode(const void *impl, const int32_t *ids, size_t n, char **text, size_t *bytes,
                       weir_err *err) {
    return guarded(err, "ids", [&]() -> weir_status {
        std::string s;
        const auto status = self(impl).Decode(std::vector<int>(ids, ids + n), &s);
        if (!status.ok())
            return weir_fail(err, WEIR_EINVAL, "ids: sentencepiece: %s", status.ToString().c_str());
        char *out = static_cast<char *>(weir_alloc(s.size() + 1, 1));
        if (!out) return weir_fail(err, WEIR_ENOMEM, "no memory for a text of %zu bytes", s.size());
        std::memcpy(out, s.c_str(), s.size() + 1);
        *text = out;
        *bytes = s.size();
        return WEIR_OK;
    });
}

} // namespace

extern "C" {

const weir_tokenizer_ops weir__spm_ops = {spm_free, spm_size, spm_piece, spm_kind, spm_encode, spm_decode};

weir_status weir__spm_open(void **impl, const void *model, size_t bytes, const char *label, weir_err *err) {
    WEIR_TRY(weir__spm_check(model, bytes, label, err));
    return guarded(err, label, [&]() -> weir_status {
        auto sp = std::make_unique<SentencePieceProcessor>();
        const auto status =
            sp->LoadFromSerializedProto(absl::string_view(static_cast<const char *>(model), bytes));
        if (!status.ok())
            return weir_fail(err, WEIR_EFORMAT, "%s: sentencepiece: %s", label, status.ToString().c_str());
        *impl = sp.release();
        return WEIR_OK;
    });
}
}
