extension Context {
    /// The hinge loss of a discriminator's logits, which shall be at least 1 for real pictures and at most −1 for others.
    ///
    /// - Parameters:
    ///   - logits: Of any shape, in the context's type.
    ///   - scale: What the sum is multiplied by in the total loss.
    /// - Returns: Σ max(0, 1 ∓ logit) and Σ logit, unscaled, and the gradient of the scaled sum.
    /// ### References
    /// Lim and Ye 2017, "Geometric GAN"; the discriminator of Esser, Rombach and Ommer 2021.
    package func hingeLoss(_ logits: Tensor, isReal: Bool, scale: Float) -> (
        loss: Double, logits: Double, gradient: Tensor
    ) {
        let sign: Float = isReal ? 1 : -1
        let values = converted(logits, to: .f32), gradient = empty(logits.shape, .f32)
        var loss = 0.0, sum = 0.0
        compute {
            for index in 0..<values.count {
                let margin = 1 - sign * values.f32[index]
                sum += Double(values.f32[index])
                // NaN is no margin, and has to show in the loss.
                loss += Double(margin > 0 || margin.isNaN ? margin : 0)
                gradient.f32[index] = margin > 0 ? -sign * scale : 0
            }
        }
        return (loss, sum, converted(gradient, to: logits.type))
    }

    /// A constant as the gradient of each number of `x`.
    package func constantGradient(_ value: Float, of x: Tensor) -> Tensor {
        let gradient = empty(x.shape, .f32)
        compute { gradient.fill(value) }
        return converted(gradient, to: x.type)
    }

    /// Puts a loss on the tape whose gradient is known already.
    package func recordLoss(gradient: Tensor, of x: Tensor) {
        recordRoot { $0.add(gradient, to: x) }
    }

    /// `a + factor · b`, computed in f32.
    package func sum(_ a: Tensor, _ b: Tensor, times factor: Float) -> Tensor {
        let first = converted(a, to: .f32), second = converted(b, to: .f32), result = empty(a.shape, .f32)
        parallel(a.count, grain: Self.grain) { range in
            let (first, second, to) = (first.floatPointer, second.floatPointer, result.floatPointer)
            for index in range { to[index] = first[index] + factor * second[index] }
        }
        return converted(result, to: a.type)
    }
}
