/// Pictures in the formats in which people have them: PNG, JPEG, WebP and GIF, told apart by their first bytes.
///
/// Read as Pillow reads them, to the bit: the numbers in the file are the numbers of the picture, whatever its gamma or colour profile
/// says; what is transparent becomes white; and the picture is turned as its EXIF orientation says.
public enum PictureFile {
    /// Pictures with more pixels are refused before any room is made for them.
    public static let largestPixelCount = 1 << 26

    /// Pictures that are longer on a side are refused.
    static let largestSide = 65_535

    /// Longer files are refused instead of read.
    package static let largestFile = 1 << 30

    /// Reads a file.
    /// - Throws: `DataError` that names it when it is no such picture, too large, cut off or damaged.
    public static func read(_ path: String) throws(DataError) -> Picture {
        let file = try MappedFile(path)
        defer { withExtendedLifetime(file) {} }
        return try decode(file.bytes, name: path)
    }

    /// Whether `read` will take a file, from its header and the lengths of its parts alone. Damage inside of the pixels shows
    /// when they are read.
    public static func check(_ path: String) throws(DataError) {
        let file = try MappedFile(path)
        defer { withExtendedLifetime(file) {} }
        try check(file.bytes, name: path)
    }

    /// - Parameter name: What errors call the picture.
    static func check(_ bytes: UnsafeRawBufferPointer, name: String) throws(DataError) {
        let format = try format(of: bytes, name: name)
        try checkSize(format.size(of: bytes, name: name), name: name)
        // What is cut off may still have all of its pixels.
        if !format.reachesItsEnd(bytes) { _ = try decode(bytes, name: name) }
    }

    /// - Parameter name: What errors call the picture.
    public static func decode(_ bytes: UnsafeRawBufferPointer, name: String) throws(DataError) -> Picture {
        let format = try format(of: bytes, name: name)
        try checkSize(format.size(of: bytes, name: name), name: name)
        let picture = try format.pixels(of: bytes, name: name)
        return picture.turned(Orientation(of: bytes, format) ?? .upright)
    }

    private static func format(of bytes: UnsafeRawBufferPointer, name: String) throws(DataError) -> PictureFormat {
        guard bytes.count <= largestFile else {
            throw DataError(
                name, "has \(bytes.count) bytes, more than the \(largestFile) that are read; make it smaller")
        }
        guard let format = PictureFormat(of: bytes) else {
            throw DataError(name, "is no PNG, JPEG, WebP or GIF picture; convert it, other formats are not read")
        }
        return format
    }

    private static func checkSize(_ size: (width: Int, height: Int), name: String) throws(DataError) {
        let sides = "has \(size.width) × \(size.height) pixels"
        guard size.width > 0, size.height > 0 else { throw DataError(name, "\(sides); make it anew") }
        guard size.width * size.height <= largestPixelCount else {
            throw DataError(name, "\(sides), more than the \(largestPixelCount) allowed; make it smaller")
        }
        guard max(size.width, size.height) <= largestSide else {
            throw DataError(name, "\(sides), more than the \(largestSide) allowed on a side; make it smaller")
        }
    }
}
