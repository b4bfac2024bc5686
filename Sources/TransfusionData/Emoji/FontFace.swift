internal import CFreeType

/// A font file opened by FreeType. One face at a time belongs to one library, so nothing is shared.
final class FontFace {
    let path: String
    let face: FT_Face
    private let library: FT_Library

    init(_ path: String, package: String) throws(DataError) {
        self.path = path
        var library: FT_Library?
        guard FT_Init_FreeType(&library) == 0, let library else { throw DataError(path, "FreeType cannot be started") }
        var face: FT_Face?
        guard FT_New_Face(library, path, 0, &face) == 0, let face else {
            FT_Done_FreeType(library)
            let remedy = Files.exists(path) ? "is not a font" : "is missing; install the package \(package)"
            throw DataError(path, remedy)
        }
        self.library = library
        self.face = face
    }

    deinit {
        FT_Done_Face(face)
        FT_Done_FreeType(library)
    }

    func glyph(_ scalar: UInt32) -> UInt32? {
        let index = FT_Get_Char_Index(face, FT_ULong(scalar))
        return index == 0 ? nil : index
    }

    /// The bytes of one of the font's tables, nil when it has none.
    func table(_ name: String) -> [UInt8]? {
        let tag = name.utf8.reduce(FT_ULong(0)) { $0 << 8 | FT_ULong($1) }
        var length: FT_ULong = 0
        guard FT_Load_Sfnt_Table(face, tag, 0, nil, &length) == 0, length < 1 << 28 else { return nil }
        var bytes = [UInt8](repeating: 0, count: Int(length))
        guard FT_Load_Sfnt_Table(face, tag, 0, &bytes, &length) == 0 else { return nil }
        return bytes
    }
}
