/// The first picture of a GIF file, on its screen.
///
/// Places outside of the frame have the transparent colour where there is one, else the first; indices outside of the palette are
/// black, and without a palette they are levels of grey: as Pillow reads it.
///
/// ### References
/// Graphics Interchange Format, version 89a (CompuServe, 1990).
struct GIF {
    /// Of the screen, or of the frame where that goes beyond it.
    let width: Int
    let height: Int
    private let frame: Frame
    private let transparent: UInt8?
    /// Of each index, in the file; nil for levels of grey.
    private let palette: Range<Int>?
    /// Where the length of the shortest code stands, and behind it the blocks of codes.
    private let codes: Int
    private let name: String

    private struct Frame {
        let left: Int
        let top: Int
        let width: Int
        let height: Int
        let isInterlaced: Bool
    }

    static func isGIF(_ bytes: UnsafeRawBufferPointer) -> Bool {
        bytes.starts(with: "GIF87a".utf8) || bytes.starts(with: "GIF89a".utf8)
    }

    /// Reads all that comes before the pixels.
    /// - Parameter name: What errors call the picture.
    init(_ bytes: UnsafeRawBufferPointer, name: String) throws(DataError) {
        var file = Bytes(bytes: bytes, place: 6, name: name)
        let screen = (width: try file.short(), height: try file.short())
        var palette = try file.palette(flags: try file.byte(), after: 2)
        var transparent: UInt8?
        // Pillow passes over bytes that begin nothing, too.
        while true {
            switch try file.byte() {
            case UInt8(ascii: "!"):
                let isGraphicControl = try file.byte() == 0xF9
                let start = file.place
                try file.skipBlocks()
                if isGraphicControl, bytes[start] >= 4, bytes[start + 1] & 1 == 1 { transparent = bytes[start + 4] }
                continue
            case UInt8(ascii: ";"): throw damage(name, "it has no picture")
            case UInt8(ascii: ","): break
            default: continue
            }
            break
        }
        let (left, top, width, height) = (
            try file.short(), try file.short(), try file.short(), try file.short()
        )
        guard width > 0, height > 0 else { throw damage(name, "its first picture has no pixels") }
        let flags = try file.byte()
        frame = Frame(left: left, top: top, width: width, height: height, isInterlaced: flags & 0x40 != 0)
        if let own = try file.palette(flags: flags, after: 0) { palette = own }
        self.width = max(screen.width, left + width)
        self.height = max(screen.height, top + height)
        self.transparent = transparent
        // Where each index is its own level of grey, so are those that the palette does not have.
        self.palette = palette.flatMap { range in
            range.allSatisfy { Int(bytes[$0]) == ($0 - range.lowerBound) / 3 } ? nil : range
        }
        codes = file.place
        self.name = name
    }

    /// Whether all blocks of codes are there.
    func isWhole(_ bytes: UnsafeRawBufferPointer) -> Bool {
        var file = Bytes(bytes: bytes, place: codes + 1, name: name)
        return (try? file.skipBlocks()) != nil
    }

    /// Reads the pixels. What is transparent is white.
    func picture(_ bytes: UnsafeRawBufferPointer) throws(DataError) -> Picture {
        let indices = try indices(bytes)
        let colours = colours(bytes)
        var picture = Picture(
            width: width, height: height, rgb: [UInt8](repeating: 0, count: width * height * 3))
        if (frame.width, frame.height) != (width, height) {
            let outside = colours[Int(transparent ?? 0)]
            for place in 0..<width * height * 3 { picture.rgb[place] = outside[place % 3] }
        }
        for (row, y) in rows.enumerated() {
            var place = ((frame.top + y) * width + frame.left) * 3
            for index in indices[row * frame.width..<(row + 1) * frame.width] {
                let colour = colours[Int(index)]
                picture.rgb[place] = colour.x
                picture.rgb[place + 1] = colour.y
                picture.rgb[place + 2] = colour.z
                place += 3
            }
        }
        return picture
    }

    private func colours(_ bytes: UnsafeRawBufferPointer) -> [SIMD3<UInt8>] {
        var colours = (0..<256).map { index in
            guard let palette else { return SIMD3(repeating: UInt8(index)) }
            let place = palette.lowerBound + 3 * index
            return place < palette.upperBound ? SIMD3(bytes[place], bytes[place + 1], bytes[place + 2]) : .zero
        }
        if let transparent { colours[Int(transparent)] = SIMD3(repeating: 255) }
        return colours
    }

    /// The rows of the frame in the order of the file.
    private var rows: [Int] {
        guard frame.isInterlaced else { return Array(0..<frame.height) }
        return [(0, 8), (4, 8), (2, 4), (1, 2)].flatMap { Array(stride(from: $0, to: frame.height, by: $1)) }
    }

