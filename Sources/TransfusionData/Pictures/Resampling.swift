internal import CKernels
internal import Glibc

extension Picture {
    /// The function by which old pixels are weighed. Both widen when the picture shrinks, so that nothing aliases.
    public enum Filter: String, CaseIterable, Sendable {
        /// Keys' cubic with a = −1/2 (IEEE Transactions on Acoustics, Speech, and Signal Processing 29, 1981).
        case bicubic
        /// Lanczos' window of three lobes.
        case lanczos

        /// Beyond this distance it is 0.
        var support: Double { self == .bicubic ? 2 : 3 }

        func callAsFunction(_ x: Double) -> Double {
            let x = abs(x)
            switch self {
            case .bicubic:
                let a = -0.5
                if x < 1 { return ((a + 2) * x - (a + 3)) * x * x + 1 }
                return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0
            case .lanczos: return x < 3 ? Self.sinc(x) * Self.sinc(x / 3) : 0
            }
        }

        private static func sinc(_ x: Double) -> Double {
            x == 0 ? 1 : sin(x * .pi) / (x * .pi)
        }
    }

    /// How a picture becomes a square.
    public enum Fit: String, CaseIterable, Sendable {
        /// Its centred square.
        case crop
        /// All of it, on white.
        case pad
    }

    /// A square of `size` pixels on a side.
    public func square(_ size: Int, _ fit: Fit = .crop, filter: Filter = .bicubic) -> Picture {
        switch fit {
        case .crop: return centreSquare().resized(width: size, height: size, filter: filter)
        case .pad:
            if width == height { return resized(width: size, height: size, filter: filter) }
            // The shorter side is rounded to the even number of two equally near ones, as Python rounds.
            let short = Double(min(width, height)) / Double(max(width, height)) * Double(size)
            let side = max(1, Int(short.rounded(.toNearestOrEven)))
            let (newWidth, newHeight) = width > height ? (size, side) : (side, size)
            let margin = Int((Double(size - side) / 2).rounded(.toNearestOrEven))
            var square = Picture(width: size, height: size)
            square.draw(
                resized(width: newWidth, height: newHeight, filter: filter),
                x: width > height ? 0 : margin, y: width > height ? margin : 0)
            return square
        }
    }

    /// The picture in another size, to the bit as Pillow's `resize` gives it: first across, then down, with 8 bits between the two and
    /// weights in fixed point.
    public func resized(width newWidth: Int, height newHeight: Int, filter: Filter = .bicubic) -> Picture {
        precondition(newWidth > 0 && newHeight > 0)
        var pixels = rgb
        if newWidth != width {
            let places = ResamplingPlaces(from: width, to: newWidth, filter)
            pixels = [UInt8](unsafeUninitializedCapacity: newWidth * height * 3) { [pixels] out, count in
                tf_resample_across(
                    pixels, out.baseAddress!, height, width, newWidth, places.firsts, places.counts,
                    places.fixedPoint, places.taps)
                count = newWidth * height * 3
            }
        }
        if newHeight != height {
            let places = ResamplingPlaces(from: height, to: newHeight, filter)
            pixels = [UInt8](unsafeUninitializedCapacity: newWidth * newHeight * 3) { [pixels] out, count in
                tf_resample_down(
                    pixels, out.baseAddress!, newWidth * 3, newHeight, places.firsts, places.counts,
                    places.fixedPoint, places.taps)
                count = newWidth * newHeight * 3
            }
        }
        return Picture(width: newWidth, height: newHeight, rgb: pixels)
    }
}

/// For each new pixel of a row or column the old ones that make it.
struct ResamplingPlaces {
    /// The most old pixels that make a new one.
    let taps: Int
    private(set) var firsts: [Int32] = []
    private(set) var counts: [Int32] = []
    /// `[new, taps]`: they sum to one.
    private(set) var weights: [Double] = []

    init(from old: Int, to new: Int, _ filter: Picture.Filter) {
        let scale = Double(old) / Double(new)
        let stretch = max(scale, 1)
        let support = filter.support * stretch
        taps = Int(support.rounded(.up)) * 2 + 1
        weights.reserveCapacity(new * taps)
        for place in 0..<new {
            let centre = (Double(place) + 0.5) * scale
            let first = max(0, Int(centre - support + 0.5))
            let end = min(old, Int(centre + support + 0.5))
            let parts = (first..<end).map { filter((Double($0) - centre + 0.5) * (1 / stretch)) }
            let sum = parts.reduce(0, +)
            add(first, parts.map { $0 / sum })
        }
    }

    /// Between the two old pixels on both sides of the new one's centre, however much the picture shrinks: PyTorch's `interpolate` with
    /// `bilinear`, without `align_corners` and `antialias`.
    init(linearFrom old: Int, to new: Int) {
        taps = 2
        for place in 0..<new {
            let centre = max(0, (Double(place) + 0.5) * Double(old) / Double(new) - 0.5),
                first = min(Int(centre), old - 1)
            let part = first + 1 < old ? centre - Double(first) : 0
            add(first, part > 0 ? [1 - part, part] : [1])
        }
    }

    private mutating func add(_ first: Int, _ parts: [Double]) {
        firsts.append(Int32(first))
        counts.append(Int32(parts.count))
        weights += parts
        weights += repeatElement(0, count: taps - parts.count)
    }
}

extension ResamplingPlaces {
    /// The weights with 22 bits after the point.
    var fixedPoint: [Int32] {
        weights.map { weight in
            let exact = weight * Double(1 << 22)
            return Int32(exact < 0 ? exact - 0.5 : exact + 0.5)
        }
    }
}
