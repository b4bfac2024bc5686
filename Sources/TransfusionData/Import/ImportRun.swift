internal import Foundation
internal import TransfusionCore
internal import TransfusionSupport

/// One process's part of the work of an import: goes on where the one before it was ended, up to the finished data set.
///
/// Pictures and texts are written one after the other, and now and then brought to the disk together with how far they are. Headers,
/// names and captions, which take little time, are read anew by each process.
final class ImportRun {
    typealias Progress = (_ phase: String, _ done: Int, _ total: Int) -> Void

    /// Files beside the data set's.
    private enum FileName {
        static let images = "picture-images" + UnfinishedDirectory.temporary
        static let problems = "problems" + UnfinishedDirectory.temporary
        static let digests = "text-digests" + UnfinishedDirectory.temporary
        static let validation = "validation" + UnfinishedDirectory.temporary
        static let validationLengths = "validation-lengths" + UnfinishedDirectory.temporary
        static let continued = [images, problems, digests, validation, validationLengths]
    }

    /// Between two times at which the work is brought to the disk.
    private static let interval = Duration.seconds(1)
    /// The image of a picture that has none.
    private static let noImage = UInt32.max

    private let directory: UnfinishedDirectory
    private let tell: Progress
    private let sources: ImportSources
    private var state: ImportProgress
    private var sinks: [String: FileSink] = [:]
    /// What another process had done.
    private let before: ImportProgress?
    /// Whether what another process had done was of no use.
    private let beganAnew: Bool
    /// Where other processes help; nil where there are none.
    private let exchange: ImportExchange?
    private var lastCommit = ContinuousClock.now

    private var settings: DatasetImport { sources.settings }
    private var pictures: PictureList { sources.pictures }
    private var texts: TextList { sources.texts }
    private var bad: BadInput { sources.bad }

    init(
        _ settings: DatasetImport, in directory: UnfinishedDirectory, _ progress: @escaping Progress
    ) throws {
        self.directory = directory
        tell = progress
        sources = try ImportSources(settings, spools: directory.path, progress: progress)
        let found = ImportProgress.read(in: directory.path), fresh = sources.beginning
        if let found, let difference = fresh.difference(from: found) {
            throw DataError(
                wrongUse: "\(directory.path): holds an interrupted import with other options (\(difference));"
                    + " give the same ones to go on, or remove it to begin anew")
        }
        before = found?.sources == fresh.sources ? found : nil
        state = before ?? fresh
        beganAnew = found != nil && before == nil
        exchange =
            settings.role == .first ? ImportExchange(directory.path, fingerprint: fresh.sources) : nil
        for name in FileName.continued {
            sinks[name] = try FileSink(directory.file(name), continuingAt: state.lengths[name] ?? 0)
        }
        if before != nil {
            for line in try Files.readText(directory.file(FileName.problems)).split(separator: "\n") {
                bad.add(DataError(String(line)))
            }
            // With fewer left out than before, what was done stays for a run that leaves out as many.
            try bad.check()
        }
        bad.log = []
        texts.resume(isChecked: state.areTextsChecked, emptyTexts: state.emptyTexts)
    }

    private func sink(_ name: String) -> FileSink {
        guard let sink = sinks[name] else { preconditionFailure("no file \(name)") }
        return sink
    }

    /// Brings everything to the disk, and then says so.
    private func commit(_ writer: DatasetWriter?) throws(DataError) {
        try sink(FileName.problems).write(bad.log ?? [])
        bad.log = []
        if let writer { state.writer = try writer.commit() }
        for name in FileName.continued {
            try sink(name).commit()
            state.lengths[name] = sink(name).count
        }
        state.areTextsChecked = texts.isChecked
        state.emptyTexts = texts.emptyTexts
        try state.write(in: directory.path)
        exchange?.forgetUsed()
        lastCommit = ContinuousClock.now
    }

    private var isDue: Bool { lastCommit.duration(to: .now) >= Self.interval }

