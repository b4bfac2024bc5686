internal import CJPEG
internal import CPNG
internal import CWebP

/// How the bytes of a picture are read: GIF here, every other format by its own library.
package enum PictureFormat {
    case png
    case jpeg
    case webp
    case gif

    /// From the first bytes; nil for all else.
    package init?(of bytes: UnsafeRawBufferPointer) {
        if PNG.isPNG(bytes) {
            self = .png
        } else if bytes.starts(with: [0xFF, 0xD8, 0xFF]) {
            self = .jpeg
        } else if bytes.count >= 12, bytes.starts(with: "RIFF".utf8), bytes[8..<12].elementsEqual("WEBP".utf8) {
            self = .webp
        } else if GIF.isGIF(bytes) {
            self = .gif
        } else {
            return nil
        }
    }

    /// What the header says; it is not bounded.
    func size(of bytes: UnsafeRawBufferPointer, name: String) throws(DataError) -> (width: Int, height: Int) {
        switch self {
        case .png:
            let shape = try Self.pngShape(of: bytes, name: name)
            return (Int(shape.width), Int(shape.height))
        case .jpeg:
            let shape = try Self.jpegShape(of: bytes, name: name)
            return (Int(shape.width), Int(shape.height))
        case .webp:
            let shape = try Self.webpShape(of: bytes, name: name)
            return (Int(shape.width), Int(shape.height))
        case .gif:
            let gif = try GIF(bytes, name: name)
            return (gif.width, gif.height)
        }
    }

    /// Reads the pixels, for which there has to be room.
    func pixels(of bytes: UnsafeRawBufferPointer, name: String) throws(DataError) -> Picture {
        switch self {
        case .png:
            let shape = try Self.pngShape(of: bytes, name: name)
            let (width, height, channels) = (Int(shape.width), Int(shape.height), Int(shape.channels))
            var pixels = [UInt8](repeating: 0, count: width * height * channels)
            try Self.message(name) { tf_png_read_pixels(bytes.baseAddress, bytes.count, shape, &pixels, $0) }
            if channels == 4 { return Picture(width: width, height: height, rgbaOnWhite: pixels) }
            return Picture(width: width, height: height, rgb: pixels)
        case .jpeg:
            let shape = try Self.jpegShape(of: bytes, name: name)
            let (width, height) = (Int(shape.width), Int(shape.height))
            var pixels = [UInt8](repeating: 0, count: width * height * 3)
            try Self.message(name) { tf_jpeg_read_pixels(bytes.baseAddress, bytes.count, shape, &pixels, $0) }
            return Picture(width: width, height: height, rgb: pixels)
        case .webp:
            let shape = try Self.webpShape(of: bytes, name: name)
            let (width, height) = (Int(shape.width), Int(shape.height))
            var pixels = [UInt8](repeating: 0, count: width * height * 4)
            try Self.message(name) { tf_webp_read_pixels(bytes.baseAddress, bytes.count, shape, &pixels, $0) }
            return Picture(width: width, height: height, rgbaOnWhite: pixels)
        case .gif: return try GIF(bytes, name: name).picture(bytes)
        }
    }

    private static func pngShape(of bytes: UnsafeRawBufferPointer, name: String) throws(DataError) -> tf_png_shape {
        var shape = tf_png_shape()
        try message(name) { tf_png_read_shape(bytes.baseAddress, bytes.count, &shape, $0) }
        return shape
    }

    private static func jpegShape(of bytes: UnsafeRawBufferPointer, name: String) throws(DataError) -> tf_jpeg_shape {
        var shape = tf_jpeg_shape()
        try message(name) { tf_jpeg_read_shape(bytes.baseAddress, bytes.count, &shape, $0) }
        return shape
    }

    private static func webpShape(of bytes: UnsafeRawBufferPointer, name: String) throws(DataError) -> tf_webp_shape {
        var shape = tf_webp_shape()
        try message(name) { tf_webp_read_shape(bytes.baseAddress, bytes.count, &shape, $0) }
        return shape
    }

    /// Turns the message of a failed call into an error.
    private static func message(
        _ name: String, _ call: (UnsafeMutablePointer<CChar>) -> Int32
    ) throws(DataError) {
        let room = max(Int(TF_PNG_MESSAGE_BYTES), TF_JPEG_MESSAGE_BYTES, TF_WEBP_MESSAGE_BYTES)
        var message = [CChar](repeating: 0, count: room)
        let status = message.withUnsafeMutableBufferPointer { call($0.baseAddress!) }
        guard status == 0 else {
            let text = String(decoding: message.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            throw DataError(name, "cannot be read: \(text); make it anew")
        }
    }

    /// Whether a file certainly has its last part. Of WebP that was seen when its size was.
    func reachesItsEnd(_ bytes: UnsafeRawBufferPointer) -> Bool {
        switch self {
        case .png:
            var place = 8
            while place + 12 <= bytes.count {
                let length = Int(UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: place, as: UInt32.self)))
                if bytes[place + 4..<place + 8].elementsEqual("IEND".utf8) { return true }
                place += 12 + length
            }
            return false
        case .jpeg:
            // Some programs fill the file with zeros.
            let end = bytes.lastIndex { $0 != 0 } ?? 0
            return end > 0 && bytes[end] == 0xD9 && bytes[end - 1] == 0xFF
        case .webp: return true
        // A header that cannot be read says so when the pixels are.
        case .gif: return (try? GIF(bytes, name: ""))?.isWhole(bytes) ?? false
        }
    }
}
