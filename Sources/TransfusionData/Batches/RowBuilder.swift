internal import TransfusionCore
internal import TransfusionModels

/// Lays documents one after the other into the rows of a micro-batch.
struct RowBuilder {
    private let model: ModelConfiguration
    private let data: DataMixture
    private var tokens: [Int32] = []
    private var documentStarts: [Int32] = []
    private var imageStarts: [Int32] = []
    private var images: [(source: Int, image: Int, isMirrored: Bool)] = []
    private var imageIndices: [Int] = []
    private var timestepLimits: [Int] = []
    private var pairs: [Int] = []

    init(model: ModelConfiguration, data: DataMixture, rows: Int) {
        self.model = model
        self.data = data
        tokens.reserveCapacity(rows)
    }

    /// `[BOS] caption [BOI] patches [EOI] [EOS]`, `[BOS] [BOI] patches [EOI] caption [EOS]`, or without the caption. An edit is
    /// `[BOS] [BOI] original [EOI] instruction [BOI] patches [EOI] [EOS]`, or without one of its two conditions or both.
    mutating func add(_ element: PairStream.Element, index: Int, limit: Int) throws(DataError) {
        beginDocument()
        tokens.append(model.beginOfText)
        if let original = element.original { try appendImage(original, of: element, index: index, limit: 0) }
        if element.order == .captionFirst { try appendCaption(element) }
        try appendImage(element.record.image, of: element, index: index, limit: limit)
        if element.order == .imageFirst { try appendCaption(element) }
        tokens.append(model.endOfText)
    }

    private mutating func appendImage(
        _ image: Int, of element: PairStream.Element, index: Int, limit: Int
    ) throws(DataError) {
        tokens.append(model.beginOfImage)
        defer { tokens.append(model.endOfImage) }
        guard model.images != .tokens else {
            tokens += model.imageTokens(try data.datasets[element.source].image(image))
            return
        }
        imageStarts.append(Int32(tokens.count))
        tokens.append(contentsOf: repeatElement(-1, count: model.patchesPerImage))
        images.append((element.source, image, element.isMirrored))
        imageIndices.append(index)
        timestepLimits.append(limit)
        pairs.append(element.pair)
    }

    private mutating func appendCaption(_ element: PairStream.Element) throws(DataError) {
        try data.datasets[element.source].appendCaption(element.record, prefix: element.captionTokens, to: &tokens)
    }

    mutating func add(_ fragment: TextStream.Fragment) throws(DataError) {
        beginDocument()
        if fragment.hasBeginning { tokens.append(model.beginOfText) }
        try data.datasets[fragment.source].appendText(fragment.text, to: &tokens)
        if fragment.hasEnd { tokens.append(model.endOfText) }
    }

    mutating func addPadding() {
        beginDocument()
        tokens.append(model.endOfText)
    }

    func finish(sequenceLength: Int) throws(DataError) -> MicroBatch {
        let layout: RowLayout
        do throws(RowLayoutError) {
            layout = try RowLayout(
                model, tokens: tokens, documentStarts: documentStarts, imageStarts: imageStarts,
                sequenceLength: sequenceLength)
        } catch {
            throw DataError("\(error)")
        }
        let elements = data.image.elements
        var pixels = [Float](repeating: 0, count: images.count * elements)
        try pixels.withUnsafeMutableBufferPointer { (buffer) throws(DataError) in
            for (place, (source, image, isMirrored)) in images.enumerated() {
                let range = place * elements..<(place + 1) * elements
                let pixels = UnsafeMutableBufferPointer(rebasing: buffer[range])
                try data.datasets[source].readImage(image, into: pixels)
                if isMirrored { mirror(pixels) }
            }
        }
        return MicroBatch(
            layout: layout, images: pixels, imageIndices: imageIndices, timestepLimits: timestepLimits,
            sources: images.map(\.source),
            pairs: pairs)
    }

    /// Turns left and right of an image around.
    private func mirror(_ pixels: UnsafeMutableBufferPointer<Float>) {
        let width = data.image.width
        for row in stride(from: 0, to: pixels.count, by: width) { pixels[row..<row + width].reverse() }
    }

    private mutating func beginDocument() {
        documentStarts.append(Int32(tokens.count))
    }
}
