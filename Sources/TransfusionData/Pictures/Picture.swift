/// An RGB picture of 8 bits a channel, row by row from the top.
public struct Picture: Equatable, Sendable {
    public let width: Int
    public let height: Int
    /// `[height, width, 3]`.
    public var rgb: [UInt8]

    public init(width: Int, height: Int, rgb: [UInt8]) {
        precondition(width > 0 && height > 0 && rgb.count == width * height * 3)
        self.width = width
        self.height = height
        self.rgb = rgb
    }

    /// A picture of one colour.
    public init(width: Int, height: Int, filled colour: SIMD3<UInt8> = SIMD3(255, 255, 255)) {
        let pixel = [colour.x, colour.y, colour.z]
        self.init(width: width, height: height, rgb: (0..<width * height * 3).map { pixel[$0 % 3] })
    }

    /// From pixels with alpha, which is not multiplied in: laid on white.
    /// - Parameter rgba: `[height, width, 4]`.
    init(width: Int, height: Int, rgbaOnWhite rgba: [UInt8]) {
        precondition(rgba.count == width * height * 4)
        let rgb = rgba.withUnsafeBufferPointer { rgba in
            [UInt8](unsafeUninitializedCapacity: width * height * 3) { rgb, count in
                for pixel in 0..<width * height {
                    let alpha = Int(rgba[4 * pixel + 3])
                    for channel in 0..<3 {
                        let value = Int(rgba[4 * pixel + channel])
                        rgb[3 * pixel + channel] = UInt8((value * alpha + 255 * (255 - alpha) + 127) / 255)
                    }
                }
                count = width * height * 3
            }
        }
        self.init(width: width, height: height, rgb: rgb)
    }

    /// From the model's form: `[3, height, width]` in -1 … 1, values outside are clipped.
    public init(width: Int, height: Int, planes: some RandomAccessCollection<Float>) {
        precondition(planes.count == width * height * 3)
        let values = Array(planes)
        var rgb = [UInt8](repeating: 0, count: values.count)
        for channel in 0..<3 {
            for pixel in 0..<width * height {
                let value = (values[channel * width * height + pixel] + 1) * 127.5
                // A NaN becomes black rather than a crash.
                rgb[pixel * 3 + channel] = value >= 255 ? 255 : value > 0 ? UInt8(value.rounded()) : 0
            }
        }
        self.init(width: width, height: height, rgb: rgb)
    }

    /// `[3, height, width]`, as data sets of type u8 store it.
    public var planes: [UInt8] {
        let pixels = width * height
        return rgb.withUnsafeBufferPointer { rgb in
            [UInt8](unsafeUninitializedCapacity: rgb.count) { planes, count in
                for channel in 0..<3 {
                    for pixel in 0..<pixels { planes[channel * pixels + pixel] = rgb[pixel * 3 + channel] }
                }
                count = rgb.count
            }
        }
    }

    public subscript(x: Int, y: Int) -> SIMD3<UInt8> {
        get {
            let place = (y * width + x) * 3
            return SIMD3(rgb[place], rgb[place + 1], rgb[place + 2])
        }
        set {
            let place = (y * width + x) * 3
            (rgb[place], rgb[place + 1], rgb[place + 2]) = (newValue.x, newValue.y, newValue.z)
        }
    }

    /// Lays another picture over this one; what lies outside is left away.
    public mutating func draw(_ other: Picture, x: Int, y: Int) {
        let columns = max(0, -x)..<max(0, -x, min(other.width, width - x))
        guard !columns.isEmpty else { return }
        for row in max(0, -y)..<max(0, -y, min(other.height, height - y)) {
            let from = (row * other.width + columns.lowerBound) * 3
            let to = ((y + row) * width + x + columns.lowerBound) * 3
            rgb.replaceSubrange(to..<to + columns.count * 3, with: other.rgb[from..<from + columns.count * 3])
        }
    }

    /// The largest centred square.
    public func centreSquare() -> Picture {
        let side = min(width, height)
        if width == height { return self }
        let start = ((height - side) / 2 * width + (width - side) / 2) * 3
        let pixels = rgb.withUnsafeBufferPointer { from in
            [UInt8](unsafeUninitializedCapacity: side * side * 3) { to, count in
                count = side * side * 3
                for row in 0..<side {
                    let line = UnsafeBufferPointer(rebasing: from[(start + row * width * 3)...].prefix(side * 3))
                    _ = UnsafeMutableBufferPointer(rebasing: to[(row * side * 3)...]).update(from: line)
                }
            }
        }
        return Picture(width: side, height: side, rgb: pixels)
    }

    /// Each pixel as a block of `factor` × `factor`.
    public func magnified(_ factor: Int) -> Picture {
        var large = Picture(width: width * factor, height: height * factor)
        for y in 0..<large.height {
            for x in 0..<large.width { large[x, y] = self[x / factor, y / factor] }
        }
        return large
    }
}
