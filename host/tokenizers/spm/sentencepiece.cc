// The SentencePiece library from C. No exception leaves this file; results are copied into
// weir_alloc buffers, so that C callers free everything alike.
#include <sentencepiece_processor.h>

#include <algorithm>
#include <climits>
#include <cstring>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <vector>

#include "host/tokenizers/spm/spm.h"
#include "host/tokenizers/spm/spm_check.h"
extern "C" {
#include "kernels/base/mem.h"
}

using sentencepiece::SentencePieceProcessor;

struct weir__spm {
    SentencePieceProcessor whole;
    // The same without the space it puts before a text, for the parts of a long run of unknown characters;
    // made when first needed.
    mutable SentencePieceProcessor part;
    mutable std::once_flag part_once;
    mutable bool part_ok = false;
    size_t window = 0; // bytes on each side of a cut: no piece is longer than half of them
};

namespace {

using Spm = weir__spm;

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

// ---- long runs of unknown characters ----
// The library merges neighbouring unknown characters into one piece by copying the piece for each of them: a
// megabyte in a script that the vocabulary lacks, or of invalid UTF-8, would take minutes. Such a run is cut
// into parts, which give one unknown id each, and these become one id again.

enum { PART_BYTES = 2048 };

bool make_part(const Spm &m) {
    std::call_once(m.part_once, [&] {
        // A message that follows another is merged into it: normalizer_spec.add_dummy_prefix = false.
        const std::string model = m.whole.serialized_model_proto() + std::string("\x1a\x02\x18\x00", 4);
        m.part_ok = m.part.LoadFromSerializedProto(model).ok();
    });
    return m.part_ok;
}

bool is_unknown(const Spm &m, absl::string_view s) {
    std::vector<int> v;
    return m.part.Encode(s, &v).ok() && v.size() == 1 && m.part.IsUnknown(v[0]);
}

// A cut at `at` changes nothing if both sides of it, alone and together, are nothing but unknown characters.
bool may_cut(const Spm &m, absl::string_view text, size_t at) {
    const size_t w = m.window;
    return at >= w && text.size() - at >= w && is_unknown(m, text.substr(at - w, w)) &&
           is_unknown(m, text.substr(at, w)) && is_unknown(m, text.substr(at - w, 2 * w));
}

// The first byte of the character at or before `at`, if there is one nearby: no cut inside a character.
size_t character_start(absl::string_view text, size_t at) {
    for (size_t back = 0; back < 4 && back < at; back++)
        if ((text[at - back] & 0xc0) != 0x80) return at - back;
    return at;
}

// The end of the part that begins at `from`: all the rest, where no cut is possible.
size_t part_end(const Spm &m, absl::string_view text, size_t from) {
    for (size_t at = from + PART_BYTES; at + PART_BYTES < text.size(); at += PART_BYTES) {
        const size_t cut = character_start(text, at);
        if (may_cut(m, text, cut)) return cut;
    }
    return text.size();
}

struct Known {
    weir__spm_known *id_of; // may be null
    const void *ud;
};

// Ids of a text, and those that the caller has for unknown pieces.
sentencepiece::util::Status encode_one(const SentencePieceProcessor &p, Known known, absl::string_view text,
                                       std::vector<int> *ids) {
    auto status = p.Encode(text, ids);
    if (!known.id_of || !status.ok() || std::find(ids->begin(), ids->end(), p.unk_id()) == ids->end())
        return status;
    std::vector<std::string> pieces;
    status = p.Encode(text, &pieces);
    for (size_t i = 0; status.ok() && i < pieces.size() && i < ids->size(); i++) {
        const int32_t id =
            (*ids)[i] == p.unk_id() ? known.id_of(known.ud, pieces[i].data(), pieces[i].size()) : -1;
        if (id >= 0) (*ids)[i] = id;
    }
    return status;
}

sentencepiece::util::Status encode_parts(const Spm &m, Known known, absl::string_view text,
                                         std::vector<int> *ids) {
    if (text.size() <= 2 * PART_BYTES || m.window == 0 || m.window > PART_BYTES || !make_part(m))
        return encode_one(m.whole, known, text, ids);
    std::vector<int> v;
    for (size_t from = 0, to; from < text.size(); from = to) {
        to = part_end(m, text, from);
        const auto status = encode_one(from == 0 ? m.whole : m.part, known, text.substr(from, to - from), &v);
        if (!status.ok()) return status;
        const bool joins =
            !ids->empty() && !v.empty() && ids->back() == m.whole.unk_id() && v[0] == m.whole.unk_id();
        ids->insert(ids->end(), v.begin() + (joins ? 1 : 0), v.end());
    }
    return {};
}

// Twice the longest piece; 0, for never, where the library puts its space after a text instead of before it.
size_t find_window(const SentencePieceProcessor &sp) {
    static const std::string space = "\xe2\x96\x81";
    std::vector<std::string> pieces;
    if (!sp.Encode("x", &pieces).ok()) return 0;
    std::string all;
    for (const auto &p : pieces) all += p;
    if (all.size() >= space.size() && all.compare(all.size() - space.size(), space.size(), space) == 0)
        return 0;
    size_t longest = 16;
    for (int id = 0; id < sp.GetPieceSize(); id++) longest = std::max(longest, sp.IdToPiece(id).size());
    return 2 * longest;
}

} // namespace

extern "C" {

weir_status weir__spm_encode(const Spm *m, const char *text, size_t bytes, weir__spm_known *known,
                             const void *ud, weir__ids *out, weir_err *err) {
    return guarded(err, "text", [&]() -> weir_status {
        // The library counts bytes in int, and its normaliser may grow a text about eighteenfold.
        if (bytes > INT_MAX / 32)
            return weir_fail(err, WEIR_EINVAL, "text of %zu bytes, expected at most %d", bytes, INT_MAX / 32);
        std::vector<int> v;
        const auto status = encode_parts(*m, Known{known, ud}, absl::string_view(text, bytes), &v);
        if (!status.ok())
            return weir_fail(err, WEIR_EINVAL, "text: sentencepiece: %s", status.ToString().c_str());
        return weir__ids_add(out, v.data(), v.size(), err);
    });
}

weir_status weir__spm_decode(const Spm *m, const int32_t *ids, size_t n, char **text, size_t *bytes,
                             weir_err *err) {
    return guarded(err, "ids", [&]() -> weir_status {
        std::string s;
        const auto status = m->whole.Decode(std::vector<int>(ids, ids + n), &s);
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

void weir__spm_free(Spm *m) { delete m; }

int32_t weir__spm_size(const Spm *m) { return m->whole.GetPieceSize(); }

const char *weir__spm_piece(const Spm *m, int32_t id) { return m->whole.IdToPiece(id).c_str(); }

bool weir__spm_is_control(const Spm *m, int32_t id) { return m->whole.IsControl(id); }

int32_t weir__spm_unknown(const Spm *m) { return m->whole.unk_id(); }

weir_status weir__spm_open(Spm **out, const void *model, size_t bytes, const char *label, weir_err *err) {
    WEIR_TRY(weir__spm_check(model, bytes, label, err));
    return guarded(err, label, [&]() -> weir_status {
        auto m = std::make_unique<Spm>();
        const auto status =
            m->whole.LoadFromSerializedProto(absl::string_view(static_cast<const char *>(model), bytes));
        if (!status.ok())
            return weir_fail(err, WEIR_EFORMAT, "%s: sentencepiece: %s", label, status.ToString().c_str());
        m->window = find_window(m->whole);
        *out = m.release();
        return WEIR_OK;
    });
}
}
