internal import CFreeType

/// Small text on pictures.
public final class LabelFont {
    public static let defaultPath = "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf"

    private let font: FontFace
    /// From one line to the next, in pixels.
    public let lineHeight: Int
    private let ascent: Int

    /// - Parameter size: Pixels of the em square.
    public init(_ path: String = defaultPath, size: Int) throws(DataError) {
        precondition(size > 0)
        font = try FontFace(path, package: "fonts-dejavu-core")
        guard FT_Set_Pixel_Sizes(font.face, 0, FT_UInt(size)) == 0,
            let metrics = font.face.pointee.size?.pointee.metrics
        else { throw DataError(path, "has no outlines to draw labels with") }
        // 26.6 fixed point.
        ascent = Int(metrics.ascender) >> 6
        lineHeight = max(1, Int(metrics.height) >> 6)
    }

    /// Draws one line of text, cut with "…" where it would pass `width`.
    public func draw(
        _ text: String, onto picture: inout Picture, x: Int, y: Int, width: Int,
        colour: SIMD3<UInt8> = SIMD3(40, 40, 40)
    ) {
        var text = text
        if measure(text) > width {
            while !text.isEmpty, measure(text + "…") > width { text.removeLast() }
            text += "…"
        }
        var pen = x
        for scalar in text.unicodeScalars { pen += draw(scalar, onto: &picture, x: pen, baseline: y + ascent, colour) }
    }

    func measure(_ text: String) -> Int {
        text.unicodeScalars.reduce(0) { width, scalar in
            let flags = FT_Int32(FT_LOAD_DEFAULT)
            guard FT_Load_Char(font.face, FT_ULong(scalar.value), flags) == 0, let slot = font.face.pointee.glyph else {
                return width
            }
            return width + Int(slot.pointee.advance.x) >> 6
        }
    }

    private func draw(
        _ scalar: Unicode.Scalar, onto picture: inout Picture, x: Int, baseline: Int, _ colour: SIMD3<UInt8>
    ) -> Int {
        guard FT_Load_Char(font.face, FT_ULong(scalar.value), FT_Int32(FT_LOAD_RENDER)) == 0,
            let slot = font.face.pointee.glyph?.pointee
        else { return 0 }
        let left = x + Int(slot.bitmap_left)
        let top = baseline - Int(slot.bitmap_top)
        if let buffer = slot.bitmap.buffer, slot.bitmap.pixel_mode == UInt8(FT_PIXEL_MODE_GRAY.rawValue) {
            for row in 0..<Int(slot.bitmap.rows) {
                for column in 0..<Int(slot.bitmap.width) {
                    let (px, py) = (left + column, top + row)
                    guard (0..<picture.width).contains(px), (0..<picture.height).contains(py) else { continue }
                    let cover = Int(buffer[row * Int(slot.bitmap.pitch) + column])
                    let under = picture[px, py]
                    var mixed = under
                    for channel in 0..<3 {
                        mixed[channel] = UInt8(
                            (Int(colour[channel]) * cover + Int(under[channel]) * (255 - cover)) / 255)
                    }
                    picture[px, py] = mixed
                }
            }
        }
        return Int(slot.advance.x) >> 6
    }
}
