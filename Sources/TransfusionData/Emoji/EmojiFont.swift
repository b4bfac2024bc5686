internal import CFreeType

/// The colour bitmaps of an emoji font.
final class EmojiFont {
    static let defaultPath = "/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf"

    private let font: FontFace
    private let ligatures: GlyphLigatures

    init(_ path: String = defaultPath) throws(DataError) {
        font = try FontFace(path, package: "fonts-noto-color-emoji")
        guard FT_Select_Size(font.face, 0) == 0 else {
            throw DataError(path, "has no bitmaps; it must be a font with CBDT pictures such as NotoColorEmoji.ttf")
        }
        ligatures = GlyphLigatures(font.table("GSUB") ?? [])
    }

    /// The picture of an emoji on white, in the size the font has; nil when the font has none.
    func picture(of scalars: [UInt32]) -> Picture? {
        guard let glyph = glyph(of: scalars), FT_Load_Glyph(font.face, glyph, FT_Int32(FT_LOAD_COLOR)) == 0,
            let bitmap = font.face.pointee.glyph?.pointee.bitmap, let buffer = bitmap.buffer,
            bitmap.pixel_mode == UInt8(FT_PIXEL_MODE_BGRA.rawValue), bitmap.width > 0, bitmap.rows > 0
        else { return nil }
        let (width, height) = (Int(bitmap.width), Int(bitmap.rows))
        var rgb: [UInt8] = []
        rgb.reserveCapacity(width * height * 3)
        for y in 0..<height {
            for x in 0..<width {
                // Blue, green, red, alpha, with alpha multiplied in.
                let pixel = buffer + y * Int(bitmap.pitch) + 4 * x
                let white = 255 - Int(pixel[3])
                rgb.append(UInt8(min(255, Int(pixel[2]) + white)))
                rgb.append(UInt8(min(255, Int(pixel[1]) + white)))
                rgb.append(UInt8(min(255, Int(pixel[0]) + white)))
            }
        }
        return Picture(width: width, height: height, rgb: rgb)
    }

    /// The glyph of an emoji; nil when the font does not know it.
    func glyph(of scalars: [UInt32]) -> UInt32? {
        // The font's sequences leave out the selector that asks for a coloured picture.
        let glyphs = scalars.filter { $0 != 0xFE0F }.map { font.glyph($0) }
        guard let first = glyphs.first, !glyphs.contains(nil) else { return nil }
        return glyphs.count == 1 ? first : ligatures.glyph(for: glyphs.compactMap { $0 })
    }
}
