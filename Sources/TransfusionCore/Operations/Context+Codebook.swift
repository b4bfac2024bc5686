internal import CKernels

extension Context {
    /// What a codebook has for vectors.
    package struct Lookup {
        /// The codes' vectors, of the shape of what was given.
        package let vectors: Tensor
        /// Their numbers, one a row, i32.
        package let codes: Tensor
        /// What the codes were compared with: what was given, or that scaled to a length of 1.
        package let compared: Tensor
        /// Of each image the sum of (code − compared)², unscaled and once.
        package let errors: [Double]
    }

    /// Replaces each vector by the nearest one of a codebook; the gradient passes as if it had not been replaced.
    ///
    /// The loss of an image is the sum of (code − z)² + commitment · (code − z)², of which the first moves the codes alone
    /// and the second z alone.
    /// - Parameters:
    ///   - z: `[…, width]` in the context's type.
    ///   - codebook: `[codes, width]`.
    ///   - hasUnitLength: Whether z and the codes are scaled to a length of 1 before all else.
    ///   - images: How many images the rows hold.
    ///   - scale: What the sum is multiplied by in the total loss.
    /// ### References
    /// Van den Oord, Vinyals and Kavukcuoglu 2017, "Neural discrete representation learning", equation 3; unit lengths are
    /// those of Yu et al. 2022, "Vector-quantized image modeling with improved VQGAN", section 3.2.
    package func quantized(
        _ given: Tensor, codebook: Parameter, hasUnitLength: Bool = false, images: Int, commitment: Float, scale: Float
    ) -> Lookup {
        let z = hasUnitLength ? unitRows(given) : given
        let stored = hasUnitLength ? converted(codebook.value, to: .f32) : codebook.value!
        let book = hasUnitLength ? converted(scaledToUnit(stored), to: type) : stored
        let codes = nearestCodes(z, book), y = empty(z.shape)
        compute {
            for row in 0..<z.rows {
                copy(book, at: Int(codes.i32[row]) * z.width, to: y, at: row * z.width, count: z.width)
            }
        }
        let rows = z.rows / max(images, 1)
        let errors = (0..<images).map { image in
            codebookPass(z, book, codes, rows: image * rows..<(image + 1) * rows, nil, nil, 0, nil, 0)
        }
        let vectors = record(y) { [self] dy, gradients in
            let dz = empty(z.shape), trained = codebook.gradient
            var dbook = trained
            if trained != nil, hasUnitLength {
                dbook = empty(book.shape, .f32)
                compute { dbook?.fill(0) }
            }
            _ = codebookPass(
                z, book, codes, rows: 0..<z.rows, dy, dz, 2 * scale * commitment, dbook, 2 * scale)
            if let trained, let dbook, hasUnitLength { accumulate(unitGradient(stored, dbook), into: trained) }
            gradients.add(dz, to: z)
            parameterIsReady?(codebook)
        }
        return Lookup(vectors: vectors, codes: codes, compared: z, errors: errors)
    }

    /// The vectors of codes that are known by their numbers, `[numbers, width]`: those that `quantized` gives.
    package func vectors(ofCodes numbers: [Int32], _ codebook: Parameter, hasUnitLength: Bool) -> Tensor {
        guard hasUnitLength else { return gather(codebook.value, rows: numbers) }
        return gather(converted(scaledToUnit(converted(codebook.value, to: .f32)), to: type), rows: numbers)
    }

    /// For each row the number of the nearest code, i32.
    private func nearestCodes(_ z: Tensor, _ book: Tensor) -> Tensor {
        let width = z.width, codes = empty([z.rows], .i32)
        precondition(book.type == type && book.width == width, "vectors of \(width) and codes of \(book.shape)")
        let turned = empty([width, book.rows], .f32)
        compute {
            if type == .f32 {
                tf_channels_first_f32(book.floatPointer, turned.floatPointer, width, book.rows)
            } else {
                tf_channels_first_bf16(book.halfPointer, turned.floatPointer, width, book.rows)
            }
        }
        parallel(z.rows, grain: max(1, (1 << 18) / book.count)) { rows in
            let start = rows.lowerBound * width, to = codes.integerPointer + rows.lowerBound
            switch type {
            case .f32:
                tf_nearest_codes_f32(z.floatPointer + start, turned.floatPointer, to, rows.count, width, book.rows)
            default:
                tf_nearest_codes_bf16(z.halfPointer + start, turned.floatPointer, to, rows.count, width, book.rows)
            }
        }
        return codes
    }

    /// See `tf_codebook_f32`; without `dz` only the sum of squares.
    private func codebookPass(
        _ z: Tensor, _ book: Tensor, _ codes: Tensor, rows: Range<Int>, _ dy: Tensor?, _ dz: Tensor?,
        _ zScale: Float, _ dbook: Tensor?, _ codeScale: Float
    ) -> Double {
        if isSizesOnly { return 0 }
        let start = rows.lowerBound * z.width, nearest = codes.integerPointer + rows.lowerBound
        return type == .f32
            ? tf_codebook_f32(
                z.floatPointer + start, book.floatPointer, nearest, dy?.floatPointer, zScale, dz?.floatPointer,
                codeScale, dbook?.floatPointer, rows.count, z.width)
            : tf_codebook_bf16(
                z.halfPointer + start, book.halfPointer, nearest, dy?.halfPointer, zScale, dz?.halfPointer,
                codeScale, dbook?.floatPointer, rows.count, z.width)
    }

    /// Each row divided by its length, as PyTorch's `normalize` does.
    private func unitRows(_ x: Tensor) -> Tensor {
        record(scaledToUnit(x)) { [self] dy, gradients in gradients.add(unitGradient(x, dy), to: x) }
    }

    private func scaledToUnit(_ x: Tensor) -> Tensor {
        let y = empty(x.shape, x.type)
        parallel(x.rows, grain: Self.rowGrain(x.width)) { rows in
            let start = rows.lowerBound * x.width
            switch x.type {
            case .f32: tf_unit_rows_f32(x.floatPointer + start, y.floatPointer + start, rows.count, x.width)
            default: tf_unit_rows_bf16(x.halfPointer + start, y.halfPointer + start, rows.count, x.width)
            }
        }
        return y
    }

    /// What `scaledToUnit` makes of the gradient of its result.
    private func unitGradient(_ x: Tensor, _ dy: Tensor) -> Tensor {
        precondition(x.type == dy.type)
        let dx = empty(x.shape, x.type)
        parallel(x.rows, grain: Self.rowGrain(x.width)) { rows in
            let start = rows.lowerBound * x.width
            switch x.type {
            case .f32:
                tf_unit_rows_backward_f32(
                    x.floatPointer + start, dy.floatPointer + start, dx.floatPointer + start, rows.count, x.width)
            default:
                tf_unit_rows_backward_bf16(
                    x.halfPointer + start, dy.halfPointer + start, dx.halfPointer + start, rows.count, x.width)
            }
        }
        return dx
    }
}
