internal import CKernels
internal import Glibc

/// What an attention is, apart from its operands.
public struct SpanAttentionShape {
    /// Heads of queries.
    public let heads: Int
    /// Heads of keys and values. Query heads that follow each other share one, equally many each.
    public let keyValueHeads: Int
    /// Columns of a head; even.
    public let headWidth: Int
    /// What scores are multiplied by, usually 1 / √headWidth.
    public let scale: Float
    public let spans: VisibleSpans

    /// - Parameter keyValueHeads: As many as heads of queries unless given.
    public init(heads: Int, keyValueHeads: Int? = nil, headWidth: Int, scale: Float, spans: VisibleSpans) {
        let keyValueHeads = keyValueHeads ?? heads
        precondition(
            keyValueHeads > 0 && heads % keyValueHeads == 0, "\(heads) heads do not share \(keyValueHeads) evenly")
        precondition(headWidth % 2 == 0 && headWidth > 0, "heads have an even width, not \(headWidth)")
        precondition(scale > 0, "scores are multiplied by a positive number, not \(scale)")
        self.heads = heads
        self.keyValueHeads = keyValueHeads
        self.headWidth = headWidth
        self.scale = scale
        self.spans = spans
    }
}

/// Attention in which each query sees an interval of keys, tile by tile: no matrix of all scores exists, tiles outside the
/// intervals are not touched, and memory grows with the number of rows.
///
/// Operands are matrices `[rows, heads · headWidth]`, not transposed, all f32 or all bf16; scores and sums are f32. Keys and
/// values have the columns of their own heads, which query heads may share: in tiles, their keys are packed once.
///
/// ### References
/// Dao et al. 2022 (FlashAttention): softmax over tiles, weights computed again in the backward pass. Ainslie et al. 2023
/// (GQA): grouped-query attention.
public final class SpanAttentionKernel {
    private let pool: ThreadPool
    private let level: tf_attention_level
    private let scratch: [ScratchMemory]
    private(set) var busy = BusyTime()

    /// - Parameter instructionSet: At most what to use, as `CPUReport.instructionSet` names it; for tests of the kernels
    ///   for other machines.
    public init(pool: ThreadPool, instructionSet: String = CPUReport().instructionSet) {
        self.pool = pool
        level =
            switch instructionSet {
            case "x86-64-v4" where CPUReport.hasBF16Units: TF_ATTENTION_AVX512_BF16
            case "x86-64-v4": TF_ATTENTION_AVX512
            case "x86-64-v3": TF_ATTENTION_AVX2
            default: TF_ATTENTION_BASELINE
            }
        scratch = (0..<pool.threadCount).map { _ in ScratchMemory() }
    }

    /// `output = softmax(scale · query · keyᵀ) · value`, in each head and over the visible keys; zero where there is none.
    ///
    /// - Parameters:
    ///   - query: One row for each interval of `shape.spans`.
    ///   - key: As many rows as the intervals count, or more.
    ///   - value: Like `key`.
    ///   - output: Like `query`; written.
    ///   - logSumExp: log Σ exp of the scores, `[heads, queries]`, f32; written, -infinity where nothing is visible.
    public func forward(
        _ shape: SpanAttentionShape, query: MatrixView, key: MatrixView, value: MatrixView, into output: MatrixView,
        logSumExp: Tensor
    ) {
        let start = ContinuousClock.now
        defer { busy.add(since: start) }
        let spans = shape.spans, queries = spans.queryCount
        check(shape, heads: shape.heads, rows: queries, query, output)
        check(shape, heads: shape.keyValueHeads, rows: key.rows, key, value)
        precondition(spans.keyCount <= key.rows, "intervals reach to key \(spans.keyCount) of \(key.rows)")
        precondition(logSumExp.count == shape.heads * queries, "one number for each head and query")
        let runs = runsOfQueries(shape)
        // Row by row nothing is packed, and heads that share their keys may run side by side.
        let together = spans.prefersRows ? 1 : shape.heads / shape.keyValueHeads, tasks = shape.heads / together
        pool.tasks(tasks * runs.count) { task, thread in
            let heads = task % tasks * together..<(task % tasks + 1) * together
            let run = runs[task / tasks]
            withHeads(shape, heads, run.queries, run.keys, query, key, value, output, logSumExp) { description in
                let memory = scratch[thread].take(tf_attention_forward_scratch(&description))
                if spans.prefersRows {
                    tf_attention_forward_rows(&description, level, memory)
                } else {
                    tf_attention_forward(&description, level, memory)
                }
            }
        }
    }

