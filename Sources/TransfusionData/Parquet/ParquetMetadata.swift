/// What the end of a Parquet file says of it.
///
/// ### References
/// apache/parquet-format, src/main/thrift/parquet.thrift
struct ParquetMetadata {
    enum PhysicalType: Int32 {
        case boolean = 0
        case int32 = 1
        case int64 = 2
        case int96 = 3
        case float = 4
        case double = 5
        case byteArray = 6
        case fixedLengthByteArray = 7
    }

    enum Repetition: Int32 {
        case required = 0
        case optional = 1
        case repeated = 2
    }

    struct SchemaElement {
        var type: PhysicalType?
        var typeLength = 0
        var repetition = Repetition.required
        var name = ""
        var children = 0
        /// Whether the bytes are UTF-8 text.
        var isText = false
    }

    struct ColumnChunk {
        var type = PhysicalType.boolean
        var path: [String] = []
        var codec: Int32 = 0
        var values = 0
        var compressedBytes = 0
        var dataOffset = 0
        var dictionaryOffset: Int?
        /// Whether its data lie in another file or are encrypted.
        var isElsewhere = false
    }

    struct RowGroup {
        var columns: [ColumnChunk] = []
        var rows = 0
    }

    var schema: [SchemaElement] = []
    var rows = 0
    var rowGroups: [RowGroup] = []

    typealias Damage = ThriftReader.Damage

    init(_ bytes: UnsafeRawBufferPointer) throws(Damage) {
        var reader = ThriftReader(bytes)
        try reader.structure { (reader, number, kind) throws(Damage) in
            switch (number, kind) {
            case (2, .list):
                try reader.list(of: .structure) { (reader) throws(Damage) in
                    schema.append(try SchemaElement(&reader))
                }
            case (3, .int64): rows = try reader.integer()
            case (4, .list):
                try reader.list(of: .structure) { (reader) throws(Damage) in
                    rowGroups.append(try RowGroup(&reader))
                }
            default: try reader.skip(kind)
            }
        }
        guard rows >= 0 else { throw Damage() }
    }
}

extension ParquetMetadata.SchemaElement {
    init(_ reader: inout ThriftReader) throws(ThriftReader.Damage) {
        typealias Damage = ThriftReader.Damage
        try reader.structure { (reader, number, kind) throws(Damage) in
            switch (number, kind) {
            case (1, .int32):
                guard let known = ParquetMetadata.PhysicalType(rawValue: try reader.int32()) else { throw Damage() }
                type = known
            case (2, .int32): typeLength = Int(try reader.int32())
            case (3, .int32):
                guard let known = ParquetMetadata.Repetition(rawValue: try reader.int32()) else { throw Damage() }
                repetition = known
            case (4, .binary): name = try reader.text()
            case (5, .int32): children = Int(try reader.int32())
            // UTF8, ENUM and JSON.
            case (6, .int32): isText = [0, 4, 19].contains(try reader.int32()) || isText
            case (10, .structure):
                try reader.structure { (reader, number, kind) throws(Damage) in
                    // STRING, ENUM and JSON.
                    isText = [1, 4, 12].contains(number) || isText
                    try reader.skip(kind)
                }
            default: try reader.skip(kind)
            }
        }
    }
}

extension ParquetMetadata.RowGroup {
    init(_ reader: inout ThriftReader) throws(ThriftReader.Damage) {
        typealias Damage = ThriftReader.Damage
        try reader.structure { (reader, number, kind) throws(Damage) in
            switch (number, kind) {
            case (1, .list):
                try reader.list(of: .structure) { (reader) throws(Damage) in
                    columns.append(try ParquetMetadata.ColumnChunk(&reader))
                }
            case (3, .int64): rows = try reader.integer()
            default: try reader.skip(kind)
            }
        }
        guard rows >= 0 else { throw Damage() }
    }
}

extension ParquetMetadata.ColumnChunk {
    init(_ reader: inout ThriftReader) throws(ThriftReader.Damage) {
        typealias Damage = ThriftReader.Damage
        try reader.structure { (reader, number, kind) throws(Damage) in
            switch (number, kind) {
            case (1, .binary), (8, .structure):
                isElsewhere = true
                try reader.skip(kind)
            case (3, .structure): try readMetadata(&reader)
            default: try reader.skip(kind)
            }
        }
    }

