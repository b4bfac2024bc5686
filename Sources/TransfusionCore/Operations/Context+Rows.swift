internal import CKernels
internal import Glibc

extension Context {
    /// The input of the transformer: token embeddings, with projected patches at the rows of images.
    ///
    /// - Parameters:
    ///   - tokens: The token of each row, -1 at patches.
    ///   - embedding: `[vocabulary, width]`, whole or this rank's part of the rows.
    ///   - patches: `[images · patchesPerImage, width]` in the context's type, or nil without images.
    ///   - imageStarts: The first row of each image.
    /// - Returns: `[rows, width]`, f32.
    package func embed(_ tokens: [Int32], embedding: Parameter, patches: Tensor?, imageStarts: [Int32]) throws -> Tensor
    {
        let width = embedding.value.width
        let ids = integers(localTokens(tokens, in: embedding))
        let x = empty([tokens.count, width], .f32)
        let isSplit = embedding.shard != .replicated
        if isSplit { x.fill(0) }
        parallel(tokens.count, grain: Self.rowGrain(width)) { rows in
            let ids = ids.integerPointer + rows.lowerBound, xs = x.floatPointer + rows.lowerBound * width
            switch embedding.value.type {
            case .f32: tf_embedding_forward_f32(embedding.value.floatPointer, ids, xs, rows.count, width)
            default: tf_embedding_forward_bf16(embedding.value.halfPointer, ids, xs, rows.count, width)
            }
        }
        // Each row comes from one rank, and zeros from the others.
        if isSplit { try tensorParallel.allReduceSum(x.f32, site: "embedding") }
        let patchesPerImage = patches.map { $0.rows / max(imageStarts.count, 1) } ?? 0
        if let patches {
            for (image, start) in imageStarts.enumerated() {
                copy(
                    patches, at: image * patchesPerImage * width, to: x, at: Int(start) * width,
                    count: patchesPerImage * width)
            }
        }
        return record(x) { [self] dx, gradients in
            if let table = embedding.gradient {
                // Threads share the columns, so that repeated tokens add up in the order of the rows.
                parallel(width, grain: 64) { columns in
                    tf_embedding_backward(
                        dx.floatPointer, ids.integerPointer, table.floatPointer, tokens.count, width,
                        columns.lowerBound, columns.upperBound)
                }
                parameterIsReady?(embedding)
            }
            guard let patches else { return }
            let dpatches = empty(patches.shape)
            for (image, start) in imageStarts.enumerated() {
                copy(
                    dx, at: Int(start) * width, to: dpatches, at: image * patchesPerImage * width,
                    count: patchesPerImage * width)
            }
            gradients.add(dpatches, to: patches)
        }
    }

    /// The given rows of `x`, in the given order.
    ///
    /// - Parameter x: `[rows, width]` in the context's type.
    package func gather(_ x: Tensor, rows indices: [Int32]) -> Tensor {
        let rowBytes = x.width * x.type.byteCount
        let y = empty([indices.count, x.width])
        let source = x.bytes.baseAddress!, target = y.bytes.baseAddress!
        compute {
            for (row, index) in indices.enumerated() {
                memcpy(target + row * rowBytes, source + Int(index) * rowBytes, rowBytes)
            }
        }
        return record(y) { [self] dy, gradients in
            gradients.update(x, x.type) { dx, holdsSum in
                guard !isSizesOnly else { return }
                if !holdsSum { memset(dx.bytes.baseAddress!, 0, dx.byteCount) }
                // A row may be in several gathers: the last patch of an image can have a text target too.
                for (row, index) in indices.enumerated() {
                    let sum = Int(index) * x.width, addend = row * x.width
                    switch x.type {
                    case .f32: tf_accumulate_f32(dy.floatPointer + addend, dx.floatPointer + sum, x.width)
                    default: tf_accumulate_bf16(dy.halfPointer + addend, dx.halfPointer + sum, x.width)
                    }
                }
            }
        }
    }

    /// `x` as often as it takes to have `count` rows, copy after copy.
    package func repeated(_ x: Tensor, to count: Int) -> Tensor {
        guard x.rows != count else { return x }
        precondition(!isRecording && rowOffsets == nil, "rows are repeated where nothing is trained")
        precondition(count.isMultiple(of: x.rows), "\(x.rows) rows do not repeat to \(count)")
        let y = empty([count, x.width], x.type)
        parallel(count / x.rows) { copies in
            for number in copies { copy(x, at: 0, to: y, at: number * x.count, count: x.count) }
        }
        return y
    }

    /// Adds row g of `addend` to each of the `group` rows of group g.
    ///
    /// - Parameters:
    ///   - x: `[groups · group, width]`.
    ///   - addend: `[groups, width]`.
    package func addToGroups(_ x: Tensor, _ addend: Tensor) -> Tensor {
        let groups = addend.rows, group = x.rows / max(addend.rows, 1), width = x.width
        let y = empty(x.shape), grain = Self.rowGrain(group * width)
        parallel(groups, grain: grain) { range in
            let first = range.lowerBound, start = first * group * width, addends = first * width
            switch type {
            case .f32:
                tf_add_group_rows_f32(
                    x.floatPointer + start, addend.floatPointer + addends, y.floatPointer + start, range.count, group,
                    width)
            default:
                tf_add_group_rows_bf16(
                    x.halfPointer + start, addend.halfPointer + addends, y.halfPointer + start, range.count, group,
                    width)
            }
        }
        return record(y) { [self] dy, gradients in
            let sums = empty(addend.shape, .f32)
            sums.fill(0)
            parallel(groups, grain: grain) { range in
                for number in range {
                    let start = number * group * width, to = sums.floatPointer + number * width
                    switch type {
                    case .f32: tf_column_sums_f32(dy.floatPointer + start, to, group, width)
                    default: tf_column_sums_bf16(dy.halfPointer + start, to, group, width)
                    }
                }
            }
            gradients.add(converted(sums, to: type), to: addend)
            gradients.add(dy, to: x)
        }
    }

    /// Integers as a tensor.
    func integers(_ values: [Int32]) -> Tensor {
        let tensor = empty([values.count], .i32)
        compute { _ = tensor.i32.update(from: values) }
        return tensor
    }

    /// Floats as a tensor of the context's type, or another. With sizes only they are not asked for.
    public func tensor(_ values: @autoclosure () -> [Float], _ shape: [Int], _ type: ElementType? = nil) -> Tensor {
        let exact = empty(shape, .f32)
        compute {
            let values = values()
            precondition(values.count == exact.count, "\(values.count) values for a tensor of \(shape)")
            _ = exact.f32.update(from: values)
        }
        return converted(exact, to: type ?? self.type)
    }

    /// Copies a run of elements, converting between f32 and bf16.
    func copy(_ source: Tensor, at start: Int, to target: Tensor, at position: Int, count: Int) {
        if isSizesOnly { return }
        switch (source.type, target.type) {
        case (.f32, .bf16): tf_convert_f32_to_bf16(source.floatPointer + start, target.halfPointer + position, count)
        case (.bf16, .f32): tf_convert_bf16_to_f32(source.halfPointer + start, target.floatPointer + position, count)
        default:
            let size = source.type.byteCount
            memcpy(target.bytes.baseAddress! + position * size, source.bytes.baseAddress! + start * size, count * size)
        }
    }
}
