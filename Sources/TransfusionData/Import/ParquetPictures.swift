internal import TransfusionSupport

/// Parquet files with a column of pictures and one of captions, as Hugging Face's data sets are stored: a picture is a structure of
/// its bytes and its path, or the bytes alone.
final class ParquetPictures: PictureSource {
    struct File {
        let path: String
        /// The column of the pictures.
        let column: String
    }

    let name: String
    private let prefix: String
    private let captionKeys: CaptionKeys
    private let files: [File]
    private var rows: SequentialPictures<Reader>

    init(_ name: String, _ files: [File], prefix: String, captionKeys: CaptionKeys) {
        self.name = name
        self.files = files
        self.prefix = prefix
        self.captionKeys = captionKeys
        rows = SequentialPictures { (file) throws(DataError) in try Reader(files[file], captionKeys) }
    }

    // MARK: - Columns

    /// Columns of bytes alone are pictures where they are called like some.
    private static let usualNames: Set = ["image", "img", "picture", "jpg", "jpeg", "png", "webp", "gif"]

    /// The column of pictures.
    /// - Parameter given: Its name; nil to look for one.
    /// - Returns: Nil when none was named and there is none.
    /// - Throws: `DataError` when the named one is not there or holds no bytes, or when several would do.
    static func column(of file: ParquetFile, _ given: String?) throws(DataError) -> String? {
        if let given {
            guard let field = file.fields.first(where: { $0.name == given }) else {
                let known = file.fieldNames.prefix(20).joined(separator: ", ")
                throw DataError(file.path, "has no column \(given); it has \(known.isEmpty ? "none" : known)")
            }
            guard isStructure(field) || isBytes(field) else {
                throw DataError(
                    file.path, "column \(given): holds no pictures, which are bytes, or a structure of bytes and path")
            }
            return given
        }
        let structures = file.fields.filter(isStructure)
        let found = structures.isEmpty ? file.fields.filter { usualNames.contains($0.name) && isBytes($0) } : structures
        guard found.count < 2 else {
            let names = found.prefix(20).map(\.name).joined(separator: ", ")
            throw DataError(
                file.path, "has several columns of pictures (\(names)); name one with --image-key")
        }
        return found.first?.name
    }

    private static func isBytes(_ field: ParquetField) -> Bool {
        guard case .value(let leaf) = field.shape else { return false }
        return leaf.type == .byteArray && !leaf.isText
    }

    private static func isStructure(_ field: ParquetField) -> Bool {
        guard case .structure(let leaves, _) = field.shape else { return false }
        return leaves.contains { $0.name == "bytes" && $0.type == .byteArray && !$0.isText }
    }

    private static func isCaption(_ field: ParquetField) -> Bool {
        switch field.shape {
        case .value(let leaf), .list(let leaf, _): leaf.type == .byteArray
        default: false
        }
    }

    // MARK: - Rows

    /// A row of a file as it is stored.
    struct Row {
        /// For errors.
        let place: String
        let number: Int
        let picture: ArraySlice<UInt8>?
        let path: ArraySlice<UInt8>?
        let caption: ParquetValue
    }

    /// The rows of a file, one after the other.
    struct Reader: SampleReader {
        private let path: String
        private var rows: ParquetRows
        /// Where bytes and path lie among the members of a picture.
        private let bytesPlace: Int?
        private let pathPlace: Int?

        init(_ file: File, _ captionKeys: CaptionKeys) throws(DataError) {
            path = file.path
            let parquet = try ParquetFile(path)
            guard
                let captions = captionKeys.keys.lazy.compactMap({ key in parquet.fields.first { $0.name == key } })
                    .first
            else { throw DataError(path, captionKeys.missing) }
            guard ParquetPictures.isCaption(captions) else {
                throw DataError(path, "column \(captions.name): holds no texts; name the captions with --caption-key")
            }
            let members = parquet.members(of: file.column)
            bytesPlace = members?.firstIndex(of: "bytes")
            pathPlace = members?.firstIndex(of: "path")
            rows = try parquet.rows([file.column, captions.name])
        }

        static func picture(of row: Row) -> PictureBytes? {
            row.picture.map { PictureBytes(name: row.place, storage: .memory([UInt8]($0))) }
        }

        mutating func next() throws(DataError) -> Row? {
            guard let values = try rows.next() else { return nil }
            var value = values[0], file: ArraySlice<UInt8>?
            if case .structure(let members) = value {
                if let pathPlace, case .bytes(let bytes) = members[pathPlace], !bytes.isEmpty { file = bytes }
                value = bytesPlace.map { members[$0] } ?? .null
            }
            var picture: ArraySlice<UInt8>?
            if case .bytes(let bytes) = value { picture = bytes }
            return Row(
                place: "\(path), row \(rows.count)", number: rows.count, picture: picture, path: file,
                caption: values[1])
        }
    }

    func list(
        to list: PictureList, bad: BadInput, progress: (_ phase: String, _ done: Int, _ total: Int) -> Void
    ) throws(DataError) {
        let before = (list.captionCount, list.withoutCaption, bad.count)
        for file in files {
            list.note(file.path)
            rows.listFile(bad: bad) { (row) throws(DataError) in
                defer { progress("looking at the pictures of \(file.path), row", row.number, 0) }
                return try add(row, of: file, to: list)
            }
        }
        guard before != (list.captionCount, list.withoutCaption, bad.count) else {
            throw DataError(name, "has no row with a picture in it")
        }
    }

    /// - Returns: Whether there is anything in it to use.
    private func add(_ row: Row, of file: File, to list: PictureList) throws(DataError) -> Bool {
        guard let picture = row.picture else {
            let path = row.path.map { String(decoding: $0.prefix(200), as: UTF8.self) }
            throw DataError(
                row.place,
                path.map { "has only the path of its picture (\($0)); write the file with the pictures in it" }
                    ?? "has no picture")
        }
        guard let captions = try captions(of: row) else {
            list.withoutCaption += 1
            return false
        }
        try PictureBytes(name: row.place, storage: .memory([UInt8](picture))).check()
        let number = try list.addPicture(key: prefix + key(of: row, in: file))
        for caption in captions { try list.addCaption(caption, of: number) }
        return true
    }

    /// The picture's path, or the number of its row.
    private func key(of row: Row, in file: File) -> String {
        if let path = row.path, path.count < 4096, let text = String(validating: path, as: UTF8.self) { return text }
        return "\(Paths.name(of: file.path))/\(row.number)"
    }

    /// Nil where there is none.
    private func captions(of row: Row) throws(DataError) -> [String]? {
        let values: [ParquetValue]
        switch row.caption {
        case .null, .list([]): return nil
        case .list(let elements): values = elements
        default: values = [row.caption]
        }
        var captions: [String] = []
        for value in values {
            guard case .bytes(let bytes) = value, let text = String(validating: bytes, as: UTF8.self) else {
                throw DataError(row.place, "has a caption that is not UTF-8 text")
            }
            captions.append(text)
        }
        return captions
    }

    func forEachPicture(
        from first: Int, _ body: (Result<PictureBytes, DataError>) throws(DataError) -> Bool
    ) throws(DataError) {
        try rows.forEach(from: first) { (picture) throws(DataError) in try body(.success(picture)) }
    }
}
