/// Numbers of some bits in runs of equal ones and in packed groups of eight: levels, and indices of a dictionary.
struct ParquetRunDecoder {
    typealias Damage = ThriftReader.Damage

    private let bytes: ArraySlice<UInt8>
    private let width: Int
    private var place: Int
    /// How many values of a run are left, and what they are.
    private var equal = 0
    private var value = 0
    /// How many packed values are left, and where the next one begins.
    private var packed = 0
    private var bit = 0

    /// - Parameter width: Bits of a number, at most 32.
    init(_ bytes: ArraySlice<UInt8>, width: Int) throws(Damage) {
        guard (0...32).contains(width) else { throw Damage() }
        self.bytes = bytes
        self.width = width
        place = bytes.startIndex
    }

    mutating func next() throws(Damage) -> Int {
        if width == 0 { return 0 }
        while equal == 0, packed == 0 { try readHeader() }
        if equal > 0 {
            equal -= 1
            return value
        }
        packed -= 1
        var result = 0
        var taken = 0
        while taken < width {
            let byte = place + bit >> 3
            guard byte < bytes.endIndex else { throw Damage() }
            let count = min(8 - bit & 7, width - taken)
            result |= (Int(bytes[byte]) >> (bit & 7) & (1 << count - 1)) << taken
            taken += count
            bit += count
        }
        if packed == 0 { place += (bit + 7) >> 3 }
        return result
    }

    private mutating func readHeader() throws(Damage) {
        let header = try bytes.unsigned(at: &place)
        guard header >> 1 <= UInt64(Int32.max) else { throw Damage() }
        let count = Int(header >> 1)
        if header & 1 == 1 {
            packed = count * 8
            bit = 0
            return
        }
        equal = count
        value = 0
        for shift in 0..<(width + 7) / 8 {
            guard place < bytes.endIndex else { throw Damage() }
            value |= Int(bytes[place]) << (8 * shift)
            place += 1
        }
    }
}

extension ArraySlice<UInt8> {
    /// An unsigned number, seven bits a byte.
    fileprivate func unsigned(at place: inout Int) throws(ThriftReader.Damage) -> UInt64 {
        var value: UInt64 = 0
        for shift in stride(from: UInt64(0), to: 64, by: 7) {
            guard place < endIndex else { break }
            let byte = self[place]
            place += 1
            value |= UInt64(byte & 0x7F) << shift
            if byte < 0x80 { return value }
        }
        throw .init()
    }

    /// A little-endian number.
    fileprivate func fixed<Integer: FixedWidthInteger>(
        at place: inout Int, as type: Integer.Type = Integer.self
    ) throws(ThriftReader.Damage) -> Integer {
        let count = MemoryLayout<Integer>.size
        guard count <= endIndex - place else { throw .init() }
        defer { place += count }
        return withUnsafeBytes {
            Integer(littleEndian: $0.loadUnaligned(fromByteOffset: place - startIndex, as: Integer.self))
        }
    }
}

/// Whole numbers as packed differences.
struct ParquetDeltaDecoder {
    typealias Damage = ThriftReader.Damage

    private static let largestBlock = 1 << 20

    private let bytes: ArraySlice<UInt8>
    private(set) var place: Int
    private let valuesPerMiniblock: Int
    private let miniblocks: Int
    /// How many values there are still.
    private(set) var left: Int
    private var value: Int64
    private var isFirst = true
    private var smallest: Int64 = 0
    private var widths: ArraySlice<UInt8> = []
    private var leftInMiniblock = 0
    private var width = 0
    private var bit = 0

    init(_ bytes: ArraySlice<UInt8>) throws(Damage) {
        self.bytes = bytes
        place = bytes.startIndex
        let block = try bytes.unsigned(at: &place)
        let miniblocks = try bytes.unsigned(at: &place)
        let count = try bytes.unsigned(at: &place)
        let first = try bytes.unsigned(at: &place)
        guard block > 0, block <= Self.largestBlock, miniblocks > 0, miniblocks <= block, block % miniblocks == 0,
            (block / miniblocks) % 8 == 0, count <= UInt64(Int32.max)
        else { throw Damage() }
        self.miniblocks = Int(miniblocks)
        valuesPerMiniblock = Int(block / miniblocks)
        left = Int(count)
        value = Int64(bitPattern: first >> 1) ^ -Int64(bitPattern: first & 1)
    }