    func finish() throws -> DatasetImport.Report {
        let tokenizer = try tokenizer()
        let writer = try DatasetWriter(
            continuing: state.writer, in: directory,
            image: .init(channels: 3, height: settings.size, width: settings.size, element: .u8), tokenizer: tokenizer,
            description: "imported from " + settings.sourceNames.map { Paths.name(of: $0) }.joined(separator: ", "))
        let images = try writePictures(to: writer)
        try bad.check()
        if writer.currentSplit == nil { writer.beginSplit("train") }
        try writeTexts(to: writer, tokenizer)
        try bad.check()
        let repeatedTexts = try TextDigests(directory.file(FileName.digests)).count
        try writeSplits(images, to: writer, tokenizer)
        let manifest = try writer.finish(progress: tell)
        return report(manifest, repeatedTexts: repeatedTexts)
    }

    // MARK: - Pictures

    /// Stores the pictures one after the other.
    /// - Returns: The number of each picture's image; nil for one that cannot be used or is left out. All are read to the end, so
    ///   that one error names all of these.
    private func writePictures(to writer: DatasetWriter) throws(DataError) -> [UInt32?] {
        var images = try imagesBefore()
        let numbers = sink(FileName.images)
        func store(_ planes: Result<[UInt8], DataError>) throws(DataError) {
            var image: UInt32?
            switch planes {
            case .success(let planes):
                let count = writer.imageCount
                let number = try writer.add(image: planes)
                if number < count { state.duplicatePictures += 1 }
                // An edit is more than its pictures.
                let isDispensable = number < count && settings.deduplicate && !pictures.isOfEdit(images.count)
                image = isDispensable ? nil : UInt32(number)
            case .failure(let problem): bad.add(problem)
            }
            images.append(image)
            try numbers.write(image ?? Self.noImage)
            state.pictures = images.count
            if isDue { try commit(writer) }
            tell("reading pictures", images.count, pictures.count)
        }
        // The others see how far the first process is.
        try commit(writer)
        if let exchange {
            let size = sources.picturesInUnit
            while images.count < pictures.count {
                let unit = images.count / size, end = min(pictures.count, (unit + 1) * size)
                if let part = try exchange.next(.pictures, unit, ImportExchange.PicturePart.self) {
                    try add(part, from: images.count - unit * size, count: end - unit * size, store)
                } else {
                    try sources.read(images.count..<end, store)
                }
            }
        } else {
            try sources.read(images.count..<pictures.count, store)
        }
        try commit(writer)
        return images
    }

    /// Stores what another process made of a unit of pictures.
    private func add(
        _ part: ImportExchange.PicturePart, from first: Int, count: Int,
        _ store: (Result<[UInt8], DataError>) throws(DataError) -> Void
    ) throws(DataError) {
        let bytes = 3 * settings.size * settings.size
        guard part.count == count, part.planes.count == bytes * (count - part.problems.count) else {
            throw DataError(directory.path, "a part of the pictures is damaged; remove it to begin anew")
        }
        var place = part.planes.startIndex
        for picture in 0..<count {
            if let problem = part.problems[picture] {
                if picture >= first { try store(.failure(DataError(problem))) }
                continue
            }
            if picture >= first { try store(.success([UInt8](part.planes[place..<place + bytes]))) }
            place += bytes
        }
    }

    private func imagesBefore() throws(DataError) -> [UInt32?] {
        let file = try MappedFile(directory.file(FileName.images), expectedBytes: 4 * state.pictures)
        defer { withExtendedLifetime(file) {} }
        var images: [UInt32?] = []
        images.reserveCapacity(pictures.count)
        for picture in 0..<state.pictures {
            let image: UInt32? = file.integer(at: 4 * picture)
            images.append(image == Self.noImage ? nil : image)
        }
        return images
    }

    // MARK: - Texts

