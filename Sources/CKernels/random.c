#include "include/random.h"
#include "math.h"

TF_INLINE void philox(uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3, uint32_t k0, uint32_t k1, uint32_t *w0,
                      uint32_t *w1, uint32_t *w2, uint32_t *w3) {
    for (int round = 0; round < 10; round++) {
        const uint64_t p0 = (uint64_t)c0 * 0xD2511F53u, p1 = (uint64_t)c2 * 0xCD9E8D57u;
        const uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0, n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c0 = n0;
        c1 = (uint32_t)p1;
        c2 = n2;
        c3 = (uint32_t)p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    *w0 = c0;
    *w1 = c1;
    *w2 = c2;
    *w3 = c3;
}

void tf_philox_block(const uint32_t counter[4], const uint32_t key[2], uint32_t words[4]) {
    philox(counter[0], counter[1], counter[2], counter[3], key[0], key[1], &words[0], &words[1], &words[2], &words[3]);
}

// cos(2πu) and sin(2πu) for u in [0, 1), by quadrant and Taylor polynomials on [-π/4, π/4].
TF_INLINE void sin_cos_turn(float u, float *sine, float *cosine) {
    const float quadrant = __builtin_rintf(u * 4.0f);
    const float r = (u - quadrant * 0.25f) * 6.28318530718f, z = r * r;
    float s = -1.9515295891e-4f;
    s = s * z + 8.3321608736e-3f;
    s = s * z - 1.6666654611e-1f;
    s = s * z * r + r;
    float c = 2.443315711809948e-5f;
    c = c * z - 1.388731625493765e-3f;
    c = c * z + 4.166664568298827e-2f;
    c = c * z * z - 0.5f * z + 1.0f;
    const int32_t q = (int32_t)quadrant & 3;
    const float a = (q & 1) ? c : s, b = (q & 1) ? s : c;
    *sine = (q & 2) ? -a : a;
    *cosine = (q == 1 || q == 2) ? -b : b;
}

TF_INLINE void normal_block(uint64_t block, uint32_t c2, uint32_t c3, uint64_t key, float scale, float *n) {
    uint32_t w0, w1, w2, w3;
    philox((uint32_t)block, (uint32_t)(block >> 32), c2, c3, (uint32_t)key, (uint32_t)(key >> 32), &w0, &w1, &w2, &w3);
    // (0, 1], so that the logarithm is finite; 24 bits, so that the conversion is exact.
    const float u0 = (float)((w0 >> 8) + 1) * 0x1p-24f, u1 = (float)(w1 >> 8) * 0x1p-24f;
    const float u2 = (float)((w2 >> 8) + 1) * 0x1p-24f, u3 = (float)(w3 >> 8) * 0x1p-24f;
    const float r0 = __builtin_sqrtf(-2.0f * tf_log(u0)) * scale, r1 = __builtin_sqrtf(-2.0f * tf_log(u2)) * scale;
    float s0, k0, s1, k1;
    sin_cos_turn(u1, &s0, &k0);
    sin_cos_turn(u3, &s1, &k1);
    n[0] = r0 * k0;
    n[1] = r0 * s0;
    n[2] = r1 * k1;
    n[3] = r1 * s1;
}

TF_KERNEL void tf_philox_normal(float *out, size_t count, uint64_t first_element, uint64_t counter_low,
                                uint32_t counter2, uint32_t counter3, uint64_t key, float standard_deviation) {
    size_t i = 0;
    while (i < count) {
        const uint64_t element = first_element + i;
        float n[4];
        if (element % 4 == 0 && count - i >= 4) {
            const size_t blocks = (count - i) / 4;
            for (size_t b = 0; b < blocks; b++)
                normal_block(counter_low + element / 4 + b, counter2, counter3, key, standard_deviation, out + i + 4 * b);
            i += 4 * blocks;
        } else {
            normal_block(counter_low + element / 4, counter2, counter3, key, standard_deviation, n);
            out[i++] = n[element % 4];
        }
    }
}
