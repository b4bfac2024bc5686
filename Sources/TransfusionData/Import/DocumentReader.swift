/// Texts as they lie in their files, some of them together.
struct DocumentBatch {
    struct Entry {
        /// Where in the bytes it lies.
        let range: Range<Int>
        /// The number of its file, and its first line or row in it, from 1.
        let file: Int
        let line: Int
    }

    var bytes: [UInt8] = []
    var entries: [Entry] = []
    /// The number of the first one among all.
    var first = 0
}

/// Reads texts from files, one file after the other, in batches of bounded size.
struct DocumentReader {
    private static let batchBytes = 8 << 20
    private static let batchEntries = 1 << 16
    /// Of one text.
    static let mostBytes = 256 << 20

    private enum Source {
        case lines(LineReader, TextFile.Form)
        case rows(ParquetRows)
        case tokens(MegatronFile, next: Int)
    }

    private let files: [TextFile]
    private var file = -1
    private var source: Source?
    private var count = 0

    init(_ files: [TextFile]) {
        self.files = files
    }

    /// The next batch; nil behind the last text.
    mutating func next() throws(DataError) -> DocumentBatch? {
        var batch = DocumentBatch()
        batch.first = count
        while batch.bytes.count < Self.batchBytes, batch.entries.count < Self.batchEntries {
            guard let current = source else {
                file += 1
                guard file < files.count else { break }
                source = try Self.open(files[file])
                continue
            }
            let isThere: Bool
            switch current {
            case .lines(var reader, let form):
                // So that the buffer has one owner.
                source = nil
                isThere = try read(&reader, form, into: &batch)
                source = .lines(reader, form)
            case .rows(var rows):
                source = nil
                isThere = try read(&rows, into: &batch)
                source = .rows(rows)
            case .tokens(let file, let document):
                isThere = try read(document, of: file, into: &batch)
                source = .tokens(file, next: document + 1)
            }
            if !isThere { source = nil }
        }
        count += batch.entries.count
        return batch.entries.isEmpty ? nil : batch
    }

    private static func open(_ file: TextFile) throws(DataError) -> Source {
        if case .tokens = file.form { return .tokens(try MegatronFile(file.path), next: 0) }
        guard case .parquet(let column) = file.form else { return .lines(try LineReader(file.path), file.form) }
        let parquet = try ParquetFile(file.path)
        let rows = try parquet.rows([column])
        guard parquet.holdsBytes(column) else { throw DataError(file.path, "column \(column): is no text") }
        return .rows(rows)
    }

    private static func isBlank(_ bytes: ArraySlice<UInt8>) -> Bool { bytes.allSatisfy { $0 <= 32 } }

    /// - Returns: false at the end of the file.
    private func read(
        _ reader: inout LineReader, _ form: TextFile.Form, into batch: inout DocumentBatch
    ) throws(DataError) -> Bool {
        let start = batch.bytes.count
        guard case .plain(let documents) = form, documents != .line else {
            guard try reader.append(to: &batch.bytes, limit: Self.mostBytes) else { return false }
            // Blank lines are no texts.
            if Self.isBlank(batch.bytes[start...]) {
                batch.bytes.removeLast(batch.bytes.count - start)
            } else {
                batch.entries.append(.init(range: start..<batch.bytes.count, file: file, line: reader.count))
            }
            return true
        }
        // Lines up to a blank one, or all of them.
        var first = 0
        var end = start
        while true {
            let lineStart = batch.bytes.count
            guard try reader.append(to: &batch.bytes, limit: Self.mostBytes) else { break }
            if documents == .paragraph, Self.isBlank(batch.bytes[lineStart...]) {
                if first > 0 { break }
                batch.bytes.removeLast(batch.bytes.count - lineStart)
                continue
            }
            if first == 0 { first = reader.count }
            end = batch.bytes.count
            batch.bytes.append(0x0A)
            guard end - start <= Self.mostBytes else {
                throw DataError(
                    reader.path,
                    "is a text of more than \(Self.mostBytes >> 20) MiB; cut it, or give --text-documents line or paragraph"
                )
            }
        }
        batch.bytes.removeLast(batch.bytes.count - end)
        guard first > 0 else { return false }
        batch.entries.append(.init(range: start..<end, file: file, line: first))
        return true
    }

    /// - Returns: false at the end of the file.
    private func read(
        _ document: Int, of tokens: MegatronFile, into batch: inout DocumentBatch
    ) throws(DataError) -> Bool {
        guard document < tokens.documentCount else { return false }
        let start = batch.bytes.count
        try tokens.append(document, to: &batch.bytes)
        batch.entries.append(.init(range: start..<batch.bytes.count, file: file, line: document + 1))
        if document % 4096 == 4095 { tokens.forgetPages() }
        return true
    }

    /// - Returns: false at the end of the file.
    private func read(_ rows: inout ParquetRows, into batch: inout DocumentBatch) throws(DataError) -> Bool {
        guard let row = try rows.next() else { return false }
        let start = batch.bytes.count
        // A row without a text is an empty text.
        if case .bytes(let bytes) = row[0] { batch.bytes.append(contentsOf: bytes) }
        batch.entries.append(.init(range: start..<batch.bytes.count, file: file, line: rows.count))
        return true
    }
}
