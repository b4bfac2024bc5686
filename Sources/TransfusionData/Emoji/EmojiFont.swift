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
        // The font's sequences leave out the selector that asks for a coloured picture.
        let glyphs = scalars.filter { $0 != 0xFE0F }.map { font.glyph($0) }
        guard let first = glyphs.first, !glyphs.contains(nil) else { return nil }
        let glyph = glyphs.count == 1 ? first : ligatures.glyph(for: glyphs.compactMap { $0 })
        guard let glyph, FT_Load_Glyph(font.face, glyph, FT_Int32(FT_LOAD_COLOR)) == 0,
            let bitmap = font.face.pointee.glyph?.pointee.bitmap, let buffer = bitmap.buffer,
            bitmap.pixel_mode == UInt8(FT_PIXEL_MODE_BGRA.rawValue), bitmap.width > 0, bitmap.rows > 0
        else { return nil }
        var picture = Picture(width: Int(bitmap.width), height: Int(bitmap.rows))
        for y in 0..<picture.height {
            let row = buffer + y * Int(bitmap.pitch)
            for x in 0..<picture.width {
                // Blue, green, red, alpha, with alpha multiplied in.
                let pixel = row + 4 * x
                let white = 255 - Int(pixel[3])
                picture[x, y] = SIMD3(
                    UInt8(min(255, Int(pixel[2]) + white)), UInt8(min(255, Int(pixel[1]) + white)),
                    UInt8(min(255, Int(pixel[0]) + white)))
            }
        }
        return picture
    }
}
