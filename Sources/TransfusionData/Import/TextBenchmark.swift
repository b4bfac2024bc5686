internal import TransfusionCore
internal import TransfusionSupport

/// How fast texts are read and turned into ids, and Parquet files are read, as `tf-data import` does it.
public struct TextBenchmark {
    /// Files of JSONL, which may be compressed, and Parquet files.
    public var paths: [String]
    /// A tokenizer's file; nil to read texts alone.
    public var tokenizerPath: String?
    /// As many as there are processors unless given.
    public var threads: Int?

    public init(paths: [String]) {
        self.paths = paths
    }

    public struct Row: Codable, Sendable {
        /// `text` or `parquet`.
        public var format: String
        public var files: Int
        /// Of the texts, or of all values of a Parquet file, unpacked.
        public var bytes: Int
        /// nil where none were made.
        public var tokens: Int?
        /// Millions of those bytes.
        public var megabytesPerSecond: Double
        public var threads: Int
    }

    /// - Throws: `DataError` when a file cannot be read.
    public func run(progress: (_ phase: String, _ done: Int) -> Void = { _, _ in }) throws -> [Row] {
        let parquets = paths.filter { Paths.fileExtension(of: $0) == "parquet" }
        let texts = paths.filter { !parquets.contains($0) }
        var rows: [Row] = []
        if !texts.isEmpty { rows.append(try measureTexts(texts, progress)) }
        if !parquets.isEmpty { rows.append(try measureParquets(parquets, progress)) }
        return rows
    }

    private func measureTexts(_ paths: [String], _ progress: (String, Int) -> Void) throws -> Row {
        let tokenizer = try tokenizerPath.map { (path) throws(DataError) in try Tokenizer(path: path) }
        let pool = ThreadPool(threads: threads)
        let list = TextList(try TextFile.list(paths, .jsonLines(key: TextFile.usualKey)), pool: pool)
        let bad = BadInput(allowed: 0)
        let clock = ContinuousClock(), start = clock.now
        var bytes = 0, tokens = 0
        try list.forEach(
            "encoding", bad: bad, progress: { phase, done, _ in progress(phase, done) },
            { (text, _) throws(DataError) in
                (bytes: text.count, tokens: try tokenizer?.encode(text).count ?? 0)
            },
            { (counts, _) throws(DataError) in
                bytes += counts.bytes
                tokens += counts.tokens
            }, batchDone: { (_) throws(DataError) in })
        try bad.check()
        let seconds = start.duration(to: clock.now) / .seconds(1)
        return Row(
            format: "text", files: list.files.count, bytes: bytes, tokens: tokenizer.map { _ in tokens },
            megabytesPerSecond: Double(bytes) / seconds / 1e6, threads: pool.threadCount)
    }

    /// One file after the other, all of its columns that can be read.
    private func measureParquets(_ paths: [String], _ progress: (String, Int) -> Void) throws -> Row {
        let clock = ContinuousClock(), start = clock.now
        var bytes = 0
        for path in paths {
            let file = try ParquetFile(path)
            let fields = file.fields.filter { if case .other = $0.shape { false } else { true } }
            var rows = try file.rows(fields.map(\.name))
            while let values = try rows.next() {
                for value in values { bytes += value.byteCount }
                if rows.count % 65_536 == 0 { progress("reading \(path), row", rows.count) }
            }
        }
        let seconds = start.duration(to: clock.now) / .seconds(1)
        return Row(
            format: "parquet", files: paths.count, bytes: bytes, tokens: nil,
            megabytesPerSecond: Double(bytes) / seconds / 1e6, threads: 1)
    }
}

extension ParquetValue {
    /// Of what it holds, numbers taken as eight bytes.
    fileprivate var byteCount: Int {
        switch self {
        case .null: 0
        case .flag: 1
        case .integer, .number: 8
        case .bytes(let bytes): bytes.count
        case .list(let values), .structure(let values): values.reduce(0) { $0 + $1.byteCount }
        }
    }
}