    private func tokenizer() throws -> Tokenizer {
        if let path = settings.tokenizerPath {
            let tokenizer = try Tokenizer(path: path)
            // Else texts are checked while they are encoded. One error names what is bad in pictures and in texts.
            if !texts.isChecked, pictures.count + bad.count > 0 || settings.deduplicate {
                try texts.forEach(
                    "checking text", bad: bad, progress: tell, where: { _ in false },
                    { (_, _) throws(DataError) in }, { (_, _) throws(DataError) in },
                    batchDone: { (results) throws(DataError) in try note(results.digests) })
            }
            try bad.check()
            try commit(nil)
            return tokenizer
        }
        if state.tokenizerNotes != nil { return try Tokenizer(path: directory.file(ImportProgress.tokenizerFile)) }
        var corpus = TokenizerCorpus()
        pictures.addCaptions(to: &corpus)
        try texts.forEach(
            "reading text", bad: bad, progress: tell,
            { (text, _) throws(DataError) in
                // The beginning of a long text is read, and one character tells that there was more.
                String(decoding: text.prefix(TokenizerCorpus.longestText + 4), as: UTF8.self)
            },
            { (text, place) throws(DataError) in corpus.add(text, source: place.file, number: place.number) },
            batchDone: { (results) throws(DataError) in try note(results.digests) })
        try bad.check()
        tell("training the tokenizer", 0, 0)
        let training = try TokenizerTraining(
            on: corpus, from: settings.sourceNames.joined(separator: ", "), pieces: settings.pieces)
        try Files.write(training.tokenizer.contents, to: directory.file(ImportProgress.tokenizerFile))
        state.tokenizerNotes = training.notes
        try commit(nil)
        return training.tokenizer
    }

    /// Keeps the digests of the texts of a batch that was looked at for the first time.
    private func note(_ digests: [UInt128]) throws(DataError) {
        for digest in digests { try sink(FileName.digests).write(digest) }
    }

    /// Encodes the texts: those to train on go to their place, those for validation are kept aside.
    private func writeTexts(to writer: DatasetWriter, _ tokenizer: Tokenizer) throws(DataError) {
        let repeats = settings.deduplicate ? try closedDigests() : nil
        let validation = sink(FileName.validation), lengths = sink(FileName.validationLengths)
        state.areTextsBegun = true
        try commit(writer)
        try texts.forEach(
            "encoding text", bad: bad, progress: tell, from: state.batches,
            where: { repeats?.isRepeated($0) != true },
            given: { (batch) throws(DataError) in
                try exchange?.next(.texts, batch, ImportExchange.TextPart.self).map { (part) throws(DataError) in
                    try results(of: part)
                }
            },
            { (text, holdsTokens) throws(DataError) in
                writer.stored(holdsTokens ? TextList.ids(text) : try tokenizer.encode(text))
            },
            { (tokens, place) throws(DataError) in
                guard settings.split(of: place.number) == "validation" else {
                    return try writer.addDocument(stored: tokens)
                }
                try validation.write(tokens)
                try lengths.write(UInt64(tokens.count))
                state.validationDocuments += 1
            },
            batchDone: { (results) throws(DataError) in
                try note(results.digests)
                // Past the bound, texts are read for their faults alone. A later run that leaves more out has to encode them.
                guard !bad.isOver else { return exchange?.forgetUsed() ?? () }
                state.batches += 1
                if isDue { try commit(writer) }
            })
        if !bad.isOver { try commit(writer) }
    }

    /// What another process made of a batch of texts.
    private func results(of part: ImportExchange.TextPart) throws(DataError) -> TextList.Results<[UInt8]> {
        var results = TextList.Results<[UInt8]>()
        guard part.entries.count == part.lengths.count, part.lengths.reduce(0, +) == part.tokens.count else {
            throw DataError(directory.path, "a part of the texts is damaged; remove it to begin anew")
        }
        var start = part.tokens.startIndex
        for (place, length) in zip(part.entries, part.lengths) {
            results.items.append(([UInt8](part.tokens[start..<start + length]), place))
            start += length
        }
        results.problems = part.problems.map { DataError($0) }
        results.empty = part.empty
        results.digests = part.digests.withUnsafeBytes { bytes in
            stride(from: 0, to: bytes.count / TextDigests.bytes * TextDigests.bytes, by: TextDigests.bytes).map {
                bytes.loadUnaligned(fromByteOffset: $0, as: UInt128.self)
            }
        }
        return results
    }

    private func closedDigests() throws(DataError) -> TextDigests {
        try sink(FileName.digests).commit()
        return try TextDigests(directory.file(FileName.digests))
    }

    // MARK: - Splits

