/// Names the colour of a shape on a white ground, as the real pictures show that colour.
///
/// The colour of a picture is the median of its pixels that are not ground, channel by channel, so that edges and highlights
/// do not count. Its name is that of the nearest reference, and a reference is the mean over the real pictures of a colour.
public struct DominantColour: Sendable {
    /// A pixel belongs to the ground when its darkest channel is at least this.
    static let ground: UInt8 = 236

    private let references: [(name: String, colour: SIMD3<Float>)]

    /// - Parameter pictures: Real pictures with the names of their colours.
    public init(pictures: some Sequence<(colour: String, picture: Picture)>) {
        var sums: [String: (sum: SIMD3<Float>, count: Float)] = [:]
        for (name, picture) in pictures {
            guard let colour = Self.measure(picture) else { continue }
            let (sum, count) = sums[name] ?? (.zero, 0)
            sums[name] = (sum + colour, count + 1)
        }
        references = sums.map { ($0, $1.sum / $1.count) }.sorted { $0.name < $1.name }
    }

    /// The references of a data set whose captions name colours and shapes; held-out pictures are not looked at.
    /// - Returns: Nil when the training captions name none.
    public init?(dataset: PackedDataset) throws(DataError) {
        var pictures: [(colour: String, picture: Picture)] = []
        guard dataset.manifest.image.channels == 3, dataset.manifest.autoencoder == nil else { return nil }
        for index in try dataset.split("train").pairRange {
            let pair = try dataset.pair(index)
            guard let name = ShapeName(try dataset.captionText(pair)) else { continue }
            pictures.append((name.colour, try dataset.picture(pair.image)))
        }
        guard !pictures.isEmpty else { return nil }
        self.init(pictures: pictures)
    }

    /// The name of the colour of a picture; nil when all of it is ground.
    public func name(of picture: Picture) -> String? {
        guard let colour = Self.measure(picture) else { return nil }
        return references.min { distance($0.colour, colour) < distance($1.colour, colour) }?.name
    }

    private func distance(_ a: SIMD3<Float>, _ b: SIMD3<Float>) -> Float {
        ((a - b) * (a - b)).sum()
    }

    static func measure(_ picture: Picture) -> SIMD3<Float>? {
        var channels: [[UInt8]] = [[], [], []]
        for y in 0..<picture.height {
            for x in 0..<picture.width {
                let pixel = picture[x, y]
                guard pixel.min() < ground else { continue }
                for channel in 0..<3 { channels[channel].append(pixel[channel]) }
            }
        }
        guard !channels[0].isEmpty else { return nil }
        let medians = channels.map { Float($0.sorted()[$0.count / 2]) }
        return SIMD3(medians[0], medians[1], medians[2])
    }
}

extension PackedDataset {
    /// A stored picture in RGB. The data set's images must have three channels.
    public func picture(_ image: Int) throws(DataError) -> Picture {
        let shape = manifest.image
        guard shape.channels == 3 else {
            throw DataError(path, "has images of \(shape.channels) channels, which are no RGB pictures")
        }
        return Picture(width: shape.width, height: shape.height, planes: try self.image(image))
    }
}
