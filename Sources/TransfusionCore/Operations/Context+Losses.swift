internal import CKernels

extension Context {
    /// How many logits are held at once; the rest of the vocabulary's rows wait their turn.
    private static let logitLimit = 1 << 24

    /// The summed cross entropy of `x · weightᵀ`, in chunks of rows, so that all logits never exist at once.
    ///
    /// While recording, the gradients are computed on the way, when the chunk's logits are at hand: `scale · ∂sum/∂x` is
    /// kept and the weight's gradient is added to at once. A backward pass of its own would compute all logits again.
    /// - Parameters:
    ///   - x: `[rows, width]` in the context's type.
    ///   - weight: `[vocabulary, width]`, whole or this rank's part of the rows.
    ///   - targets: One token a row.
    ///   - scale: What the sums are multiplied by in the total loss.
    ///   - zWeight: Of the squared logarithms of the normalisers in the total loss, which keep them near 1: the "z-loss" of
    ///     Chowdhery et al. 2022, "PaLM", section 5, and of Chameleon.
    ///   - apart: Tokens whose loss is told apart too.
    ///   - completesWeight: Whether nothing that comes later in the backward pass adds to the weight's gradient, as an
    ///     embedding does that is the weight too.
    /// - Returns: Σ −log softmax(x · weightᵀ)[target], over all rows and over those whose target is told apart, and
    ///   Σ (log Σ exp(x · weightᵀ))², unscaled.
    package func linearCrossEntropy(
        _ x: Tensor, weight: Parameter, targets: [Int32], scale: Float, zWeight: Float = 0,
        apart: Range<Int32> = 0..<0, completesWeight: Bool = true
    ) throws -> (loss: Double, lossApart: Double, squaredLogSums: Double) {
        let vocabulary = weight.value.rows
        let isSplit = weight.shard != .replicated
        precondition(x.rows == targets.count, "\(targets.count) targets for \(x.rows) rows")
        guard x.rows > 0 else {
            if isRecording, completesWeight { recordRoot { [self] _ in parameterIsReady?(weight) } }
            return (0, 0, 0)
        }
        let dx = isRecording ? empty(x.shape) : nil
        let ids = integers(localTokens(targets, in: weight))
        let losses = empty([x.rows], .f32), logSums = empty([x.rows], .f32)
        // All ranks take the same steps, though their parts may differ by a row.
        let longestPart = (weight.globalShape[0] + weight.shard.count - 1) / weight.shard.count
        let chunk = min(x.rows, max(16, Self.logitLimit / longestPart))
        let operations = 2 * Double(x.rows) * Double(weight.globalCount)
        count(dx == nil ? operations : weight.gradient == nil ? 2 * operations : 3 * operations)
        for first in stride(from: 0, to: x.rows, by: chunk) {
            let rows = min(chunk, x.rows - first)
            let part = x.view(at: first * x.width, [rows, x.width])
            if sumsInHalves {
                try crossEntropyInHalves(
                    part, weight, targets: Array(targets[first..<first + rows]), losses: losses.floatPointer + first,
                    logSums: logSums.floatPointer + first)
                continue
            }
            let logits = empty([rows, vocabulary], .f32)
            multiply(MatrixView(part), MatrixView(weight.value).transposed, into: MatrixView(logits))
            let dlogits = dx == nil ? nil : (type == .f32 ? logits : empty(logits.shape))
            if isSplit {
                try vocabularyParallelCrossEntropy(
                    [(logits, ids.view(at: first, [rows]))], scale: scale, zWeight: zWeight,
                    losses: losses.floatPointer + first, logSums: logSums.floatPointer + first, dlogits: dlogits)
            } else {
                crossEntropy(
                    logits, targets: ids.integerPointer + first, scale: scale, zWeight: zWeight,
                    losses: losses.floatPointer + first, logSums: logSums.floatPointer + first, dlogits: dlogits)
            }
            guard let dx, let dlogits else { continue }
            multiply(
                MatrixView(dlogits), MatrixView(weight.value),
                into: MatrixView(dx.view(at: first * x.width, [rows, x.width])))
            if let dweight = weight.gradient {
                multiply(
                    MatrixView(dlogits).transposed, MatrixView(part), into: MatrixView(dweight), accumulate: true)
            }
        }
        if let dx {
            recordRoot { [self] gradients in
                gradients.add(
                    isSplit ? try summedOverRanks(dx, site: "gradient of the last rows") : dx, to: x)
                if completesWeight { parameterIsReady?(weight) }
            }
        }
        if isSizesOnly { return (0, 0, 0) }
        return (
            losses.f32.reduce(0.0) { $0 + Double($1) },
            zip(losses.f32, targets).reduce(0.0) { apart.contains($1.1) ? $0 + Double($1.0) : $0 },
            logSums.f32.reduce(0.0) { $0 + Double($1) * Double($1) }
        )
    }

    /// The loss of each row of logits that are here whole, and its gradient, which may take the place of the logits.
    private func crossEntropy(
        _ logits: Tensor, targets: UnsafePointer<Int32>, scale: Float, zWeight: Float,
        losses: UnsafeMutablePointer<Float>, logSums: UnsafeMutablePointer<Float>, dlogits: Tensor?
    ) {
        let vocabulary = logits.width
        parallel(logits.rows) { range in
            let start = range.lowerBound * vocabulary
            switch type {
            case .f32:
                tf_cross_entropy_f32(
                    logits.floatPointer + start, targets + range.lowerBound, scale, zWeight,
                    losses + range.lowerBound, logSums + range.lowerBound, dlogits.map { $0.floatPointer + start },
                    range.count, vocabulary)
            default:
                tf_cross_entropy_bf16(
                    logits.floatPointer + start, targets + range.lowerBound, scale, zWeight,
                    losses + range.lowerBound, logSums + range.lowerBound, dlogits.map { $0.halfPointer + start },
                    range.count, vocabulary)
            }
        }
    }

    /// The summed squared error of each image's prediction.
    ///
    /// - Parameters:
    ///   - prediction: `[images · patchesPerImage, patchWidth]`, f32.
    ///   - target: The same shape, f32.
    ///   - images: How many images the rows hold.
    ///   - scale: What the sum over all elements is multiplied by in the total loss.
    ///   - isExcluded: Which images have no error and no gradient; empty for none.
    /// - Returns: Σ (prediction − target)² of each image, unscaled.
    package func squaredError(
        _ prediction: Tensor, target: Tensor, images: Int, scale: Float, isExcluded: [Bool] = []
    ) -> [Double] {
        precondition(prediction.count == target.count)
        let gradient = isRecording ? empty(prediction.shape) : nil
        let count = images == 0 ? 0 : prediction.count / images
        let sums = (0..<images).map { image in
            if isSizesOnly { return 0.0 }
            let start = image * count
            if !isExcluded.isEmpty, isExcluded[image] {
                gradient?.view(at: start, [count]).fill(0)
                return 0
            }
            return type == .f32
                ? tf_squared_error_f32(
                    prediction.floatPointer + start, target.floatPointer + start, scale,
                    gradient.map { $0.floatPointer + start }, count)
                : tf_squared_error_bf16(
                    prediction.floatPointer + start, target.floatPointer + start, scale,
                    gradient.map { $0.halfPointer + start }, count)
        }
        if let gradient { recordRoot { $0.add(gradient, to: prediction) } }
        return sums
    }
}
