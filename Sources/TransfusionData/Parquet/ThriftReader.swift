/// Thrift's compact protocol, in which Parquet writes its metadata.
///
/// ### References
/// apache/thrift, doc/specs/thrift-compact-protocol.md
struct ThriftReader {
    struct Damage: Error {}

    /// A value as a field or an element of a list has it.
    enum Kind: UInt8 {
        case yes = 1
        case no = 2
        case byte = 3
        case int16 = 4
        case int32 = 5
        case int64 = 6
        case double = 7
        case binary = 8
        case list = 9
        case set = 10
        case map = 11
        case structure = 12
    }

    private static let deepest = 32

    private let bytes: UnsafeRawBufferPointer
    private(set) var place = 0
    private var depth = 0

    /// - Parameter bytes: Must stay valid as long as the reader is used.
    init(_ bytes: UnsafeRawBufferPointer) {
        self.bytes = bytes
    }

    private mutating func byte() throws(Damage) -> UInt8 {
        guard place < bytes.count else { throw Damage() }
        defer { place += 1 }
        return bytes[place]
    }

    private mutating func unsigned() throws(Damage) -> UInt64 {
        var value: UInt64 = 0
        for shift in stride(from: UInt64(0), to: 64, by: 7) {
            let byte = try byte()
            value |= UInt64(byte & 0x7F) << shift
            if byte < 0x80 { return value }
        }
        throw Damage()
    }

    private mutating func count() throws(Damage) -> Int {
        let count = try unsigned()
        // Whatever is counted takes a byte at least, but for what a list of flags holds, and that too in this protocol.
        guard count <= UInt64(bytes.count - place) else { throw Damage() }
        return Int(count)
    }

    /// An integer of any size.
    mutating func integer() throws(Damage) -> Int {
        let value = try unsigned()
        return Int(bitPattern: UInt(value >> 1)) ^ -Int(value & 1)
    }

    mutating func int32() throws(Damage) -> Int32 {
        guard let value = Int32(exactly: try integer()) else { throw Damage() }
        return value
    }

    mutating func text() throws(Damage) -> String {
        let count = try count()
        defer { place += count }
        guard let text = String(validating: bytes[place..<place + count], as: UTF8.self) else { throw Damage() }
        return text
    }

    /// Gives each field with the kind of its value, which `field` reads or skips.
    mutating func structure(
        _ field: (inout ThriftReader, _ number: Int, _ kind: Kind) throws(Damage) -> Void
    ) throws(Damage) {
        guard depth < Self.deepest else { throw Damage() }
        depth += 1
        defer { depth -= 1 }
        var number = 0
        while true {
            let header = try byte()
            if header == 0 { return }
            guard let kind = Kind(rawValue: header & 15) else { throw Damage() }
            number = header >> 4 == 0 ? try integer() : number + Int(header >> 4)
            guard (0...Int(Int16.max)).contains(number) else { throw Damage() }
            try field(&self, number, kind)
        }
    }

    /// Stands at each element of a list of `kind`, which `element` reads.
    mutating func list(of wanted: Kind, _ element: (inout ThriftReader) throws(Damage) -> Void) throws(Damage) {
        let (count, kind) = try listHeader()
        guard kind == wanted || count == 0 else { throw Damage() }
        for _ in 0..<count { try element(&self) }
    }

    private mutating func listHeader() throws(Damage) -> (count: Int, kind: Kind?) {
        let header = try byte()
        let count = header >> 4 == 15 ? try count() : Int(header >> 4)
        return (count, Kind(rawValue: header & 15))
    }

    mutating func skip(_ kind: Kind) throws(Damage) {
        switch kind {
        case .yes, .no: break
        case .byte: _ = try byte()
        case .int16, .int32, .int64: _ = try unsigned()
        case .double: for _ in 0..<8 { _ = try byte() }
        case .binary: place += try count()
        case .structure:
            try structure { (reader, _, kind) throws(Damage) in try reader.skip(kind) }
        case .list, .set:
            let (count, kind) = try listHeader()
            guard let kind else { throw Damage() }
            try skipElements(count, [kind])
        case .map:
            let count = try count()
            guard count > 0 else { return }
            let kinds = try byte()
            guard let key = Kind(rawValue: kinds >> 4), let value = Kind(rawValue: kinds & 15) else { throw Damage() }
            try skipElements(count, [key, value])
        }
    }

    private mutating func skipElements(_ count: Int, _ kinds: [Kind]) throws(Damage) {
        guard depth < Self.deepest else { throw Damage() }
        depth += 1
        defer { depth -= 1 }
        for _ in 0..<count {
            for kind in kinds {
                // In lists and maps a flag is a byte.
                if kind == .yes || kind == .no { _ = try byte() } else { try skip(kind) }
            }
        }
    }
}
