// The matrix product for one instruction set; see level.h.
#include "level.h"

/// The first operand as words along the depth; `step` gets the words from one row to the next, unless it is transposed.
static const WORD *NAME(first_operand)(const tf_gemm_problem *g, size_t first_row, size_t rows, WORD *packed, size_t *step) {
    const size_t words = (g->depth + DEPTH_OF_WORD - 1) / DEPTH_OF_WORD, size = g->is_bf16 ? 2 : 4;
    if (g->a_transposed) {
        NAME(pack_down)((const char *)g->a + first_row * size, g->a_stride, g->is_bf16, 0, g->depth, 0, g->depth, rows,
                        ROW_PANEL, packed);
        return packed;
    }
    *step = words;
    const char *from = (const char *)g->a + first_row * g->a_stride * size;
    if (reads_rows_in_place(g)) {
        *step = g->a_stride / DEPTH_OF_WORD;
        return (const WORD *)from;
    }
    for (size_t r = 0; r < rows; r++) {
        packed[r * words + words - 1] = 0;
        memcpy(packed + r * words, from + r * g->a_stride * size, g->depth * size);
    }
    return packed;
}

/// `to (+)= a · panel` for `width` columns (in steps of 16) and `depth` words, with a as `first_operand` gave it.
static void NAME(panel_product)(const tf_gemm_problem *g, size_t rows, const WORD *a, size_t step, size_t first_word,
                                size_t depth, const WORD *panel, size_t b_step, size_t width, const NAME(result) to,
                                const int accumulate, soon_read *soon) {
    const size_t words = (g->depth + DEPTH_OF_WORD - 1) / DEPTH_OF_WORD;
    const size_t together = g->a_transposed ? ROW_PANEL : rows;
    for (size_t r = 0; r < rows; r += together) {
        const size_t count = at_most(together, rows - r), across = round_up(count, 16);
        const WORD *from = g->a_transposed ? a + r * words + first_word * across : a + first_word;
        const size_t a_row = g->a_transposed ? 1 : step, a_step = g->a_transposed ? across : 1;
        size_t column = 0;
        for (; column + 4 * LANES <= width; column += 4 * LANES)
            NAME(strip)(4, count, depth, from, a_row, a_step, panel + column, b_step, NAME(part)(to, r, column), accumulate,
                        soon);
        for (; column < width; column += LANES)
            NAME(strip)(1, count, depth, from, a_row, a_step, panel + column, b_step, NAME(part)(to, r, column), accumulate,
                        soon);
    }
}

/// What is packed after the panel of the columns from `column` whose depth ends at `end`.
TF_INLINE soon_read NAME(next_panel)(const tf_gemm_problem *g, size_t column, size_t end) {
    const size_t size = g->is_bf16 ? 2 : 4;
    if (end == g->depth) {
        column += PANEL;
        end = 0;
    }
    if (!g->b_transposed || column >= g->columns) return (soon_read){0};
    if (g->b_packed) {
        // A few rows are no work during which memory could be read.
        if (g->rows <= 8) return (soon_read){0};
        const size_t words = g->depth / DEPTH_OF_WORD, first = end / DEPTH_OF_WORD;
        const size_t bytes = at_most(words - first, DEPTH_BLOCK) * PANEL * 4;
        const char *next = (const char *)g->b + (column * words + first * PANEL) * 4;
        return (soon_read){.next = next, .row_bytes = bytes, .stride = bytes, .rows = 1};
    }
    return (soon_read){
        .next = (const char *)g->b + (column * g->b_stride + end) * size,
        .row_bytes = at_most(g->depth - end, DEPTH_BLOCK * DEPTH_OF_WORD) * size,
        .stride = g->b_stride * size,
        .rows = at_most(PANEL, g->columns - column),
    };
}

static void NAME(gemm)(const tf_gemm_problem *g, const gemm_memory *m) {
    const size_t words = (g->depth + DEPTH_OF_WORD - 1) / DEPTH_OF_WORD, size = g->is_bf16 ? 2 : 4;
    for (size_t row = 0; row < g->rows; row += ROW_BLOCK) {
        const size_t rows = at_most(ROW_BLOCK, g->rows - row);
        size_t step = 0;
        const WORD *a = NAME(first_operand)(g, row, rows, m->a, &step);
        for (size_t column = 0; column < g->columns; column += PANEL) {
            const size_t count = at_most(PANEL, g->columns - column), width = round_up(count, 16);
            // Rows become columns of whole panels; columns may fill a narrower one.
            const size_t b_step = g->b_transposed ? PANEL : width;
            // Whole vectors are written where they belong. Sums of bf16 results stay f32 until the last of the depth.
            const int is_whole = width == count, direct = is_whole && !g->writes_bf16;
            const NAME(result) sums = direct
                ? (NAME(result)){(float *)g->c + row * g->c_stride + column, g->c_stride, NULL, 0}
                : (NAME(result)){m->c, PANEL, NULL, 0};
            for (size_t word = 0; word < words; word += DEPTH_BLOCK) {
                const size_t depth = at_most(DEPTH_BLOCK, words - word), first = word * DEPTH_OF_WORD;
                const size_t end = at_most(g->depth, first + depth * DEPTH_OF_WORD);
                const WORD *panel = m->b;
                if (g->b_packed)
                    panel = (const WORD *)g->b + column * words + word * PANEL;
                else if (g->b_transposed)
                    NAME(pack_across)((const char *)g->b + (column * g->b_stride + first) * size, g->b_stride, g->is_bf16,
                                      0, PANEL, 0, count, end - first, m->b);
                else
                    NAME(pack_down)((const char *)g->b + column * size, g->b_stride, g->is_bf16, first, end - first, first,
                                    end, count, PANEL, m->b);
                NAME(result) to = sums;
                if (is_whole && g->writes_bf16 && word + depth == words) {
                    to.narrow = (uint16_t *)g->c + row * g->c_stride + column;
                    to.narrow_row = g->c_stride;
                }
                soon_read soon = NAME(next_panel)(g, column, end);
                soon.lines_of_row = (soon.rows * (soon.row_bytes / 64 + 1) + rows - 1) / rows;
                if (word > 0 || (direct && g->accumulate))
                    NAME(panel_product)(g, rows, a, step, word, depth, panel, b_step, width, to, 1, &soon);
                else
                    NAME(panel_product)(g, rows, a, step, word, depth, panel, b_step, width, to, 0, &soon);
            }
            if (!is_whole) write_panel(g, m->c, row, rows, column, count);
        }
    }
}

#include "level_end.h"