    /// The gradients of `query`, `key` and `value`, which are written, not added to.
    ///
    /// - Parameters:
    ///   - output: What `forward` wrote.
    ///   - logSumExp: What `forward` wrote.
    public func backward(
        _ shape: SpanAttentionShape, query: MatrixView, key: MatrixView, value: MatrixView, output: MatrixView,
        logSumExp: Tensor, outputGradient: MatrixView, queryGradient: MatrixView, keyGradient: MatrixView,
        valueGradient: MatrixView
    ) {
        let start = ContinuousClock.now
        defer { busy.add(since: start) }
        let spans = shape.spans
        check(shape, heads: shape.heads, rows: spans.queryCount, query, output, outputGradient, queryGradient)
        check(shape, heads: shape.keyValueHeads, rows: key.rows, key, value, keyGradient, valueGradient)
        precondition(query.type == key.type, "queries are \(query.type), keys \(key.type)")
        precondition(spans.keyCount <= key.rows, "intervals reach to key \(spans.keyCount) of \(key.rows)")
        // Keys behind the last interval belong to no group.
        let unseen = spans.keyCount..<key.rows
        if !unseen.isEmpty {
            keyGradient.slice(rows: unseen).clear()
            valueGradient.slice(rows: unseen).clear()
        }
        // The sums over the queries of a group have one order, so that the result does not depend on the threads.
        let together = shape.heads / shape.keyValueHeads
        pool.tasks(shape.keyValueHeads * spans.groups.count) { task, thread in
            let keyHead = task % shape.keyValueHeads
            let heads = keyHead * together..<(keyHead + 1) * together
            let group = spans.groups[task / shape.keyValueHeads]
            withHeads(shape, heads, group.queries, group.keys, query, key, value, output, logSumExp) { description in
                let first = heads.lowerBound * shape.headWidth, firstKey = keyHead * shape.headWidth
                description.output_gradient = UnsafeRawPointer(outputGradient.column(first))
                description.output_gradient_stride = outputGradient.rowStride
                description.query_gradient = queryGradient.column(first)
                description.query_gradient_stride = queryGradient.rowStride
                description.key_gradient = keyGradient.column(firstKey)
                description.key_gradient_stride = keyGradient.rowStride
                description.value_gradient = valueGradient.column(firstKey)
                description.value_gradient_stride = valueGradient.rowStride
                let memory = scratch[thread].take(tf_attention_backward_scratch(&description))
                tf_attention_backward(&description, level, memory)
            }
        }
    }

    /// Groups, cut further when there are too few to keep all threads busy. Rows do not depend on how they are cut.
    private func runsOfQueries(_ shape: SpanAttentionShape) -> [VisibleSpans.Group] {
        let spans = shape.spans
        let wanted = (4 * pool.threadCount + shape.keyValueHeads - 1) / shape.keyValueHeads
        // Tiles of 64 queries stay whole, and so many share the cost of gathering their keys.
        let longest = spans.prefersRows ? 1 : max(128, (spans.queryCount / max(wanted, 1) + 63) / 64 * 64)
        return spans.groups.flatMap { group in
            stride(from: group.queries.lowerBound, to: group.queries.upperBound, by: longest).map { first in
                let queries = first..<min(first + longest, group.queries.upperBound)
                return VisibleSpans.Group(queries: queries, keys: spans.keys(of: queries))
            }
        }
    }

    private func check(_ shape: SpanAttentionShape, heads: Int, rows: Int, _ matrices: MatrixView...) {
        for matrix in matrices {
            precondition(
                matrix.rows == rows && matrix.columns == heads * shape.headWidth && !matrix.isTransposed
                    && matrix.type == matrices[0].type,
                "attention of \(rows) rows, \(heads) heads of \(shape.headWidth) got \(matrix)")
        }
    }

    /// - Parameter heads: Query heads that share a key head: all of them, or some.
    private func withHeads(
        _ shape: SpanAttentionShape, _ heads: Range<Int>, _ queries: Range<Int>, _ keys: Range<Int>,
        _ query: MatrixView,
        _ key: MatrixView, _ value: MatrixView, _ output: MatrixView, _ logSumExp: Tensor,
        _ body: (inout tf_attention_head) -> Void
    ) {
        let first = heads.lowerBound * shape.headWidth
        let firstKey = heads.lowerBound / (shape.heads / shape.keyValueHeads) * shape.headWidth
        shape.spans.start.withUnsafeBufferPointer { start in
            shape.spans.end.withUnsafeBufferPointer { end in
                var description = tf_attention_head()
                description.query = UnsafeRawPointer(query.column(first))
                description.query_stride = query.rowStride
                description.key = UnsafeRawPointer(key.column(firstKey))
                description.key_stride = key.rowStride
                description.value = UnsafeRawPointer(value.column(firstKey))
                description.value_stride = value.rowStride
                description.output = output.column(first)
                description.output_stride = output.rowStride
                description.log_sum_exp = logSumExp.f32.baseAddress! + heads.lowerBound * shape.spans.queryCount
                description.log_sum_exp_stride = shape.spans.queryCount
                description.query_heads = heads.count
                description.visible_start = start.baseAddress
                description.visible_end = end.baseAddress
                description.first_query = queries.lowerBound
                description.query_end = queries.upperBound
                description.first_key = keys.lowerBound
                description.key_end = keys.upperBound
                description.width = shape.headWidth
                description.scale = shape.scale
                description.is_bf16 = query.type == .bf16 ? 1 : 0
                body(&description)
            }
        }
    }
}

extension MatrixView {
    /// Where column `index` of row 0 lies.
    fileprivate func column(_ index: Int) -> UnsafeMutableRawPointer { address + index * type.byteCount }
}
