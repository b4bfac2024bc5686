import Foundation
import Testing

@testable import TransfusionData

@Suite struct TokenizerTests {
    struct Vector: Decodable, Sendable, CustomTestStringConvertible {
        let text: String
        let ids: [Int32]
        let decoded: String
        var testDescription: String { text.debugDescription }
    }

    static let fixtures = URL(filePath: #filePath).deletingLastPathComponent()
        .appending(path: "../Fixtures/tokenizer").standardizedFileURL.path
    static let vectors: [Vector] = {
        guard let data = FileManager.default.contents(atPath: fixtures + "/vectors.json") else { return [] }
        return (try? JSONDecoder().decode([Vector].self, from: data)) ?? []
    }()

    let tokenizer: Tokenizer

    init() throws {
        tokenizer = try Tokenizer(path: Self.fixtures + "/small.model")
    }

    @Test func fixturesAreThere() {
        #expect(Self.vectors.count == 21)
    }

    @Test(arguments: vectors) func agreesWithTheReference(_ vector: Vector) throws {
        #expect(try tokenizer.encode(vector.text) == vector.ids)
        #expect(try tokenizer.decode(vector.ids) == vector.decoded)
    }

    @Test func imageMarkersFollowThePieces() throws {
        #expect(tokenizer.vocabulary == 402)
        #expect([tokenizer.beginOfText, tokenizer.endOfText] == [1, 2])
        #expect([tokenizer.beginOfImage, tokenizer.endOfImage] == [400, 401])
        #expect(tokenizer.piece(400) == "<boi>")
        #expect(tokenizer.piece(402) == nil)
    }

    @Test func specialTokensAreParsedOnlyOnDemand() throws {
        let text = "<s>red<boi><eoi></s>"
        #expect(try !tokenizer.encode(text).contains { tokenizer.isSpecial($0) })
        #expect(try tokenizer.encode(text, parseSpecials: true) == [1] + tokenizer.encode("red") + [400, 401, 2])
        #expect(try tokenizer.encode("</s>", parseSpecials: true) == [2])
        #expect(try tokenizer.decode([1] + tokenizer.encode("red circle") + [400, 401, 2]) == "red circle")
    }

    @Test func idsOutsideTheVocabularyAreRefused() {
        for id: Int32 in [-1, 402, .max] {
            #expect(throws: DataError.self) { try tokenizer.decode([5, id]) }
        }
    }

    @Test func whatIsNoModelIsRefusedByName() throws {
        for bytes in [[], [0xFF, 0xFF, 0xFF], Array(tokenizer.contents.prefix(tokenizer.contents.count / 2))]
            as [[UInt8]]
        {
            #expect {
                try Tokenizer(contents: bytes, name: "some.model")
            } throws: { "\($0)".hasPrefix("some.model: ") }
        }
        for (contents, problem) in [
            ("{\"version\": \"1.0\"}", "is no tokenizer.json: it has no \"model\""),
            ("\u{8}\u{8}", "is neither a SentencePiece model"), ("", "is empty; a SentencePiece model"),
        ] {
            #expect {
                try Tokenizer(contents: Array(contents.utf8), name: "some.model")
            } throws: { "\($0)".hasPrefix("some.model: \(problem)") }
        }
        #expect { try Tokenizer(path: "/nowhere.model") } throws: { "\($0)".hasPrefix("/nowhere.model: ") }
    }
}
