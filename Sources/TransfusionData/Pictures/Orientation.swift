/// How a picture has to be turned for its first row to be at the top: the tag Orientation of EXIF (CIPA DC-008, 4.6.4).
enum Orientation: UInt16 {
    case upright = 1
    case mirrored
    case upsideDown
    case flipped
    case transposed
    case turnedLeft
    case transverse
    case turnedRight

    /// What the file says; nil when it says nothing, or nothing that can be understood.
    init?(of bytes: UnsafeRawBufferPointer, _ format: PictureFormat) {
        let exif: Range<Int>? =
            switch format {
            case .png: Self.pngChunk(of: bytes)
            case .jpeg: Self.jpegSegment(of: bytes)
            case .webp: Self.webpChunk(of: bytes)
            // Has no place for it.
            case .gif: nil
            }
        guard let exif, let value = Self.value(in: UnsafeRawBufferPointer(rebasing: bytes[exif])) else { return nil }
        self.init(rawValue: value)
    }

    private static let prefix = Array("Exif\0\0".utf8)

    /// The first APP1 segment of EXIF, of those before the pixels.
    private static func jpegSegment(of bytes: UnsafeRawBufferPointer) -> Range<Int>? {
        var place = 2
        while place + 4 <= bytes.count, bytes[place] == 0xFF {
            let marker = bytes[place + 1]
            if marker == 0xFF {
                place += 1
                continue
            }
            // Start of scan, or end of image.
            if marker == 0xDA || marker == 0xD9 { return nil }
            let end = place + 2 + Int(bytes[place + 2]) << 8 + Int(bytes[place + 3])
            guard end >= place + 4, end <= bytes.count else { return nil }
            if marker == 0xE1, bytes[place + 4..<end].starts(with: prefix) { return place + 4 + prefix.count..<end }
            place = end
        }
        return nil
    }

    private static func pngChunk(of bytes: UnsafeRawBufferPointer) -> Range<Int>? {
        var place = 8
        while place + 12 <= bytes.count {
            let length = Int(UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: place, as: UInt32.self)))
            guard length <= bytes.count - place - 12 else { return nil }
            if bytes[place + 4..<place + 8].elementsEqual("eXIf".utf8) { return place + 8..<place + 8 + length }
            place += 12 + length
        }
        return nil
    }

    private static func webpChunk(of bytes: UnsafeRawBufferPointer) -> Range<Int>? {
        var place = 12
        while place + 8 <= bytes.count {
            let length = Int(UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: place + 4, as: UInt32.self)))
            guard length <= bytes.count - place - 8 else { return nil }
            if bytes[place..<place + 4].elementsEqual("EXIF".utf8) {
                let start = bytes[(place + 8)...].starts(with: prefix) ? min(prefix.count, length) : 0
                return place + 8 + start..<place + 8 + length
            }
            place += 8 + length + length % 2
        }
        return nil
    }

    /// The tag's value in the first directory of a TIFF structure.
    private static func value(in tiff: UnsafeRawBufferPointer) -> UInt16? {
        guard tiff.count >= 8 else { return nil }
        let isLittleEndian = tiff.starts(with: "II*\0".utf8)
        guard isLittleEndian || tiff.starts(with: "MM\0*".utf8) else { return nil }
        func short(_ place: Int) -> Int {
            let value = tiff.loadUnaligned(fromByteOffset: place, as: UInt16.self)
            return Int(isLittleEndian ? UInt16(littleEndian: value) : UInt16(bigEndian: value))
        }
        func long(_ place: Int) -> Int {
            let value = tiff.loadUnaligned(fromByteOffset: place, as: UInt32.self)
            return Int(isLittleEndian ? UInt32(littleEndian: value) : UInt32(bigEndian: value))
        }
        let directory = long(4)
        guard directory <= tiff.count - 2 else { return nil }
        for entry in 0..<short(directory) {
            let place = directory + 2 + entry * 12
            guard place <= tiff.count - 12 else { return nil }
            // Tag 0x0112, one number of 16 bits.
            if short(place) == 0x0112, short(place + 2) == 3, long(place + 4) == 1 { return UInt16(short(place + 8)) }
        }
        return nil
    }
}

extension Picture {
    /// The picture as it is meant to be seen when its rows and columns are stored with this orientation.
    func turned(_ orientation: Orientation) -> Picture {
        if orientation == .upright { return self }
        let isOnItsSide = orientation.rawValue >= Orientation.transposed.rawValue
        let (newWidth, newHeight) = isOnItsSide ? (height, width) : (width, height)
        // Bytes from one stored pixel to the next when going right, and when going down.
        let (pixel, row) = (3, 3 * width)
        let (first, right, down) =
            switch orientation {
            case .upright: (0, pixel, row)
            case .mirrored: (row - pixel, -pixel, row)
            case .upsideDown: (row * height - pixel, -pixel, -row)
            case .flipped: (row * (height - 1), pixel, -row)
            case .transposed: (0, row, pixel)
            case .turnedLeft: (row * (height - 1), -row, pixel)
            case .transverse: (row * height - pixel, -row, -pixel)
            case .turnedRight: (row - pixel, row, -pixel)
            }
        let pixels = rgb.withUnsafeBufferPointer { from in
            [UInt8](unsafeUninitializedCapacity: rgb.count) { to, count in
                count = from.count
                var place = 0
                for y in 0..<newHeight {
                    var source = first + y * down
                    for _ in 0..<newWidth {
                        for channel in 0..<3 { to[place + channel] = from[source + channel] }
                        place += 3
                        source += right
                    }
                }
            }
        }
        return Picture(width: newWidth, height: newHeight, rgb: pixels)
    }
}
