#pragma once
#include "tf_kernel.h"

/// With â = a / (‖a‖ + 1e-10) for each row, and b̂ alike: returns Σ weight[c] · (â[r, c] − b̂[r, c])², and writes scale times its
/// gradient to da when that is not null. A row a of zeros gets a gradient of zeros.
/// a, b, da [rows, channels]; weight [channels].
double tf_feature_distance_f32(const float *restrict a, const float *restrict b, const float *restrict weight,
                               float scale, float *restrict da, size_t rows, size_t channels);
double tf_feature_distance_bf16(const uint16_t *restrict a, const uint16_t *restrict b, const float *restrict weight,
                                float scale, uint16_t *restrict da, size_t rows, size_t channels);