    mutating func next() throws(Damage) -> Int64 {
        guard left > 0 else { throw Damage() }
        left -= 1
        if isFirst {
            isFirst = false
            return value
        }
        if leftInMiniblock == 0 { try enterMiniblock() }
        leftInMiniblock -= 1
        value = value &+ smallest &+ Int64(bitPattern: try packed())
        return value
    }

    private mutating func enterMiniblock() throws(Damage) {
        place += bit >> 3
        bit = 0
        if widths.isEmpty {
            let first = try bytes.unsigned(at: &place)
            smallest = Int64(bitPattern: first >> 1) ^ -Int64(bitPattern: first & 1)
            guard miniblocks <= bytes.endIndex - place else { throw Damage() }
            widths = bytes[place..<place + miniblocks]
            place += miniblocks
        }
        width = Int(widths.removeFirst())
        guard width <= 64 else { throw Damage() }
        leftInMiniblock = valuesPerMiniblock
    }

    private mutating func packed() throws(Damage) -> UInt64 {
        var result: UInt64 = 0
        var taken = 0
        while taken < width {
            let byte = place + bit >> 3
            guard byte < bytes.endIndex else { throw Damage() }
            let count = min(8 - bit & 7, width - taken)
            result |= (UInt64(bytes[byte]) >> UInt64(bit & 7) & (1 << UInt64(count) - 1)) << UInt64(taken)
            taken += count
            bit += count
        }
        return result
    }

    /// What lies behind all of it; a miniblock that was begun is there as a whole.
    func rest() throws(Damage) -> ArraySlice<UInt8> {
        var walker = self
        while walker.left > 0 { _ = try walker.next() }
        let end = walker.place + (walker.bit + walker.leftInMiniblock * walker.width) >> 3
        guard end <= bytes.endIndex else { throw Damage() }
        return bytes[end...]
    }
}

/// The values of a page in one of the encodings.
enum ParquetValueDecoder {
    typealias Damage = ThriftReader.Damage

    case plain(ArraySlice<UInt8>, place: Int, bit: Int)
    case dictionary([ParquetValue], ParquetRunDecoder)
    case flags(ParquetRunDecoder)
    case delta(ParquetDeltaDecoder)
    case deltaLengths(ParquetDeltaDecoder, ArraySlice<UInt8>)
    case deltaTexts(prefixes: ParquetDeltaDecoder, lengths: ParquetDeltaDecoder, ArraySlice<UInt8>, last: [UInt8])

    static let names: [Int32: String] = [
        0: "PLAIN", 2: "PLAIN_DICTIONARY", 3: "RLE", 4: "BIT_PACKED", 5: "DELTA_BINARY_PACKED",
        6: "DELTA_LENGTH_BYTE_ARRAY", 7: "DELTA_BYTE_ARRAY", 8: "RLE_DICTIONARY", 9: "BYTE_STREAM_SPLIT",
    ]