    private mutating func readMetadata(_ reader: inout ThriftReader) throws(ThriftReader.Damage) {
        typealias Damage = ThriftReader.Damage
        try reader.structure { (reader, number, kind) throws(Damage) in
            switch (number, kind) {
            case (1, .int32):
                guard let known = ParquetMetadata.PhysicalType(rawValue: try reader.int32()) else { throw Damage() }
                type = known
            case (3, .list):
                try reader.list(of: .binary) { (reader) throws(Damage) in path.append(try reader.text()) }
            case (4, .int32): codec = try reader.int32()
            case (5, .int64): values = try reader.integer()
            case (7, .int64): compressedBytes = try reader.integer()
            case (9, .int64): dataOffset = try reader.integer()
            case (11, .int64): dictionaryOffset = try reader.integer()
            default: try reader.skip(kind)
            }
        }
    }
}

/// What comes before the data of a page.
struct ParquetPageHeader {
    enum Kind: Int32 {
        case data = 0
        case index = 1
        case dictionary = 2
        case dataVersion2 = 3
    }

    var kind = Kind.index
    var uncompressedBytes = 0
    var compressedBytes = 0
    var checksum: UInt32?
    var values = 0
    var encoding: Int32 = 0
    var definitionEncoding: Int32 = 3
    var repetitionEncoding: Int32 = 3
    /// Of version 2, whose levels are not compressed.
    var definitionBytes = 0
    var repetitionBytes = 0
    var isCompressed = true
    /// Where the data begin, behind the header.
    private(set) var length = 0

    private typealias Damage = ThriftReader.Damage

    init(_ bytes: UnsafeRawBufferPointer) throws(ThriftReader.Damage) {
        var reader = ThriftReader(bytes)
        try reader.structure { (reader, number, kind) throws(Damage) in
            switch (number, kind) {
            case (1, .int32):
                guard let known = Kind(rawValue: try reader.int32()) else { throw Damage() }
                self.kind = known
            case (2, .int32): uncompressedBytes = Int(try reader.int32())
            case (3, .int32): compressedBytes = Int(try reader.int32())
            case (4, .int32): checksum = UInt32(bitPattern: try reader.int32())
            case (5, .structure): try readData(&reader)
            case (7, .structure): try readDictionary(&reader)
            case (8, .structure): try readVersion2(&reader)
            default: try reader.skip(kind)
            }
        }
        length = reader.place
        let counts = [uncompressedBytes, compressedBytes, values, definitionBytes, repetitionBytes]
        guard counts.allSatisfy({ $0 >= 0 }) else { throw Damage() }
    }

    private mutating func readData(_ reader: inout ThriftReader) throws(Damage) {
        try reader.structure { (reader, number, kind) throws(Damage) in
            switch (number, kind) {
            case (1, .int32): values = Int(try reader.int32())
            case (2, .int32): encoding = try reader.int32()
            case (3, .int32): definitionEncoding = try reader.int32()
            case (4, .int32): repetitionEncoding = try reader.int32()
            default: try reader.skip(kind)
            }
        }
    }

    private mutating func readDictionary(_ reader: inout ThriftReader) throws(Damage) {
        try reader.structure { (reader, number, kind) throws(Damage) in
            switch (number, kind) {
            case (1, .int32): values = Int(try reader.int32())
            case (2, .int32): encoding = try reader.int32()
            default: try reader.skip(kind)
            }
        }
    }

    private mutating func readVersion2(_ reader: inout ThriftReader) throws(Damage) {
        try reader.structure { (reader, number, kind) throws(Damage) in
            switch (number, kind) {
            case (1, .int32): values = Int(try reader.int32())
            case (4, .int32): encoding = try reader.int32()
            case (5, .int32): definitionBytes = Int(try reader.int32())
            case (6, .int32): repetitionBytes = Int(try reader.int32())
            case (7, .no): isCompressed = false
            default: try reader.skip(kind)
            }
        }
    }
}
