internal import TransfusionCore

/// The texts of some files, in the order of the files. They are read anew each time, in batches, and worked on by all cores.
final class TextList {
    /// A task works on so many bytes of text.
    private static let taskBytes = 1 << 18

    let files: [TextFile]
    /// Texts without a letter of any kind.
    private(set) var emptyTexts = 0
    private let pool: ThreadPool
    /// Whether all texts were read once, so that what is bad or empty is counted.
    private(set) var isChecked = false

    init(_ files: [TextFile], pool: ThreadPool = ThreadPool()) {
        self.files = files
        self.pool = pool
    }

    /// What another process found.
    func resume(isChecked: Bool, emptyTexts: Int) {
        self.isChecked = isChecked
        self.emptyTexts = emptyTexts
    }

    /// Makes something of each text that is not empty, on all cores, and takes what was made in the order of the texts.
    ///
    /// The first time, texts that cannot be used are added to `bad`. When there are more than may be left out, the others are
    /// only read, so that one error names all.
    /// - Parameters:
    ///   - phase: What is being done, for people.
    ///   - isWanted: Whether the text is wanted that has this number among all, from 0.
    ///   - first: How many batches to pass over.
    ///   - make: Gets a text, or the ids of one as little-endian `Int32`. Called on several threads at once.
    ///   - given: Asked for each batch by its number; nil when it has to be worked on here.
    ///   - take: Gets the items with their file, their place in the batch, and their number among all texts.
    ///   - batchDone: Told all that came of a batch.
    func forEach<Item>(
        _ phase: String, bad: BadInput, progress: (_ phase: String, _ done: Int, _ total: Int) -> Void,
        from first: Int = 0, where isWanted: (Int) -> Bool = { _ in true },
        given: (_ batch: Int) throws(DataError) -> Results<Item>? = { _ in nil },
        _ make: (UnsafeBufferPointer<UInt8>, _ holdsTokens: Bool) throws(DataError) -> Item,
        _ take: (Item, _ text: (file: Int, place: Int, number: Int)) throws(DataError) -> Void,
        batchDone: (Results<Item>) throws(DataError) -> Void
    ) throws(DataError) {
        var reader = DocumentReader(files)
        for _ in 0..<first { _ = try reader.next() }
        var next = try reader.next(), number = first
        while let batch = next {
            let results: Results<Item>
            if let given = try given(number) {
                results = given
                next = try reader.next()
            } else {
                let isOver = bad.isOver
                (results, next) = try work(on: batch, &reader) { (entries) in
                    work(on: batch, entries, isOver: isOver, isWanted, make)
                }
            }
            if let failure = results.failure { throw failure }
            if !isChecked {
                emptyTexts += results.empty
                for problem in results.problems { bad.add(problem) }
            }
            for (item, place) in results.items
            where batch.entries.indices.contains(place) && isWanted(batch.first + place) {
                try take(item, (batch.entries[place].file, place, batch.first + place))
            }
            try batchDone(results)
            if let last = batch.entries.last { progress("\(phase) of \(files[last.file].path), line", last.line, 0) }
            number += 1
        }
        isChecked = true
    }

    /// Works on a batch on all cores, while the next one is read.
    private func work<Item>(
        on batch: DocumentBatch, _ reader: inout DocumentReader, _ make: (Range<Int>) -> Results<Item>
    ) throws(DataError) -> (results: Results<Item>, next: DocumentBatch?) {
        let tasks = Self.tasks(of: batch)
        var parts = [Results<Item>](repeating: Results(), count: tasks.count)
        var read = Result<DocumentBatch?, DataError>.success(nil)
        parts.withUnsafeMutableBufferPointer { parts in
            withUnsafeMutablePointer(to: &read) { read in
                withUnsafeMutablePointer(to: &reader) { reader in
                    // The first task reads what comes next.
                    pool.tasks(tasks.count + 1) { task, _ in
                        guard task > 0 else {
                            read.pointee = Result { () throws(DataError) in try reader.pointee.next() }
                            return
                        }
                        parts[task - 1] = make(tasks[task - 1])
                    }
                }
            }
        }
        var results = Results<Item>()
        for part in parts {
            results.items += part.items
            results.problems += part.problems
            results.empty += part.empty
            results.digests += part.digests
            if results.failure == nil { results.failure = part.failure }
        }
        return (results, try read.get())
    }

    /// What was made of some texts of a batch.
    struct Results<Item> {
        var items: [(item: Item, place: Int)] = []
        var problems: [DataError] = []
        var empty = 0
        /// One for each text, 0 for what is none, where they were read for the first time.
        var digests: [UInt128] = []
        /// Why nothing could be made of a text that is good.
        var failure: DataError?
    }

