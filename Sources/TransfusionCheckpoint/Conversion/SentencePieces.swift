internal import TransfusionSupport

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
        var reader = ProtobufReader(model[...])
        while let (field, value) = reader.next() {
            guard field == 1 else { continue }
            guard case .bytes(let piece) = value, let (text, kind) = Self.piece(piece) else { return nil }
            if kind == Self.unknownKind, unknown == nil { unknown = text }
            texts.append(text)
        }
        guard !texts.isEmpty, !reader.isDamaged else { return nil }
    }

    /// The text of a piece.
    subscript(id: Int32) -> String? { texts.indices.contains(Int(id)) ? texts[Int(id)] : nil }

    private static func piece(_ bytes: ArraySlice<UInt8>) -> (text: String, kind: UInt64)? {
        var reader = ProtobufReader(bytes), text: String?, kind: UInt64 = 1
        while let field = reader.next() {
            switch field {
            case (1, .bytes(let bytes)): text = String(validating: bytes, as: UTF8.self)
            case (3, .integer(let value)): kind = value
            default: break
            }
        }
        return reader.isDamaged ? nil : text.map { ($0, kind) }
    }
}
