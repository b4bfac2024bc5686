internal import CPNG

/// Writes PNG pictures through libpng, with text chunks that say how a picture was made.
public enum PNG {
    public static func isPNG(_ bytes: some Sequence<UInt8>) -> Bool {
        bytes.starts(with: [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A])
    }

    /// Reads a PNG that is in memory, as `PictureFile` does.
    /// - Parameter name: What errors call the picture.
    public static func decode(_ bytes: [UInt8], name: String = "picture") throws(DataError) -> Picture {
        guard isPNG(bytes) else { throw DataError(name, "is no PNG picture; convert it") }
        return try bytes.withBytes { (bytes) throws(DataError) in try PictureFile.decode(bytes, name: name) }
    }

    /// - Parameters:
    ///   - rgb: `[height, width, 3]`.
    ///   - text: Keywords of 1 … 79 printable ASCII characters with their texts. A text in ASCII becomes a tEXt chunk, any
    ///     other an iTXt chunk.
    public static func encode(
        rgb: [UInt8], width: Int, height: Int, text: [(keyword: String, text: String)] = []
    ) throws(DataError) -> [UInt8] {
        precondition(width > 0 && height > 0 && rgb.count == width * height * 3)
        var image = png_image()
        image.version = UInt32(PNG_IMAGE_VERSION)
        image.width = png_uint_32(width)
        image.height = png_uint_32(height)
        image.format = png_uint_32(PNG_FORMAT_FLAG_COLOR)
        defer { png_image_free(&image) }
        var size = 0
        guard png_image_write_to_memory(&image, nil, &size, 0, rgb, 0, nil) != 0 else {
            throw DataError("picture", "cannot be written: \(message(of: image))")
        }
        var bytes = [UInt8](repeating: 0, count: size)
        guard png_image_write_to_memory(&image, &bytes, &size, 0, rgb, 0, nil) != 0 else {
            throw DataError("picture", "cannot be written: \(message(of: image))")
        }
        bytes.removeSubrange(size...)
        // The header is always the first chunk: 8 bytes of signature, then 4 + 4 + 13 + 4.
        bytes.insert(contentsOf: text.flatMap { chunk($0.keyword, $0.text) }, at: 33)
        return bytes
    }

    /// The keywords and texts of the uncompressed tEXt and iTXt chunks.
    public static func text(of bytes: [UInt8]) -> [(keyword: String, text: String)] {
        var texts: [(String, String)] = []
        var place = 8
        while isPNG(bytes), place + 12 <= bytes.count {
            let length = bytes[place..<place + 4].reduce(0) { $0 << 8 | Int($1) }
            guard length <= bytes.count - place - 12 else { break }
            let type = String(decoding: bytes[place + 4..<place + 8], as: UTF8.self)
            let parts = bytes[place + 8..<place + 8 + length]
            if let end = parts.firstIndex(of: 0) {
                let keyword = String(decoding: parts[..<end], as: UTF8.self)
                if type == "tEXt" {
                    // Latin-1: each byte is its own code point.
                    let scalars = parts[(end + 1)...].map { Character(Unicode.Scalar($0)) }
                    texts.append((keyword, String(scalars)))
                } else if type == "iTXt", parts.dropFirst(end + 1 - parts.startIndex).first == 0 {
                    let rest = parts[(end + 1)...].dropFirst(2).split(
                        separator: 0, maxSplits: 2, omittingEmptySubsequences: false)
                    if rest.count == 3 { texts.append((keyword, String(decoding: rest[2], as: UTF8.self))) }
                }
            }
            place += 12 + length
        }
        return texts
    }

    private static func chunk(_ keyword: String, _ text: String) -> [UInt8] {
        precondition((1...79).contains(keyword.utf8.count) && keyword.utf8.allSatisfy { (32...126).contains($0) })
        let isPlain = text.utf8.allSatisfy { $0 < 128 && $0 != 0 }
        // iTXt: not compressed, no language, no translated keyword. A NUL cannot be stored.
        let separator: [UInt8] = isPlain ? [0] : [0, 0, 0, 0, 0]
        let body = Array((isPlain ? "tEXt" : "iTXt").utf8) + keyword.utf8 + separator + text.utf8.filter { $0 != 0 }
        let length = UInt32(body.count - 4)
        return bigEndian(length) + body + bigEndian(checksum(body))
    }

    private static func bigEndian(_ value: UInt32) -> [UInt8] {
        [UInt8(value >> 24), UInt8(value >> 16 & 0xFF), UInt8(value >> 8 & 0xFF), UInt8(value & 0xFF)]
    }

    /// CRC-32 of ISO 3309, as PNG's chunks have it.
    static func checksum(_ bytes: [UInt8]) -> UInt32 {
        var crc = UInt32.max
        for byte in bytes {
            crc ^= UInt32(byte)
            for _ in 0..<8 { crc = crc >> 1 ^ (crc & 1 == 1 ? 0xEDB8_8320 : 0) }
        }
        return ~crc
    }

    private static func message(of image: png_image) -> String {
        withUnsafeBytes(of: image.message) { bytes in String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self) }
    }
}
