/// The pieces of a SentencePiece model, as far as a description of it names them.
///
/// ### References
/// sentencepiece_model.proto: field 1 of a model is a piece, whose field 1 is its text and field 3 its kind.
struct SentencePieces {
    private var texts: [String] = []
    /// The piece that stands for what no other piece does.
    private(set) var unknown: String?

    private static let unknownKind: UInt64 = 2

    /// Nil when the bytes are no SentencePiece model.
    init?(_ model: [UInt8]) {
        var reader = ProtocolBufferReader(model[...])
        while !reader.isAtEnd {
            guard let field = reader.next() else { return nil }
            guard field.number == 1 else { continue }
            guard case .bytes(let piece) = field.value, let (text, kind) = Self.piece(piece) else { return nil }
            if kind == Self.unknownKind, unknown == nil { unknown = text }
            texts.append(text)
        }
        guard !texts.isEmpty else { return nil }
    }

    /// The text of a piece.
    subscript(id: Int32) -> String? { texts.indices.contains(Int(id)) ? texts[Int(id)] : nil }

    private static func piece(_ bytes: ArraySlice<UInt8>) -> (text: String, kind: UInt64)? {
        var reader = ProtocolBufferReader(bytes), text: String?, kind: UInt64 = 1
        while !reader.isAtEnd {
            guard let field = reader.next() else { return nil }
            switch (field.number, field.value) {
            case (1, .bytes(let bytes)): text = String(validating: bytes, as: UTF8.self)
            case (3, .integer(let value)): kind = value
            default: break
            }
        }
        return text.map { ($0, kind) }
    }
}

/// Reads the fields of a message in the wire format of protocol buffers.
private struct ProtocolBufferReader {
    enum Value {
        case integer(UInt64)
        case bytes(ArraySlice<UInt8>)
    }

    private var rest: ArraySlice<UInt8>

    init(_ bytes: ArraySlice<UInt8>) { rest = bytes }

    var isAtEnd: Bool { rest.isEmpty }

    /// The next field; nil when what follows is none.
    mutating func next() -> (number: UInt64, value: Value)? {
        guard let tag = variable() else { return nil }
        let value: Value? =
            switch tag & 7 {
            case 0: variable().map { .integer($0) }
            case 1: take(8).map { .bytes($0) }
            case 2: variable().flatMap { Int(exactly: $0) }.flatMap { take($0) }.map { .bytes($0) }
            case 5: take(4).map { .bytes($0) }
            default: nil
            }
        return value.map { (tag >> 3, $0) }
    }

    private mutating func take(_ count: Int) -> ArraySlice<UInt8>? {
        guard count <= rest.count else { return nil }
        defer { rest = rest.dropFirst(count) }
        return rest.prefix(count)
    }

    /// Seven bits a byte, lowest first.
    private mutating func variable() -> UInt64? {
        var value: UInt64 = 0
        for shift in stride(from: 0, to: 64, by: 7) {
            guard let byte = rest.popFirst() else { return nil }
            value |= UInt64(byte & 0x7F) << UInt64(shift)
            if byte < 0x80 { return value }
        }
        return nil
    }
}
