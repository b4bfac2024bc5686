internal import TransfusionSupport

/// Pictures and texts of an import, as every process that takes part in it finds them.
final class ImportSources {
    typealias Progress = (_ phase: String, _ done: Int, _ total: Int) -> Void

    let settings: DatasetImport
    let pictures: PictureList
    let texts: TextList
    let bad: BadInput
    /// What an import of these begins with.
    let beginning: ImportProgress
    /// The sources of pictures, and how many pictures come before each.
    private let sources: [(source: any PictureSource, first: Int)]

    /// Looks at all headers, names and captions.
    /// - Parameter suffix: Follows on the names of files that are needed meanwhile.
    init(
        _ settings: DatasetImport, spools directory: String, suffix: String = "", progress: Progress
    ) throws(DataError) {
        self.settings = settings
        bad = BadInput(allowed: settings.skipBad)
        let parquet = try ParquetInput(
            settings.parquets, imageKey: settings.imageKey, textKey: settings.textKey)
        pictures = try PictureList(spools: directory, suffix: suffix)
        var sources: [(any PictureSource, Int)] = []
        for source in try settings.sources(parquet.pictures) {
            sources.append((source, pictures.count))
            try source.list(to: pictures, bad: bad, progress: progress)
        }
        self.sources = sources
        texts = TextList(try settings.textFiles() + parquet.texts)
        for file in texts.files { for path in file.paths { pictures.note(path) } }
        if let path = settings.tokenizerPath { pictures.note(path) }
        try pictures.close()
        beginning = ImportProgress(options: settings.options, sources: String(pictures.fingerprint, radix: 16))
    }

    var names: String { settings.sourceNames.joined(separator: ", ") }

    /// Pictures that several processes take from each other at a time: as many as have some 16 MiB.
    var picturesInUnit: Int {
        settings.picturesInUnit ?? max(16, min(1024, (16 << 20) / (3 * settings.size * settings.size)))
    }

    /// Brings some of the pictures to their size, on all cores.
    /// - Parameter store: Gets each as `[3, size, size]`, or why it cannot be read.
    func read(
        _ range: Range<Int>, _ store: (Result<[UInt8], DataError>) throws(DataError) -> Void
    ) throws(DataError) {
        var resizing = PictureResizing(size: settings.size, fit: settings.fit, filter: settings.filter)
        var next = range.lowerBound
        for (number, (source, first)) in sources.enumerated() where next < range.upperBound {
            let end = min(range.upperBound, number + 1 < sources.count ? sources[number + 1].first : pictures.count)
            guard next < end else { continue }
            try source.forEachPicture(from: next - first) { (picture) throws(DataError) in
                try resizing.add(picture, store)
                next += 1
                return next < end
            }
            guard next == end else {
                throw DataError(names, "changed while it was read; leave it alone and run again")
            }
        }
        try resizing.finish(store)
    }
}