    /// - Returns: nil for an encoding that is not read, or not for this type.
    init?(
        _ encoding: Int32, _ bytes: ArraySlice<UInt8>, _ type: ParquetMetadata.PhysicalType,
        _ dictionary: [ParquetValue]?
    ) throws(Damage) {
        switch (encoding, type) {
        case (0, _): self = .plain(bytes, place: bytes.startIndex, bit: 0)
        case (2, _), (8, _):
            guard let dictionary else { throw Damage() }
            // A page without a value may have no byte at all.
            let width = Int(bytes.first ?? 0)
            self = .dictionary(dictionary, try ParquetRunDecoder(bytes.dropFirst(), width: width))
        case (3, .boolean):
            var place = bytes.startIndex
            let count = Int(try bytes.fixed(at: &place, as: UInt32.self))
            guard count <= bytes.endIndex - place else { throw Damage() }
            self = .flags(try ParquetRunDecoder(bytes[place..<place + count], width: 1))
        case (5, .int32), (5, .int64): self = .delta(try ParquetDeltaDecoder(bytes))
        case (6, .byteArray):
            let lengths = try ParquetDeltaDecoder(bytes)
            self = .deltaLengths(lengths, try lengths.rest())
        case (7, .byteArray), (7, .fixedLengthByteArray):
            let prefixes = try ParquetDeltaDecoder(bytes)
            let lengths = try ParquetDeltaDecoder(try prefixes.rest())
            self = .deltaTexts(prefixes: prefixes, lengths: lengths, try lengths.rest(), last: [])
        default: return nil
        }
    }

    mutating func next(_ leaf: ParquetLeaf) throws(Damage) -> ParquetValue {
        switch self {
        case .plain(let bytes, var place, var bit):
            let value = try Self.plain(bytes, &place, &bit, leaf)
            self = .plain(bytes, place: place, bit: bit)
            return value
        case .dictionary(let values, var indices):
            let index = try indices.next()
            self = .dictionary(values, indices)
            guard index < values.count else { throw Damage() }
            return values[index]
        case .flags(var runs):
            let value = try runs.next()
            self = .flags(runs)
            return .flag(value != 0)
        case .delta(var numbers):
            let value = try numbers.next()
            self = .delta(numbers)
            return .integer(leaf.type == .int32 ? Int64(Int32(truncatingIfNeeded: value)) : value)
        case .deltaLengths(var lengths, var rest):
            let value = try Self.take(&lengths, &rest)
            self = .deltaLengths(lengths, rest)
            return .bytes(value)
        case .deltaTexts(var prefixes, var lengths, var rest, let last):
            let prefix = try prefixes.next()
            let suffix = try Self.take(&lengths, &rest)
            guard prefix >= 0, prefix <= Int64(last.count) else { throw Damage() }
            let value = last.prefix(Int(prefix)) + suffix
            self = .deltaTexts(prefixes: prefixes, lengths: lengths, rest, last: Array(value))
            return .bytes(value)
        }
    }

    private static func take(
        _ lengths: inout ParquetDeltaDecoder, _ rest: inout ArraySlice<UInt8>
    ) throws(Damage) -> ArraySlice<UInt8> {
        let length = try lengths.next()
        guard length >= 0, length <= Int64(rest.count) else { throw Damage() }
        defer { rest = rest.dropFirst(Int(length)) }
        return rest.prefix(Int(length))
    }

    private static func plain(
        _ bytes: ArraySlice<UInt8>, _ place: inout Int, _ bit: inout Int, _ leaf: ParquetLeaf
    ) throws(Damage) -> ParquetValue {
        switch leaf.type {
        case .boolean:
            guard place < bytes.endIndex else { throw Damage() }
            let value = bytes[place] >> UInt8(bit) & 1
            bit = (bit + 1) & 7
            if bit == 0 { place += 1 }
            return .flag(value != 0)
        case .int32: return .integer(Int64(try bytes.fixed(at: &place, as: Int32.self)))
        case .int64: return .integer(try bytes.fixed(at: &place, as: Int64.self))
        case .float: return .number(Double(Float(bitPattern: try bytes.fixed(at: &place))))
        case .double: return .number(Double(bitPattern: try bytes.fixed(at: &place)))
        case .byteArray:
            let count = Int(try bytes.fixed(at: &place, as: UInt32.self))
            guard count <= bytes.endIndex - place else { throw Damage() }
            defer { place += count }
            return .bytes(bytes[place..<place + count])
        case .fixedLengthByteArray:
            guard leaf.typeLength > 0, leaf.typeLength <= bytes.endIndex - place else { throw Damage() }
            defer { place += leaf.typeLength }
            return .bytes(bytes[place..<place + leaf.typeLength])
        case .int96: throw Damage()
        }
    }
}
