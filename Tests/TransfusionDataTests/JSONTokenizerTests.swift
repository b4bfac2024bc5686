import Foundation
import Testing
import TransfusionCore
import _TestUtilities

@testable import TransfusionData

/// Every form of `tokenizer.json` that is read, against the library `tokenizers` (Tests/Fixtures/tokenizers_json.py).
@Suite struct JSONTokenizerTests {
    struct Form: Decodable, Sendable, CustomTestStringConvertible {
        struct Case: Decodable, Sendable {
            let text: String
            let ids: [Int32]
            let decoded: String
            /// With special tokens read, where that makes a difference.
            let parsed: [Int32]?
        }

        /// Ids in an order that no text has.
        struct Odd: Decodable, Sendable {
            let ids: [Int32]
            let decoded: String
        }

        let name: String
        let tokenizer: String
        let cases: [Case]
        let odd: [Odd]

        var testDescription: String { name }
    }

    static let forms: [Form] = {
        guard let data = FileManager.default.contents(atPath: Fixtures.path("tokenizers_json.json")) else { return [] }
        return (try? JSONDecoder().decode([Form].self, from: data)) ?? []
    }()

    static func tokenizer(_ name: String) throws -> Tokenizer {
        let form = try #require(forms.first { $0.name == name })
        return try Tokenizer(contents: Array(form.tokenizer.utf8), name: name)
    }

    @Test func fixturesAreThere() {
        #expect(Self.forms.count == 12)
        #expect(Self.forms.allSatisfy { $0.cases.count > 80 && $0.odd.count == 25 })
    }

    @Test(arguments: forms) func agreesWithTheReference(_ form: Form) throws {
        let tokenizer = try Tokenizer(contents: Array(form.tokenizer.utf8), name: form.name)
        // Twice, so that the second time words come from memory. Strings are compared byte by byte.
        for vector in form.cases + form.cases {
            let ids = try tokenizer.encode(vector.text)
            #expect(ids == vector.ids, "\(vector.text.debugDescription)")
            let parsed = try tokenizer.encode(vector.text, parseSpecials: true)
            #expect(parsed == vector.parsed ?? vector.ids, "\(vector.text.debugDescription)")
            let decoded = try tokenizer.decode(vector.ids)
            #expect(Array(decoded.utf8) == Array(vector.decoded.utf8), "\(vector.text.debugDescription)")
        }
        for vector in form.odd {
            #expect(try Array(tokenizer.decode(vector.ids).utf8) == Array(vector.decoded.utf8), "\(vector.ids)")
        }
    }

    /// A syllable and its final consonant become one, as in any other text that NFC composes.
    @Test func hangulIsComposed() throws {
        for syllable: UInt32 in 0xAC00...0xD7A3 where (syllable - 0xAC00) % 28 != 0 {
            let final = (syllable - 0xAC00) % 28
            let parts = try [syllable - final, 0x11A7 + final].map { try #require(Unicode.Scalar($0)) }
            let text = String(String.UnicodeScalarView(parts)).canonicallyComposed
            #expect(text.unicodeScalars.map(\.value) == [syllable])
        }
        let tokenizer = try Self.tokenizer("qwen2")
        #expect(
            try tokenizer.encode("a\u{B6B8}\u{11BB}\u{11BB} e\u{301}") == tokenizer.encode("a\u{B6CC}\u{11BB} \u{E9}"))
        #expect(try tokenizer.encode("\u{B6CC}\u{11BB}") != tokenizer.encode("\u{B6CC}"))
    }

