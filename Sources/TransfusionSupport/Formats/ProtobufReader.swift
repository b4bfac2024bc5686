/// The fields of one message in protobuf's encoding, each with its number.
///
/// ### References
/// https://protobuf.dev/programming-guides/encoding/
public struct ProtobufReader {
    public enum Value {
        case integer(UInt64)
        case fixed32(UInt32)
        case bytes(ArraySlice<UInt8>)
    }

    private var rest: ArraySlice<UInt8>
    /// Whether bytes were met that are no field; there are no more after them.
    public private(set) var isDamaged = false

    public init(_ bytes: ArraySlice<UInt8>) {
        rest = bytes
    }

    /// The next field; nil at the end.
    public mutating func next() -> (field: UInt64, value: Value)? {
        guard !rest.isEmpty else { return nil }
        guard let tag = varint(), let value = value(ofType: tag & 7) else {
            isDamaged = true
            return nil
        }
        return (tag >> 3, value)
    }

    private mutating func value(ofType type: UInt64) -> Value? {
        switch type {
        case 0: return varint().map { .integer($0) }
        case 1: return take(8).map { .bytes($0) }
        case 2:
            guard let count = varint(), count <= UInt64(rest.count) else { return nil }
            return take(Int(count)).map { .bytes($0) }
        case 5: return take(4).map { .fixed32($0.reversed().reduce(0) { $0 << 8 | UInt32($1) }) }
        default: return nil
        }
    }

    private mutating func varint() -> UInt64? {
        var value: UInt64 = 0
        for shift in stride(from: 0, to: 64, by: 7) {
            guard let byte = rest.popFirst() else { return nil }
            value |= UInt64(byte & 0x7F) << UInt64(shift)
            if byte < 0x80 { return value }
        }
        return nil
    }

    private mutating func take(_ count: Int) -> ArraySlice<UInt8>? {
        guard count <= rest.count else { return nil }
        defer { rest = rest.dropFirst(count) }
        return rest.prefix(count)
    }
}
