internal import Glibc

extension Picture {
    /// The picture in another size, by a Lanczos filter of three lobes that widens when the picture shrinks, so that nothing
    /// aliases.
    public func resized(width newWidth: Int, height newHeight: Int) -> Picture {
        precondition(newWidth > 0 && newHeight > 0)
        let across = Self.taps(from: width, to: newWidth)
        let down = Self.taps(from: height, to: newHeight)
        var narrow = [Float](repeating: 0, count: newWidth * height * 3)
        for y in 0..<height {
            for x in 0..<newWidth {
                for (source, weight) in across[x] {
                    for channel in 0..<3 {
                        narrow[(y * newWidth + x) * 3 + channel] +=
                            weight * Float(rgb[(y * width + source) * 3 + channel])
                    }
                }
            }
        }
        var result = [UInt8](repeating: 0, count: newWidth * newHeight * 3)
        for y in 0..<newHeight {
            for place in 0..<newWidth * 3 {
                var sum: Float = 0
                for (source, weight) in down[y] { sum += weight * narrow[source * newWidth * 3 + place] }
                result[y * newWidth * 3 + place] = UInt8(min(max(sum, 0), 255).rounded())
            }
        }
        return Picture(width: newWidth, height: newHeight, rgb: result)
    }

    /// For each new pixel the old ones that make it, with weights that sum to one.
    private static func taps(from old: Int, to new: Int) -> [[(source: Int, weight: Float)]] {
        let scale = Double(old) / Double(new)
        let stretch = max(scale, 1)
        return (0..<new).map { place in
            let centre = (Double(place) + 0.5) * scale
            let first = max(0, Int((centre - 3 * stretch).rounded(.down)))
            let last = min(old - 1, Int((centre + 3 * stretch).rounded(.up)))
            let weights = (first...last).map { lanczos((Double($0) + 0.5 - centre) / stretch) }
            let sum = weights.reduce(0, +)
            return zip(first...last, weights).compactMap { $1 == 0 ? nil : ($0, Float($1 / sum)) }
        }
    }

    private static func lanczos(_ x: Double) -> Double {
        guard x != 0 else { return 1 }
        guard abs(x) < 3 else { return 0 }
        let angle = Double.pi * x
        return 3 * sin(angle) * sin(angle / 3) / (angle * angle)
    }
}