    /// Text that is told to be composed by its characters is: each of them stays what it is alone, begins nothing and joins
    /// nothing, so that Foundation's composition leaves any text of them.
    @Test func textThatIsTakenForComposedIs() throws {
        func isComposed(_ text: String) -> Bool { Array(text.utf8).withUnsafeBufferPointer(String.isComposed) }
        let stable = (0...0x10FFFF).compactMap { Unicode.Scalar($0 as UInt32) }.filter { isComposed(String($0)) }
        #expect(stable.count > 40_000)
        var generator = SystemRandomNumberGenerator()
        for scalar in stable {
            #expect(scalar.value < 0x300 || scalar.properties.canonicalCombiningClass == .notReordered)
            let others = try (0..<6).map { _ in try #require(stable.randomElement(using: &generator)) }
            let text = String(String.UnicodeScalarView([scalar] + others.prefix(3) + ["e", scalar] + others.suffix(3)))
            #expect(Array(text.canonicallyComposed.utf8) == Array(text.utf8), "\(text.debugDescription)")
        }
        // What composes with the character before it is none of them, wherever it stands.
        let composing = [
            "e\u{301}", "\u{4E00}\u{301}", "\u{3042}\u{3099}", "\u{AC00}\u{11A8}", "\u{1100}\u{1161}", "\u{212B}",
        ]
        for text in composing {
            #expect(!isComposed(text) && !isComposed("a" + text + "b"), "\(text.debugDescription)")
        }
    }

    /// StarCoder's vocabulary lacks the byte 0xF1, which begins no character that there is.
    @Test func aByteOfNoCharacterMayHaveNoToken() throws {
        let form = try #require(Self.forms.first { $0.name == "gpt2" })
        let whole = try Self.tokenizer("gpt2")
        func without(_ letter: String) throws -> Tokenizer {
            let entry = try #require(form.tokenizer.firstRange(of: try Regex("\"\(letter)\":[0-9]+,")))
            return try Tokenizer(
                contents: Array(form.tokenizer.replacingCharacters(in: entry, with: "").utf8), name: "t")
        }
        let ids = try whole.encode("a \u{50000}b")
        let missing = try #require(ids.first { whole.piece($0) == "\u{F1}" })
        #expect(try without("\u{F1}").encode("a \u{50000}b") == ids.filter { $0 != missing })
        #expect { try without("\u{F0}") } throws: { "\($0)".contains("has no token for the byte <0xF0>") }
    }

    /// BOS, EOS, BOI and EOI: by the template, by name, reserved, meant for images, or new.
    @Test(arguments: [
        ("gpt2", ["<|endoftext|>", "<|endoftext|>", "<boi>", "<eoi>"], 2),
        (
            "llama3",
            [
                "<|begin_of_text|>", "<|end_of_text|>", "<|reserved_special_token_0|>",
                "<|reserved_special_token_1|>",
            ], 0
        ),
        ("qwen2", ["<|endoftext|>", "<|endoftext|>", "<|vision_start|>", "<|vision_end|>"], 0),
        ("tekken", ["<s>", "</s>", "<boi>", "<eoi>"], 2), ("llama2", ["<s>", "</s>", "<boi>", "<eoi>"], 2),
    ])
    func markersAreFound(_ name: String, _ expected: [String], _ new: Int) throws {
        let tokenizer = try Self.tokenizer(name)
        let markers = [
            tokenizer.beginOfText, tokenizer.endOfText, tokenizer.beginOfImage, tokenizer.endOfImage,
        ]
        #expect(markers.map { tokenizer.piece($0) } == expected)
        #expect(markers.allSatisfy(tokenizer.isSpecial))
        #expect(try tokenizer.decode(markers) == "")
        #expect(markers.filter { Int($0) >= tokenizer.vocabulary - new }.count == new)
        #expect(try tokenizer.encode("<boi><eoi>", parseSpecials: true) == Array(markers[2...]))
        #expect(try tokenizer.encode("<boi><eoi>").allSatisfy { !tokenizer.isSpecial($0) })
    }

    @Test func wordsLongerThanAnyCacheAgree() throws {
        let tokenizer = try Self.tokenizer("tekken")
        for text in [String(repeating: "ab", count: 50_000), String(repeating: "日", count: 10_000)] {
            #expect(try tokenizer.decode(tokenizer.encode(text)) == text)
        }
    }

    // MARK: Refusals

    /// A small valid file, in which each refusal changes one thing.
    static let small = """
        {"added_tokens": [{"id": 3, "content": "</s>", "special": true, "normalized": false}],
         "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "\u{2581}"},
         "pre_tokenizer": null, "decoder": {"type": "Fuse"},
         "model": {"type": "BPE", "unk_token": "a", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}}
        """

    @Test(arguments: [
        ("\"BPE\"", "\"Unigram\"", "its model is Unigram"),
        ("\"BPE\"", "\"BPE\", \"dropout\": 0.1", "its model has dropout"),
        ("\"BPE\"", "\"BPE\", \"end_of_word_suffix\": \"</w>\"", "its model has end_of_word_suffix"),
        ("\"BPE\"", "\"BPE\", \"ignore_merges\": true", "ignore_merges without a ByteLevel"),
        ("\"Replace\"", "\"Lowercase\"", "its normalizer Lowercase is not read"),
        (
            "\"pre_tokenizer\": null", "\"pre_tokenizer\": {\"type\": \"BertPreTokenizer\"}",
            "BertPreTokenizer is not read"
        ),
        (
            "\"pre_tokenizer\": null",
            #""pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": {"Regex": "\\d+"}, "#
                + #""behavior": "Isolated"}, {"type": "ByteLevel", "add_prefix_space": false, "use_regex": false}]}"#,
            #"Split has the pattern \d+, which is not among those of GPT-2"#
        ),
        (
            "\"pre_tokenizer\": null", "\"pre_tokenizer\": {\"type\": \"ByteLevel\"}",
            "writes spaces as U+2581 before a ByteLevel"
        ),
        ("\"normalizer\"", "\"other\"", "has no pre_tokenizer, and no normalizer"),
        ("\"Fuse\"", "\"WordPiece\"", "its decoder WordPiece is not read"),
        ("\"decoder\"", "\"other\"", "it has no decoder"),
        ("\"unk_token\": \"a\",", "", "neither an unk_token nor tokens for all bytes"),
        ("\"unk_token\": \"a\",", "\"unk_token\": \"z\",", "its vocabulary has no z"),
        ("\"a b\"", "\"b a\"", "its merge of \"b\" and \"a\" has no token"), ("\"a b\"", "\"a\"", "not of two tokens"),
        ("\"ab\": 2", "\"ab\": 1", "two tokens with the id 1"), ("\"ab\": 2", "\"ab\": -2", "an id of the vocabulary"),
        ("\"ab\": 2", "\"ab\": 99999999", "an id of the vocabulary outside 0"),
        ("\"id\": 3", "\"id\": 2", "the id 2 of </s> is that of another token"),
        ("\"</s>\"", "\"<x>\"", "it has no token that ends a text"), ("\"model\"", "\"models\"", "it has no \"model\""),
        ("}}", "}", "is no tokenizer.json"), ("\"merges\": [", "\"merges\": {", "is no tokenizer.json"),
    ])
    func whatIsNotReadIsRefusedByName(_ part: String, _ other: String, _ problem: String) throws {
        #expect(try Tokenizer(contents: Array(Self.small.utf8), name: "t").encode("abc") == [2, 0])
        #expect(Self.small.contains(part))
        let text = Self.small.replacingOccurrences(of: part, with: other)
        #expect {
            try Tokenizer(contents: Array(text.utf8), name: "t.json")
        } throws: {
            let description = "\($0)"
            return description.hasPrefix("t.json: ") && description.contains(problem)
                && !description.contains("\n")
        }
    }

