#include "include/CSentencePiece.h"

#include <sentencepiece_processor.h>
#include <sentencepiece_trainer.h>

#include <cstdlib>
#include <cstring>
#include <exception>
#include <sstream>
#include <string>
#include <unordered_map>
#include <vector>

struct tf_sp_model {
    sentencepiece::SentencePieceProcessor processor;
};

namespace {

char *copy(const char *bytes, size_t count) {
    char *result = static_cast<char *>(std::malloc(count + 1));
    if (result == nullptr) throw std::bad_alloc();
    if (count > 0) std::memcpy(result, bytes, count);
    result[count] = 0;
    return result;
}

int fail(char **error, const std::string &message) {
    *error = strdup(message.c_str());
    return -1;
}

/// Runs `body`, which returns a Status or throws; either failure becomes a message.
template <typename Body>
int guarded(char **error, Body body) {
    try {
        const sentencepiece::util::Status status = body();
        return status.ok() ? 0 : fail(error, status.message());
    } catch (const std::exception &problem) {
        return fail(error, problem.what());
    } catch (...) {
        return fail(error, "unknown failure inside libsentencepiece");
    }
}

class Lines : public sentencepiece::SentenceIterator {
   public:
    Lines(const char *bytes, const size_t *ends, size_t count) : bytes_(bytes), ends_(ends), count_(count) { load(); }
    bool done() const override { return next_ >= count_; }
    void Next() override {
        next_ += 1;
        load();
    }
    const std::string &value() const override { return current_; }
    sentencepiece::util::Status status() const override { return {}; }

   private:
    void load() {
        if (done()) return;
        const size_t start = next_ == 0 ? 0 : ends_[next_ - 1];
        current_.assign(bytes_ + start, ends_[next_] - start);
    }
    const char *bytes_;
    const size_t *ends_;
    size_t count_;
    size_t next_ = 0;
    std::string current_;
};

}  // namespace

extern "C" {

int tf_sp_load(const char *bytes, size_t count, tf_sp_model **model, char **error) {
    *model = nullptr;
    return guarded(error, [&] {
        auto *loaded = new tf_sp_model;
        const auto status = loaded->processor.LoadFromSerializedProto(absl::string_view(bytes, count));
        if (status.ok())
            *model = loaded;
        else
            delete loaded;
        return status;
    });
}

void tf_sp_free(tf_sp_model *model) { delete model; }

int32_t tf_sp_piece_count(const tf_sp_model *model) { return model->processor.GetPieceSize(); }
int32_t tf_sp_bos_id(const tf_sp_model *model) { return model->processor.bos_id(); }
int32_t tf_sp_eos_id(const tf_sp_model *model) { return model->processor.eos_id(); }

const char *tf_sp_piece(const tf_sp_model *model, int32_t id, size_t *count) {
    const std::string &piece = model->processor.IdToPiece(id);
    *count = piece.size();
    return piece.data();
}

int tf_sp_is_control(const tf_sp_model *model, int32_t id) { return model->processor.IsControl(id); }

int tf_sp_encode(const tf_sp_model *model, const char *text, size_t count, int32_t **ids, size_t *id_count,
                 char **error) {
    return guarded(error, [&] {
        std::vector<int> encoded;
        const auto status = model->processor.Encode(absl::string_view(text, count), &encoded);
        if (status.ok()) {
            const size_t bytes = encoded.size() * sizeof(int32_t);
            *ids = reinterpret_cast<int32_t *>(copy(reinterpret_cast<const char *>(encoded.data()), bytes));
            *id_count = encoded.size();
        }
        return status;
    });
}

int tf_sp_decode(const tf_sp_model *model, const int32_t *ids, size_t id_count, char **text, size_t *count,
                 char **error) {
    return guarded(error, [&] {
        std::string decoded;
        const auto status = model->processor.Decode(std::vector<int>(ids, ids + id_count), &decoded);
        if (status.ok()) {
            *text = copy(decoded.data(), decoded.size());
            *count = decoded.size();
        }
        return status;
    });
}

int tf_sp_train(const char *options, const void *lines, const size_t *ends, size_t line_count, char **model,
                size_t *count, char **error) {
    return guarded(error, [&] {
        std::unordered_map<std::string, std::string> settings;
        std::istringstream text(options);
        for (std::string name, value; std::getline(text, name, '=') && std::getline(text, value);) settings[name] = value;
        Lines iterator(static_cast<const char *>(lines), ends, line_count);
        std::string serialized;
        const auto status = sentencepiece::SentencePieceTrainer::Train(settings, &iterator, &serialized);
        if (status.ok()) {
            *model = copy(serialized.data(), serialized.size());
            *count = serialized.size();
        }
        return status;
    });
}

void tf_sp_release(void *result) { std::free(result); }
}
