internal import TransfusionCore
internal import TransfusionModels

extension Generator {
    /// Draws one image at the end of each sequence of the first branch, token by token; the images do not become part of the
    /// sequences.
    ///
    /// Guidance moves the logits of the image's tokens, and no other token is chosen.
    /// - Parameters:
    ///   - branches: The sequences of each branch of guidance, one for each image. All of them end with BOI.
    ///   - scales: How far each branch but the last is moved away from the next.
    /// - Returns: The numbers of the codes, `[images, 1, height, width]`.
    /// ### References
    /// Chameleon (arXiv 2405.09818), and the guidance of its published code.
    func drawTokens(
        in batch: SequenceBatch, at branches: [[Int]], scales: [Float], seeds: [ImageSeed],
        _ settings: ImageSettings, progress: (Int) -> Void
    ) throws -> [Float] {
        let sequences = branches.flatMap(\.self), images = seeds.count
        let size = configuration.patchesPerImage, codes = configuration.imageCodes
        let samplers = seeds.map { TokenSampler(settings.tokenSettings, $0.random) }
        var drawn = [Float](repeating: 0, count: images * size)
        // The row of BOI is computed once more, for what it predicts.
        for sequence in sequences { batch.removeLast(1, of: sequence) }
        var next = [Int32](repeating: configuration.beginOfImage, count: images)
        for place in 0..<size {
            let rows = try batch.append(sequences.enumerated().map { ($1, [next[$0 % images]]) })
            let logits = try batch.lastLogits(rows).flatMap { $0[configuration.textVocabulary...] }
            let guided = Self.guided(logits, by: scales)
            try requireFinite(guided)
            for image in 0..<images {
                let own = Array(guided[image * codes..<(image + 1) * codes])
                let code = samplers[image].choose(from: own, at: place) { _ in true }
                drawn[image * size + place] = Float(code)
                next[image] = Int32(configuration.textVocabulary) + code
            }
            progress(place + 1)
        }
        for sequence in sequences { batch.removeLast(size - 1, of: sequence) }
        return drawn
    }
}
