#pragma once
// A C face for libsentencepiece: models from bytes, encoding, decoding and training. No exception leaves these functions.
// A function that can fail returns 0 on success; on failure it returns -1 and sets *error to a message that the caller
// releases with tf_sp_release. So are all other results.

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tf_sp_model tf_sp_model;

/// Loads a serialized ModelProto (the contents of a `.model` file).
int tf_sp_load(const char *bytes, size_t count, tf_sp_model **model, char **error);
void tf_sp_free(tf_sp_model *model);

int32_t tf_sp_piece_count(const tf_sp_model *model);
/// -1 where the model has none.
int32_t tf_sp_bos_id(const tf_sp_model *model);
int32_t tf_sp_eos_id(const tf_sp_model *model);

/// The piece of a valid id, as UTF-8; belongs to the model.
const char *tf_sp_piece(const tf_sp_model *model, int32_t id, size_t *count);
/// True for `<s>`, `</s>` and other pieces that never come from text.
int tf_sp_is_control(const tf_sp_model *model, int32_t id);

int tf_sp_encode(const tf_sp_model *model, const char *text, size_t count, int32_t **ids, size_t *id_count,
                 char **error);
/// Every id must be inside 0 ..< tf_sp_piece_count.
int tf_sp_decode(const tf_sp_model *model, const int32_t *ids, size_t id_count, char **text, size_t *count,
                 char **error);

/// Trains on `lines` (UTF-8; line i ends at byte `ends[i]`, where the next one begins) with the trainer's own options, as
/// `name=value` in a line each. The trainer ends the process when a word has more than 65,535 letters, and writes out of
/// bounds above 32,767.
int tf_sp_train(const char *options, const void *lines, const size_t *ends, size_t line_count, char **model,
                size_t *count, char **error);

void tf_sp_release(void *result);

#ifdef __cplusplus
}
#endif
