/// What `--parquet` names, told apart by the columns of each file: pictures with captions, or texts.
struct ParquetInput {
    struct Pictures {
        /// What a person gave.
        let name: String
        let files: [ParquetPictures.File]
    }

    private(set) var pictures: [Pictures] = []
    private(set) var texts: [TextFile] = []

    /// - Parameters:
    ///   - names: Files, or folders of files.
    ///   - imageKey: The column of pictures that every file has to have; nil to look for one.
    ///   - textKey: The column of the texts; nil for the usual one. Who names it, and no column of pictures, wants texts.
    init(_ names: [String], imageKey: String?, textKey: String?) throws(DataError) {
        for name in names {
            var pictures: [ParquetPictures.File] = []
            for file in try TextFile.list([name], .parquet(column: textKey ?? TextFile.usualKey)) {
                guard imageKey != nil || textKey == nil,
                    let column = try ParquetPictures.column(of: try ParquetFile(file.path), imageKey)
                else {
                    texts.append(file)
                    continue
                }
                pictures.append(.init(path: file.path, column: column))
            }
            if !pictures.isEmpty { self.pictures.append(Pictures(name: name, files: pictures)) }
        }
    }
}