    /// The entries of a batch, cut into parts.
    private static func tasks(of batch: DocumentBatch) -> [Range<Int>] {
        var tasks: [Range<Int>] = []
        var first = 0
        for (index, entry) in batch.entries.enumerated()
        where entry.range.upperBound - batch.entries[first].range.lowerBound >= taskBytes {
            tasks.append(first..<index + 1)
            first = index + 1
            if first == batch.entries.count { return tasks }
        }
        return first < batch.entries.count ? tasks + [first..<batch.entries.count] : tasks
    }

    private func work<Item>(
        on batch: DocumentBatch, _ entries: Range<Int>, isOver: Bool, _ isWanted: (Int) -> Bool,
        _ make: (UnsafeBufferPointer<UInt8>, Bool) throws(DataError) -> Item
    ) -> Results<Item> {
        var result = Results<Item>()
        var text: [UInt8] = []
        batch.bytes.withUnsafeBufferPointer { bytes in
            for index in entries {
                let isWanted = isWanted(batch.first + index)
                if isChecked && !isWanted { continue }
                let entry = batch.entries[index]
                do throws(DataError) {
                    try read(entry, UnsafeBufferPointer(rebasing: bytes[entry.range]), into: &text)
                } catch {
                    result.problems.append(error)
                    if !isChecked { result.digests.append(0) }
                    continue
                }
                if text.isEmpty { result.empty += 1 }
                if !isChecked {
                    result.digests.append(text.isEmpty ? 0 : text.withUnsafeBufferPointer(TextDigests.digest))
                }
                guard isWanted, !isOver, !text.isEmpty else { continue }
                let form = files[entry.file].form
                let made = text.withUnsafeBufferPointer { text in
                    Result { () throws(DataError) in
                        if case .tokens = form { return try make(text, true) }
                        return try make(text, false)
                    }
                }
                switch made {
                case .success(let item): result.items.append((item, index))
                case .failure(let error):
                    result.failure = error
                    return
                }
            }
        }
        return result
    }

    /// Puts the text of an entry into `text`.
    /// - Throws: `DataError` that names file and line when it is none.
    private func read(
        _ entry: DocumentBatch.Entry, _ bytes: UnsafeBufferPointer<UInt8>, into text: inout [UInt8]
    ) throws(DataError) {
        let file = files[entry.file]
        switch file.form {
        case .jsonLines(let key):
            do throws(JSONLine.Problem) {
                try JSONLine.text(key, in: UnsafeRawBufferPointer(bytes), into: &text)
            } catch {
                throw DataError("\(file.path):\(entry.line)", error.description)
            }
        case .plain:
            if let line = UTF8Text.firstBadLine(bytes) {
                throw DataError("\(file.path):\(entry.line + line)", "is not UTF-8 text")
            }
            text.removeAll(keepingCapacity: true)
            text.append(contentsOf: bytes)
        case .tokens(let markers):
            text.removeAll(keepingCapacity: true)
            text.append(contentsOf: try Self.ids(bytes, markers, place: "\(file.path), document \(entry.line)"))
        case .parquet(let column):
            guard UTF8Text.isValid(bytes) else {
                throw DataError("\(file.path)", "column \(column), row \(entry.line): is not UTF-8 text")
            }
            text.removeAll(keepingCapacity: true)
            text.append(contentsOf: bytes)
        }
    }

    /// Little-endian ids without the markers around a text, which batches have anyway.
    private static func ids(
        _ bytes: UnsafeBufferPointer<UInt8>, _ markers: TextFile.TokenMarkers, place: String
    ) throws(DataError) -> UnsafeRawBufferPointer {
        let bytes = UnsafeRawBufferPointer(bytes)
        var range = 0..<bytes.count / 4
        func id(_ place: Int) -> Int32 {
            Int32(littleEndian: bytes.loadUnaligned(fromByteOffset: 4 * place, as: Int32.self))
        }
        for token in range where id(token) < 0 || Int(id(token)) >= markers.vocabulary {
            throw DataError(
                place, "has an id outside of the tokenizer's vocabulary of \(markers.vocabulary); it is of another one")
        }
        if let first = range.first, id(first) == markers.beginOfText { range = range.dropFirst() }
        if let last = range.last, id(last) == markers.endOfText { range = range.dropLast() }
        return UnsafeRawBufferPointer(rebasing: bytes[4 * range.lowerBound..<4 * range.upperBound])
    }

    /// The ids that `make` gets.
    static func ids(_ bytes: UnsafeBufferPointer<UInt8>) -> [Int32] {
        let bytes = UnsafeRawBufferPointer(bytes)
        return (0..<bytes.count / 4).map {
            Int32(littleEndian: bytes.loadUnaligned(fromByteOffset: 4 * $0, as: Int32.self))
        }
    }
}
