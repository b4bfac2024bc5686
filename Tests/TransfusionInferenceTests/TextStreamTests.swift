import Testing

@testable import TransfusionInference

@Suite struct TextStreamTests {
    /// Two bytes each of "é" and four of "🦉" are tokens of their own, as with byte fallback; other tokens are words.
    private static let pieces: [[UInt8]] = [
        Array("a ".utf8), Array("b ".utf8), Array("STOP".utf8), Array("ST".utf8), [0xC3], [0xA9], [0xF0], [0x9F],
        [0xA6],
        [0x89], Array("OPEN".utf8),
    ]

    private static func decode(_ tokens: [Int32]) -> String {
        String(decoding: tokens.flatMap { pieces[Int($0)] }, as: UTF8.self)
    }

    private func added(_ tokens: [Int32], stops: [String] = [], after prompt: [Int32] = []) throws -> [String] {
        var stream = TextStream(after: prompt, stops: stops, decode: Self.decode)
        return try tokens.map { try stream.add($0) }
    }

    @Test func textComesAsSoonAsItIsCertain() throws {
        #expect(try added([0, 1, 0], after: [1]) == ["a ", "b ", "a "])
        #expect(try added([0, 4, 5, 1]) == ["a ", "", "é", "b "])
        #expect(try added([6, 7, 8, 9, 0]) == ["", "", "", "🦉", "a "])
        // Bytes of a character that never ends do not hold back the rest.
        #expect(try added([4, 0]) == ["", "\u{FFFD}a "])
    }

    @Test func whatMayBecomeAStopTextWaits() throws {
        #expect(try added([0, 3, 1], stops: ["STOP"]) == ["a ", "", "STb "])
        #expect(try added([3, 10], stops: ["STOP"]) == ["", ""])
        #expect(try added([3], stops: ["S", "STOP"]) == [""])
        #expect(try added([0, 1], stops: [" b"]) == ["a", ""])
    }

    @Test(arguments: [[0, 2, 1], [0, 3, 10, 1]] as [[Int32]]) func aStopTextEndsTheText(_ tokens: [Int32]) throws {
        var stream = TextStream(after: [], stops: ["STOP", "b b"], decode: Self.decode)
        var text = ""
        for token in tokens where !stream.isStopped { text += try stream.add(token) }
        #expect(stream.isStopped && text == "a ")
        #expect(TextStream.cut(Self.decode(tokens), before: ["b ", "STOP"]) == "a ")
        #expect(TextStream.cut("a b", before: ["c"]) == "a b")
    }
}
