internal import TransfusionSupport

/// Edits of Parquet files, a row each: a picture, an instruction, and the picture that is to come of it, as MagicBrush and
/// InstructPix2Pix are stored at Hugging Face.
final class ParquetEdits: PictureSource {
    let name: String
    private let prefix: String
    private let paths: [String]
    private var pictures: SequentialPictures<Reader>

    /// What the three columns may be called.
    private static let columns = [
        ["source_img", "source", "original_image"], ["instruction", "edit_prompt"],
        ["target_img", "target", "edited_image"],
    ]

    init(_ name: String, prefix: String) throws(DataError) {
        self.name = name
        self.prefix = prefix
        let paths = try TextFile.list([name], .parquet(column: "")).map(\.path)
        self.paths = paths
        pictures = SequentialPictures { (file) throws(DataError) in try Reader(paths[file]) }
    }

    /// Whether a path is for this source: a Parquet file, or a folder with some.
    static func reads(_ path: String) -> Bool {
        if !Files.isDirectory(path) { return path.hasSuffix(".parquet") }
        return (try? TextFile.list([path], .parquet(column: ""))) != nil
    }

    private struct Row {
        /// For errors.
        let place: String
        let number: Int
        let source: ArraySlice<UInt8>?
        let instruction: ParquetValue
        let target: ArraySlice<UInt8>?
    }

    /// Gives the two pictures of each row one after the other.
    private struct Reader: SampleReader {
        struct Sample {
            let row: Row
            let isTarget: Bool
        }

        private let path: String
        private var rows: ParquetRows
        /// Where the bytes lie in the structures of the two columns of pictures; nil for columns of bytes.
        private let bytesPlaces: [Int?]
        /// One whose source was given.
        private var begun: Row?

        init(_ path: String) throws(DataError) {
            self.path = path
            let file = try ParquetFile(path)
            var names: [String] = []
            for known in ParquetEdits.columns {
                guard let name = known.first(where: file.fieldNames.contains) else {
                    throw DataError(
                        path,
                        "has no column \(known[0]); edits have one of each: source_img, instruction, target_img")
                }
                names.append(name)
            }
            bytesPlaces = names.map { file.members(of: $0)?.firstIndex(of: "bytes") }
            rows = try file.rows(names)
        }

        static func picture(of sample: Sample) -> PictureBytes? {
            (sample.isTarget ? sample.row.target : sample.row.source).map {
                PictureBytes(name: sample.row.place, storage: .memory([UInt8]($0)))
            }
        }

        mutating func next() throws(DataError) -> Sample? {
            if let row = begun {
                begun = nil
                return Sample(row: row, isTarget: true)
            }
            guard let values = try rows.next() else { return nil }
            let row = Row(
                place: "\(path), row \(rows.count)", number: rows.count, source: picture(values, 0),
                instruction: values[1], target: picture(values, 2))
            begun = row
            return Sample(row: row, isTarget: false)
        }

        private func picture(_ values: [ParquetValue], _ column: Int) -> ArraySlice<UInt8>? {
            var value = values[column]
            if case .structure(let members) = value { value = bytesPlaces[column].map { members[$0] } ?? .null }
            if case .bytes(let bytes) = value { return bytes }
            return nil
        }
    }

    func list(
        to list: PictureList, bad: BadInput, progress: (_ phase: String, _ done: Int, _ total: Int) -> Void
    ) throws(DataError) {
        let before = (list.captionCount, bad.count)
        for path in paths {
            list.note(path)
            var isUsable = false
            pictures.listFile(bad: bad) { (sample) throws(DataError) in
                // A row is taken or refused as a whole.
                guard !sample.isTarget else { return isUsable }
                isUsable = false
                progress("looking at the edits of \(path), row", sample.row.number, 0)
                try add(sample.row, of: path, to: list)
                isUsable = true
                return true
            }
        }
        guard before != (list.captionCount, bad.count) else { throw DataError(name, "has no row with an edit in it") }
    }

    private func add(_ row: Row, of path: String, to list: PictureList) throws(DataError) {
        guard let source = row.source, let target = row.target else {
            throw DataError(row.place, "has not both of its pictures; write the file with the pictures in it")
        }
        guard case .bytes(let bytes) = row.instruction, let instruction = String(validating: bytes, as: UTF8.self)
        else { throw DataError(row.place, "has no instruction that is UTF-8 text") }
        for picture in [source, target] {
            try PictureBytes(name: row.place, storage: .memory([UInt8](picture))).check()
        }
        let key = prefix + "\(Paths.name(of: path))/\(row.number)"
        let original = try list.addPicture(key: key + " source")
        try list.addEdit(instruction, of: original, to: try list.addPicture(key: key))
    }

    func forEachPicture(
        from first: Int, _ body: (Result<PictureBytes, DataError>) throws(DataError) -> Bool
    ) throws(DataError) {
        try pictures.forEach(from: first) { (picture) throws(DataError) in try body(.success(picture)) }
    }
}