    /// Writes the captions, and the texts that were kept aside, split by split. The texts to train on are there.
    private func writeSplits(
        _ images: [UInt32?], to writer: DatasetWriter, _ tokenizer: Tokenizer
    ) throws(DataError) {
        let splits = splits(of: images)
        for (number, split) in PictureList.splitNames.enumerated() {
            if split != writer.currentSplit { writer.beginSplit(split) }
            if split == "validation" { try writeValidationTexts(to: writer) }
            for place in 0..<pictures.captionCount {
                let picture = pictures.picture(at: place)
                guard let image = images[picture], splits[Int(image)] == number else { continue }
                var original: Int?
                if let source = pictures.original(at: place) {
                    // One that can no longer be read is left out with its edits.
                    guard let image = images[source] else { continue }
                    original = Int(image)
                }
                try writer.addPair(
                    key: pictures.key(of: picture), caption: pictures.caption(at: place), image: Int(image),
                    original: original)
                tell("encoding \(split) captions", place, pictures.captionCount)
            }
            guard split != "train" || !writer.isCurrentSplitEmpty else {
                throw DataError(
                    settings.sourceNames.joined(separator: ", "),
                    "no text in it to train on; give a file with texts")
            }
        }
    }

    private func writeValidationTexts(to writer: DatasetWriter) throws(DataError) {
        let tokens = try MappedFile(directory.file(FileName.validation))
        let lengths = try MappedFile(directory.file(FileName.validationLengths))
        defer { withExtendedLifetime(tokens) {} }
        var start = 0
        for document in 0..<state.validationDocuments {
            guard let length: UInt64 = lengths.integer(at: 8 * document), length <= tokens.bytes.count - start else {
                throw DataError(tokens.path, "is damaged; remove its directory to begin anew")
            }
            try writer.addDocument(stored: [UInt8](tokens.bytes[start..<start + Int(length)]))
            start += Int(length)
        }
    }

    /// The split of each image by its number among `PictureList.splitNames`. All that show one image go where the first says, and
    /// what an edit makes goes where its original is.
    private func splits(of images: [UInt32?]) -> [UInt8] {
        let count = images.lazy.compactMap { $0 }.max().map { Int($0) + 1 } ?? 0
        var splits = [UInt8](repeating: UInt8.max, count: count)
        var roots = 0
        for (picture, image) in images.enumerated() {
            guard let image, splits[Int(image)] == UInt8.max else { continue }
            if let original = pictures.original(of: picture), original < picture, let root = images[original] {
                splits[Int(image)] = splits[Int(root)]
                continue
            }
            let name = pictures.split(of: picture) ?? settings.split(of: roots)
            roots += 1
            splits[Int(image)] = UInt8(PictureList.splitNames.firstIndex(of: name) ?? 0)
        }
        return splits
    }

    private func report(_ manifest: DatasetManifest, repeatedTexts: Int) -> DatasetImport.Report {
        let captionTokens = manifest.splits.reduce(0) { $0 + $1.captionTokens }
        return DatasetImport.Report(
            path: directory.place, digest: manifest.digest,
            pairs: Dictionary(uniqueKeysWithValues: manifest.splits.map { ($0.name, $0.pairs) }),
            edits: manifest.splits.reduce(0) { $0 + ($1.edits ?? 0) },
            documents: Dictionary(uniqueKeysWithValues: manifest.splits.map { ($0.name, $0.documents) }),
            images: manifest.images, captionTokens: captionTokens,
            longestCaption: manifest.splits.map(\.longestCaption).max() ?? 0,
            meanCaption: Double(captionTokens) / Double(max(1, manifest.pairs)),
            textTokens: manifest.splits.reduce(0) { $0 + $1.textTokens }, vocabulary: manifest.tokens.vocabulary,
            bytes: manifest.files.values.reduce(0) { $0 + $1.bytes },
            picturesWithoutCaption: pictures.withoutCaption, failedDownloads: pictures.failedDownloads,
            emptyTexts: texts.emptyTexts, duplicatePictures: state.duplicatePictures, duplicateTexts: repeatedTexts,
            areDuplicatesLeftOut: settings.deduplicate, picturesOfBefore: before?.pictures ?? 0,
            textBatchesOfBefore: before?.batches ?? 0, beganAnew: beganAnew, tokenizerNotes: state.tokenizerNotes ?? [],
            skipped: bad.named.map(\.description))
    }
}
