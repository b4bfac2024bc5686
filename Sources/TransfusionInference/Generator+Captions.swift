internal import TransfusionCore

extension Generator {
    /// The tokens of a description of an image, `[channels, height, width]` as the model sees it; at least one.
    /// - Parameter progress: Gets how many tokens there are.
    public func caption(
        of image: [Float], _ text: TextSettings, seed: UInt64, progress: (Int) -> Void = { _ in }
    ) throws -> [Int32] {
        var settings = Continuation()
        settings.text = text
        // In training nothing follows an image whose caption was left out, which looks the same so far.
        settings.mayBeEmpty = false
        let parts = try continuation(of: [.image(image)], settings, seed: seed, progress: progress)
        return parts.flatMap { part -> [Int32] in
            if case .text(let tokens) = part { tokens } else { [] }
        }
    }
}