    @Test func aVocabularyThatLosesTextIsRefused() throws {
        let form = try #require(Self.forms.first { $0.name == "gpt2" })
        let text = form.tokenizer.replacingOccurrences(of: "\"\u{0120}\":", with: "\"lost\":")
        #expect {
            try Tokenizer(contents: Array(text.utf8), name: "t.json")
        } throws: {
            "\($0)".contains("<0x20>") || "\($0)".contains("its merge of")
        }
    }

    /// Random damage: a file is read or refused in one line, and what is read encodes any text.
    @Test func damageIsRefusedOrHarmless() throws {
        var read = 0
        for (number, form) in Self.forms.enumerated() {
            let good = Array(form.tokenizer.utf8)
            let random = Philox(seed: UInt64(number), purpose: .order)
            for round in 0..<60 {
                var bytes = good
                for change in 0..<(1 + round % 3) {
                    let draw = { (bound: Int, step: Int) in
                        random.integer(below: bound, at: round * 16 + change * 4 + step)
                    }
                    let place = draw(bytes.count, 0)
                    switch draw(3, 1) {
                    case 0: bytes[place] = UInt8(draw(256, 2))
                    case 1: bytes.removeSubrange(place..<min(bytes.count, place + 1 + draw(40, 2)))
                    default:
                        bytes.insert(contentsOf: bytes[place..<min(bytes.count, place + 1 + draw(9, 2))], at: place)
                    }
                }
                do {
                    let tokenizer = try Tokenizer(contents: bytes, name: "t.json")
                    read += 1
                    for vector in form.cases.prefix(40) {
                        let ids = try tokenizer.encode(vector.text, parseSpecials: round % 2 == 0)
                        #expect(ids.allSatisfy { (0..<tokenizer.vocabulary).contains(Int($0)) })
                        _ = try tokenizer.decode(ids)
                    }
                } catch {
                    #expect(error.description.hasPrefix("t.json: "))
                    #expect(!error.description.contains("\n"), "\(error.description)")
                }
            }
        }
        #expect(read > 0)
    }

    // MARK: In a data set

    @Test func aDataSetKeepsIt() throws {
        let directory = try TemporaryDirectory()
        let form = try #require(Self.forms.first { $0.name == "llama3" })
        let path = directory.file("tokenizer.json")
        try Data(form.tokenizer.utf8).write(to: URL(filePath: path))
        try Data("{\"text\": \"red circle\"}\n{\"text\": \"it's 1628\"}\n".utf8)
            .write(to: URL(filePath: directory.file("text.jsonl")))
        var settings = DatasetImport()
        settings.texts = [directory.file("text.jsonl")]
        settings.tokenizerPath = path
        let report = try settings.build(at: directory.file("out"))
        #expect(report.vocabulary == 611)
        let dataset = try PackedDataset(directory.file("out"))
        #expect(dataset.tokenizer.form == .json)
        #expect(dataset.tokenizer.contents == Array(form.tokenizer.utf8))
        #expect(try (0..<2).map { try dataset.tokenizer.decode(dataset.document($0)) } == ["red circle", "it's 1628"])
        #expect(dataset.manifest.files["tokenizer.json"] != nil && dataset.manifest.files["tokenizer.model"] == nil)
        #expect(PackedDataset.verify(directory.file("out")).isEmpty)
    }
}
