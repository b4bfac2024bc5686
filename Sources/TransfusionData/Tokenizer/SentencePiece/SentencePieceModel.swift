internal import TransfusionSupport

/// What a SentencePiece `.model` file says: the fields that decide how text is encoded.
///
/// ### References
/// google/sentencepiece, src/sentencepiece_model.proto
struct SentencePieceModel {
    enum PieceKind: UInt64 {
        case normal = 1
        case unknown = 2
        case control = 3
        case userDefined = 4
        case unused = 5
        case byte = 6
    }

    struct Piece {
        var text: ArraySlice<UInt8> = []
        var score: Float = 0
        var kind = PieceKind.normal
    }

    private(set) var pieces: [Piece] = []
    private(set) var isBPE = false
    private(set) var fallsBackToBytes = false
    private(set) var putsSpacesBehindWords = false
    private(set) var putsSpaceBeforeText = true
    private(set) var removesExtraSpaces = true
    private(set) var escapesSpaces = true
    private(set) var normalizes = false

    /// - Returns: nil when the bytes are no such file.
    init?(_ bytes: [UInt8]) {
        var reader = ProtobufReader(bytes[...])
        while let (field, value) = reader.next() {
            guard case .bytes(let message) = value else { continue }
            let isRead =
                switch field {
                case 1: readPiece(message)
                case 2: readTrainerSettings(message)
                case 3: readNormalizer(message)
                default: true
                }
            guard isRead else { return nil }
        }
        guard !reader.isDamaged else { return nil }
    }

    private mutating func readPiece(_ message: ArraySlice<UInt8>) -> Bool {
        var piece = Piece()
        var reader = ProtobufReader(message)
        while let (field, value) = reader.next() {
            switch (field, value) {
            case (1, .bytes(let text)): piece.text = text
            case (2, .fixed32(let bits)): piece.score = Float(bitPattern: bits)
            case (3, .integer(let kind)):
                guard let kind = PieceKind(rawValue: kind) else { return false }
                piece.kind = kind
            default: break
            }
        }
        pieces.append(piece)
        return !reader.isDamaged
    }

    private mutating func readTrainerSettings(_ message: ArraySlice<UInt8>) -> Bool {
        var reader = ProtobufReader(message)
        while let (field, value) = reader.next() {
            switch (field, value) {
            case (3, .integer(let type)): isBPE = type == 2
            case (24, .integer(let flag)): putsSpacesBehindWords = flag != 0
            case (35, .integer(let flag)): fallsBackToBytes = flag != 0
            default: break
            }
        }
        return !reader.isDamaged
    }

    private mutating func readNormalizer(_ message: ArraySlice<UInt8>) -> Bool {
        var reader = ProtobufReader(message)
        while let (field, value) = reader.next() {
            switch (field, value) {
            case (2, .bytes(let map)): normalizes = !map.isEmpty
            case (3, .integer(let flag)): putsSpaceBeforeText = flag != 0
            case (4, .integer(let flag)): removesExtraSpaces = flag != 0
            case (5, .integer(let flag)): escapesSpaces = flag != 0
            default: break
            }
        }
        return !reader.isDamaged
    }
}
