import Testing
import TransfusionCore
import _TestUtilities

@testable import TransfusionData

/// The own encoder against libsentencepiece.
@Suite struct SentencePieceBPETests {
    /// Draws that are the same each time.
    struct Draws {
        private let random: Philox
        private var position = 0

        init(seed: UInt64) {
            random = Philox(seed: seed, purpose: .order)
        }

        mutating func below(_ bound: Int) -> Int {
            defer { position += 1 }
            return random.integer(below: bound, at: position)
        }

        mutating func text(of parts: [String], upTo count: Int) -> String {
            (0..<below(count + 1)).map { _ in parts[below(parts.count)] }.joined()
        }
    }

    static let parts = [
        "a", "b", "c", "ab", "the ", " of", "circle", "é", "中", "中文", "🔴", "🏳️‍🌈", " ", "  ", "\u{2581}", "\u{2585}", "\n",
        "\r\n", "\t", "\0",
        "<s>", "<0x41>", "1", "2024", "\u{301}", "\u{FEFF}", "\u{10FFFF}", "\u{FFFD}", "zzz", "=",
    ]

    func sentencePieces(_ tokenizer: Tokenizer) throws -> SentencePieceTokenizer {
        try #require(tokenizer.model as? SentencePieceTokenizer)
    }

    func expectAgreement(_ tokenizer: Tokenizer, on texts: [String]) throws {
        let library = try sentencePieces(tokenizer)
        for text in texts {
            let ids = try tokenizer.encode(text)
            let expected = try Array(text.utf8).withUnsafeBufferPointer { try library.encodeByLibrary($0) }
            if ids != expected { Issue.record("\(text.debugDescription): \(ids) instead of \(expected)") }
        }
    }

    @Test func agreesOnATrainedModel() throws {
        let tokenizer = try Tokenizer(path: Fixtures.path("tokenizer/small.model"))
        #expect(try sentencePieces(tokenizer).encodesByItself)
        var draws = Draws(seed: 1)
        try expectAgreement(tokenizer, on: (0..<5000).map { _ in draws.text(of: Self.parts, upTo: 30) })
        let long = [
            String(repeating: "=", count: 100_000), String(repeating: " ", count: 50_000),
            String(repeating: "abc中", count: 20_000), draws.text(of: Self.parts, upTo: 50_000),
        ]
        try expectAgreement(tokenizer, on: long)
        for text in long {
            let decoded = try tokenizer.decode(tokenizer.encode(text))
            let spaced = text.unicodeScalars.map { $0 == "\u{2581}" ? " " : $0 }
            #expect(Array(decoded.unicodeScalars) == spaced)
        }
    }

    /// Pieces that no training makes: parts missing, equal scores, characters that only occur in longer pieces.
    @Test(arguments: 0..<20) func agreesOnRandomVocabularies(_ seed: Int) throws {
        var draws = Draws(seed: UInt64(100 + seed))
        let letters = ["a", "b", "c", "é", "中"]
        var texts: Set<String> = seed % 2 == 0 ? ["\u{2581}"] : []
        for _ in 0..<60 {
            let spaces = String(repeating: "\u{2581}", count: draws.below(3))
            // In a quarter of the vocabularies spaces stand inside pieces, too.
            texts.insert(spaces + draws.text(of: seed % 4 == 3 ? letters + ["\u{2581}"] : letters, upTo: 4))
        }
        texts.remove("")
        let pieces = texts.sorted().map { ModelBytes.Piece(text: $0, score: -Float(draws.below(20))) }
        let tokenizer = try Tokenizer(contents: ModelBytes(pieces).bytes, name: "random")
        #expect(try sentencePieces(tokenizer).encodesByItself)
        let parts = letters + [" ", "  ", "d", "\u{2581}"]
        try expectAgreement(tokenizer, on: (0..<500).map { _ in draws.text(of: parts, upTo: 60) })
        try expectAgreement(tokenizer, on: [draws.text(of: letters, upTo: 5000)])
    }

    /// A merge may go over the beginning of a word, which is no place to cut then.
    @Test func piecesMayHoldSpaces() throws {
        let pieces = ["a", "b", "\u{2581}", "\u{2581}b", "a\u{2581}b"].map { ModelBytes.Piece(text: $0, score: 0) }
        let tokenizer = try Tokenizer(contents: ModelBytes(pieces).bytes, name: "spaces")
        #expect(try sentencePieces(tokenizer).encodesByItself)
        try expectAgreement(tokenizer, on: ["a ab", "a b", "ba bab a  b a"])
        #expect(try tokenizer.encode("a b").count == 2)
    }

    @Test func whatItCannotDoIsLeftToTheLibrary() throws {
        let piece = ModelBytes.Piece(text: "a", score: 0)
        #expect(try SentencePieceTokenizer(model: ModelBytes([piece]).bytes, name: "plain").encodesByItself)
        let others = [
            ModelBytes([piece, .init(text: "b", score: 0, kind: 4)]),
            ModelBytes([piece, .init(text: "b", score: 0, kind: 5)]), ModelBytes([piece], isBPE: false),
            ModelBytes([piece], removesExtraSpaces: true), ModelBytes([piece], hasBytes: false),
        ]
        for model in others {
            let tokenizer = try Tokenizer(contents: model.bytes, name: "other")
            #expect(try !sentencePieces(tokenizer).encodesByItself)
            try expectAgreement(tokenizer, on: ["a ab"])
        }
    }

    /// Many threads at once, with a cache each.
    @Test func encodesOnManyThreads() async throws {
        let tokenizer = try Tokenizer(path: Fixtures.path("tokenizer/small.model"))
        try await withThrowingTaskGroup(of: Void.self) { group in
            for seed in 0..<8 {
                group.addTask {
                    var draws = Draws(seed: UInt64(seed))
                    try self.expectAgreement(tokenizer, on: (0..<300).map { _ in draws.text(of: Self.parts, upTo: 20) })
                }
            }
            try await group.waitForAll()
        }
    }
}

/// Writes a SentencePiece `.model` with `<unk>`, `<s>`, `</s>`, the bytes and some pieces.
struct ModelBytes {
    struct Piece {
        var text: String
        var score: Float
        var kind: UInt8 = 1
    }

    private(set) var bytes: [UInt8] = []

    init(_ pieces: [Piece], isBPE: Bool = true, removesExtraSpaces: Bool = false, hasBytes: Bool = true) {
        var all = [Piece(text: "<unk>", score: 0, kind: 2)]
        all += ["<s>", "</s>"].map { Piece(text: $0, score: 0, kind: 3) }
        if hasBytes {
            all += (0..<256).map { byte in
                let digits = String(byte, radix: 16, uppercase: true)
                return Piece(text: "<0x\(digits.count == 1 ? "0" : "")\(digits)>", score: 0, kind: 6)
            }
        }
        for piece in all + pieces {
            var message = Self.field(1, Array(piece.text.utf8)) + [0x15]
            withUnsafeBytes(of: piece.score.bitPattern.littleEndian) { message += $0 }
            bytes += Self.field(1, message + [0x18, piece.kind])
        }
        // The kind of model, and field 35: the fall-back to bytes.
        bytes += Self.field(2, [0x18, isBPE ? 2 : 1, 0x98, 0x02, hasBytes ? 1 : 0])
        bytes += Self.field(3, [0x18, 1, 0x20, removesExtraSpaces ? 1 : 0, 0x28, 1])
    }

    private static func field(_ number: UInt8, _ content: [UInt8]) -> [UInt8] {
        precondition(content.count < 128)
        return [number << 3 | 2, UInt8(content.count)] + content
    }
}