    /// What the codes stand for (Lempel, Ziv and Welch): indices of colours in the order of the file.
    private func indices(_ bytes: UnsafeRawBufferPointer) throws(DataError) -> [UInt8] {
        var file = Bytes(bytes: bytes, place: codes, name: name)
        let shortest = Int(try file.byte())
        guard (1...8).contains(shortest) else { throw damage(name, "its codes begin with \(shortest) bits") }
        let clear = 1 << shortest
        var table = CodeTable(clear: clear)
        var reader = CodeReader(file: file)
        var size = shortest + 1
        var previous: Int?
        var indices = [UInt8](repeating: 0, count: frame.width * frame.height)
        var filled = 0
        while filled < indices.count {
            let code = try reader.next(size)
            guard code != clear + 1 else { throw damage(name, "its pixels end too early") }
            if code == clear {
                table.count = clear + 2
                size = shortest + 1
                previous = nil
                continue
            }
            guard code < (previous == nil ? clear : table.count + 1) else {
                throw damage(name, "its pixels are damaged")
            }
            filled = table.expand(code, after: previous, into: &indices, at: filled)
            if table.count == 1 << size, size < 12 { size += 1 }
            previous = code
        }
        return indices
    }

    /// Strings of indices, each one longer than another of them.
    private struct CodeTable {
        let clear: Int
        /// How many codes have a meaning by now.
        var count: Int
        private var shorter = [UInt16](repeating: 0, count: 4096)
        private var last = [UInt8](repeating: 0, count: 4096)
        private var lengths = [UInt16](repeating: 1, count: 4096)

        init(clear: Int) {
            self.clear = clear
            count = clear + 2
        }

        /// Writes what a code stands for, as far as there is room, and gives the next free code its meaning.
        /// - Parameter code: At most `count`, which stands for the string before with its own first index behind.
        /// - Returns: The place behind, which may lie behind the end.
        mutating func expand(_ code: Int, after previous: Int?, into indices: inout [UInt8], at start: Int) -> Int {
            let isNext = code == count
            var symbol = isNext ? previous ?? 0 : code
            let end = start + (symbol < clear ? 1 : Int(lengths[symbol]))
            var place = end - 1
            while symbol >= clear {
                if place < indices.count { indices[place] = last[symbol] }
                place -= 1
                symbol = Int(shorter[symbol])
            }
            let first = UInt8(symbol)
            if place < indices.count { indices[place] = first }
            if isNext, end < indices.count { indices[end] = first }
            if let previous, count < 4096 {
                shorter[count] = UInt16(previous)
                last[count] = first
                lengths[count] = previous < clear ? 2 : lengths[previous] + 1
                count += 1
            }
            return isNext ? end + 1 : end
        }
    }

    /// Codes of changing lengths, the lowest bit first, from blocks of up to 255 bytes.
    private struct CodeReader {
        var file: Bytes
        private var left = 0
        private var bits: UInt32 = 0
        private var bitCount = 0

        init(file: Bytes) { self.file = file }

        mutating func next(_ size: Int) throws(DataError) -> Int {
            while bitCount < size {
                if left == 0 {
                    left = Int(try file.byte())
                    guard left > 0 else { throw damage(file.name, "its pixels end too early") }
                }
                bits |= UInt32(try file.byte()) << UInt32(bitCount)
                bitCount += 8
                left -= 1
            }
            defer {
                bits >>= UInt32(size)
                bitCount -= size
            }
            return Int(bits & (1 << UInt32(size) - 1))
        }
    }

    /// A file that is read from front to back.
    private struct Bytes {
        let bytes: UnsafeRawBufferPointer
        var place: Int
        let name: String

        mutating func skip(_ count: Int) throws(DataError) {
            guard count <= bytes.count - place else { throw damage(name, "the file is cut off") }
            place += count
        }

        mutating func byte() throws(DataError) -> UInt8 {
            try skip(1)
            return bytes[place - 1]
        }

        mutating func short() throws(DataError) -> Int {
            try skip(2)
            return Int(bytes[place - 2]) | Int(bytes[place - 1]) << 8
        }

        mutating func skipBlocks() throws(DataError) {
            while case let count = Int(try byte()), count > 0 { try skip(count) }
        }

        /// - Parameters:
        ///   - flags: Say whether there is a palette, and of how many colours.
        ///   - gap: Bytes between flags and palette.
        mutating func palette(flags: UInt8, after gap: Int) throws(DataError) -> Range<Int>? {
            try skip(gap)
            guard flags & 0x80 != 0 else { return nil }
            let count = 3 << (Int(flags & 7) + 1)
            try skip(count)
            return place - count..<place
        }
    }
}

private func damage(_ name: String, _ text: String) -> DataError {
    DataError(name, "cannot be read: \(text); make it anew")
}
