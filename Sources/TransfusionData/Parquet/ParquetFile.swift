/// A Parquet file for reading: its fields, and its rows one after the other.
///
/// Fields of single values, structures of these (such as the pictures of Hugging Face's data sets, `{bytes, path}`), and lists of
/// these; pages of both versions; values plain, in a dictionary, in runs and as differences; compressed by Snappy, gzip,
/// zstd or not. What else there is in a file does not disturb as long as it is not asked for.
///
/// ### References
/// apache/parquet-format, README.md, Encodings.md, Compression.md
public final class ParquetFile {
    private static let magic = Array("PAR1".utf8)
    private static let largestMetadata = 1 << 28

    public let path: String
    public var rowCount: Int { metadata.rows }
    /// The names of the fields, in the order of the file.
    public var fieldNames: [String] { fields.map(\.name) }
    let fields: [ParquetField]
    private let metadata: ParquetMetadata
    private let file: MappedFile
    private let metadataStart: Int

    /// - Throws: `DataError` when it is no Parquet file or its metadata are damaged.
    public init(_ path: String) throws(DataError) {
        self.path = path
        file = try MappedFile(path)
        let count = file.bytes.count
        guard count >= 12, file.bytes.starts(with: Self.magic), let length: UInt32 = file.integer(at: count - 8) else {
            throw DataError(path, "is no Parquet file")
        }
        guard file.bytes.suffix(4).elementsEqual(Self.magic) else {
            let isEncrypted = file.bytes.suffix(4).elementsEqual("PARE".utf8)
            throw DataError(
                path, isEncrypted ? "is encrypted, which is not read" : "is no whole Parquet file: its end is missing")
        }
        guard length <= Self.largestMetadata, Int(length) <= count - 12 else {
            throw DataError(path, "has damaged metadata; write the file again")
        }
        metadataStart = count - 8 - Int(length)
        do throws(ThriftReader.Damage) {
            metadata = try ParquetMetadata(UnsafeRawBufferPointer(rebasing: file.bytes[metadataStart..<count - 8]))
            fields = try ParquetField.fields(of: metadata.schema)
        } catch {
            throw DataError(path, "has damaged metadata; write the file again")
        }
    }

    /// The values of some fields, row by row.
    /// - Throws: `DataError` when there is no such field, or it is of a kind that is not read.
    public func rows(_ names: [String]) throws(DataError) -> ParquetRows {
        var readers: [ParquetFieldReader] = []
        for name in names {
            guard let field = fields.first(where: { $0.name == name }) else {
                let known = fieldNames.prefix(20).joined(separator: ", ")
                throw DataError(path, "has no column \(name); it has \(known.isEmpty ? "none" : known)")
            }
            func columns(_ leaves: [ParquetLeaf]) throws(DataError) -> [ParquetColumnReader] {
                for leaf in leaves where leaf.type == .int96 {
                    throw DataError(path, "column \(name): the type INT96 is not read")
                }
                return leaves.map { ParquetColumnReader(file, metadata, $0, end: metadataStart) }
            }
            switch field.shape {
            case .value(let leaf):
                readers.append(ParquetFieldReader(field, columns: try columns([leaf])))
            case .list(let leaf, _): readers.append(ParquetFieldReader(field, columns: try columns([leaf])))
            case .structure(let leaves, _): readers.append(ParquetFieldReader(field, columns: try columns(leaves)))
            case .other(let what): throw DataError(path, "column \(name): it is \(what), which is not read")
            }
        }
        return ParquetRows(file: file, readers: readers, rowCount: rowCount)
    }

    /// Whether the values of a field are bytes.
    public func holdsBytes(_ name: String) -> Bool {
        guard case .value(let leaf)? = fields.first(where: { $0.name == name })?.shape else { return false }
        return leaf.type == .byteArray
    }

    /// The members of a field that is a structure, in the order of its values; nil for other fields.
    public func members(of name: String) -> [String]? {
        guard case .structure(let leaves, _)? = fields.first(where: { $0.name == name })?.shape else { return nil }
        return leaves.map(\.name)
    }
}

/// The rows of a Parquet file, of which one is read at a time.
public struct ParquetRows {
    /// After so many rows the pages of the file that were looked at are given back.
    private static let rowsBetweenForgetting = 4096

    private let file: MappedFile
    private var readers: [ParquetFieldReader]
    private let rowCount: Int
    /// How many rows were read.
    public private(set) var count = 0

    init(file: MappedFile, readers: [ParquetFieldReader], rowCount: Int) {
        self.file = file
        self.readers = readers
        self.rowCount = rowCount
    }

    /// The next row, a value for each field that was asked for; nil behind the last.
    /// - Throws: `DataError` that names the column. There is nothing to be read after it.
    public mutating func next() throws(DataError) -> [ParquetValue]? {
        if count == rowCount { return nil }
        var row: [ParquetValue] = []
        for place in readers.indices {
            guard let value = try readers[place].next() else {
                throw DataError(
                    file.path, "column \(readers[place].name): has fewer rows than the file, \(count) of \(rowCount)")
            }
            row.append(value)
        }
        count += 1
        if count % Self.rowsBetweenForgetting == 0 { file.forgetPages() }
        return row
    }
}

/// Puts the values of a field together.
struct ParquetFieldReader {
    let name: String
    private let shape: ParquetField.Shape
    private var columns: [ParquetColumnReader]
    /// Of a list, the value behind the one that ended a row.
    private var waiting: ParquetColumnReader.Entry?

    init(_ field: ParquetField, columns: [ParquetColumnReader]) {
        name = field.name
        shape = field.shape
        self.columns = columns
    }

    /// The value of the next row; nil at the end.
    mutating func next() throws(DataError) -> ParquetValue? {
        switch shape {
        case .value: return try columns[0].next().map { $0.value ?? .null }
        case .structure(_, let definition):
            var members: [ParquetValue] = []
            var isThere = true
            for place in columns.indices {
                guard let entry = try columns[place].next() else { return nil }
                isThere = isThere && entry.definition >= definition
                members.append(entry.value ?? .null)
            }
            return isThere ? .structure(members) : .null
        case .list(_, let definition): return try nextList(definition)
        case .other: return nil
        }
    }

    private mutating func nextList(_ definition: Int) throws(DataError) -> ParquetValue? {
        let first: ParquetColumnReader.Entry
        if let waiting {
            first = waiting
        } else {
            guard let entry = try columns[0].next() else { return nil }
            first = entry
        }
        waiting = nil
        if first.definition < definition { return .null }
        if first.definition == definition { return .list([]) }
        var elements = [first.value ?? .null]
        while let entry = try columns[0].next() {
            guard entry.repetition > 0 else {
                waiting = entry
                break
            }
            elements.append(entry.value ?? .null)
        }
        return .list(elements)
    }
}
