import Foundation
import Testing
import _TestUtilities

@testable import TransfusionData

/// Texts in the forms in which people have them.
@Suite struct TextImportTests {
    private let directory: TemporaryDirectory

    init() throws {
        directory = try TemporaryDirectory()
    }

    private func write(_ bytes: some Sequence<UInt8>, _ name: String) throws -> String {
        let path = directory.file(name)
        try FileManager.default.createDirectory(
            at: URL(filePath: path).deletingLastPathComponent(), withIntermediateDirectories: true)
        try Data(bytes).write(to: URL(filePath: path))
        return path
    }

    private func write(_ text: String, _ name: String) throws -> String { try write(text.utf8, name) }

    private func settings(_ change: (inout DatasetImport) -> Void) -> DatasetImport {
        var settings = DatasetImport()
        settings.tokenizerPath = Fixtures.path("tokenizer/small.model")
        settings.validationEvery = 0
        change(&settings)
        return settings
    }

    /// The documents that come of an import, in their order.
    private func documents(_ settings: DatasetImport) throws -> [String] {
        let out = directory.file("out")
        try? FileManager.default.removeItem(atPath: out)
        _ = try settings.build(at: out)
        let dataset = try PackedDataset(out)
        return try (0..<dataset.manifest.documents).map { try dataset.tokenizer.decode(dataset.document($0)) }
    }

    private func expectRefusal(_ settings: DatasetImport, _ problem: String) {
        #expect {
            _ = try documents(settings)
        } throws: {
            "\($0)".contains(problem)
        }
        #expect(!FileManager.default.fileExists(atPath: directory.file("out")))
    }

    // MARK: Compression

    /// Three lines in two parts, as `cat a.gz b.gz` makes them, by Python's gzip and zstandard.
    static let compressed = [
        (
            "gz",
            "H4sIAAAAAAACA6tWSspPqVSyUlAqSk1RSM4sSs5JVarlAgAe1A8TFwAAAB+LCAAAAAAAAgOrVkrKT6lUslJQSsopTVUoLixNLEpVquWqhovHlBoY"
                + "pFqWQCilWgBCHsqtMQAAAA=="
        ),
        (
            "zst",
            "KLUv/SAXuQAAeyJib2R5IjogInJlZCBjaXJjbGUifQootS/9IDF1AQB0AnsiYm9keSI6ICJibHVlIHNxdWFyZSJ9Clx1MDBlOXRcdTAwZTkifQEA7DbH"
        ),
    ]

    @Test(arguments: compressed) func compressedLinesAreRead(_ ending: String, _ base64: String) throws {
        let bytes = try #require(Data(base64Encoded: base64))
        let path = try write(bytes, "text.jsonl." + ending)
        let settings = settings {
            $0.texts = [path]
            $0.textKey = "body"
        }
        #expect(try documents(settings) == ["red circle", "blue square", "été"])
        // What is cut off, in the middle or between the parts' bytes, is found.
        for count in [bytes.count - 1, bytes.count - 9, 20] {
            _ = try write(bytes.prefix(count), "text.jsonl." + ending)
            #expect(throws: (any Error).self) { _ = try documents(settings) }
        }
        guard ending == "gz" else { return }
        var damaged = bytes
        damaged[bytes.count / 2 + 6] ^= 0xFF
        _ = try write(damaged, "text.jsonl." + ending)
        #expect(throws: (any Error).self) { _ = try documents(settings) }
    }

    // MARK: Plain text

    private static let text = "\u{FEFF}one\r\ntwo\r\n\r\n  \r\nthree\r\n\nfour\nfive\n"

    @Test(arguments: [
        (TextDocuments.file, ["one\ntwo\n\n  \nthree\n\nfour\nfive"]),
        (.line, ["one", "two", "three", "four", "five"]), (.paragraph, ["one\ntwo", "three", "four\nfive"]),
    ])
    func plainTextIsCutIntoDocuments(_ kind: TextDocuments, _ expected: [String]) throws {
        for text in [Self.text, String(Self.text.dropLast())] {
            let path = try write(text, "some.txt")
            let found = try documents(
                settings {
                    $0.plainTexts = [path]
                    $0.textDocuments = kind
                })
            #expect(found == expected)
        }
    }

    @Test func longLinesAndManyDocumentsPassThrough() throws {
        // Longer than the reader's buffer, and more than one task's worth.
        let long = String(repeating: "red circle ", count: 100_000)
        let lines = (0..<5000).map { "line \($0)" } + [long] + (0..<10).map { "end \($0)" }
        let path = try write(lines.joined(separator: "\n"), "many.txt")
        let settings = settings {
            $0.plainTexts = [path]
            $0.textDocuments = .line
            $0.validationEvery = 3
        }
        let report = try settings.build(at: directory.file("out"))
        #expect(report.documents == ["train": 3341, "validation": 1670])
        let dataset = try PackedDataset(directory.file("out"))
        let found = try (0..<5011).map { try dataset.tokenizer.decode(dataset.document($0)) }
        let isValidation = lines.indices.map { $0 % 3 == 2 }
        #expect(
            found == zip(lines, isValidation).filter { !$1 }.map(\.0) + zip(lines, isValidation).filter { $1 }.map(\.0))
    }

    // MARK: Folders

    @Test func aFolderStandsForItsFilesInOrder() throws {
        for (name, text) in [
            ("b.txt", "2"), ("a/z.txt", "1"), ("c.txt", "3"), (".hidden.txt", "no"), ("d.md", "no"),
            ("a/.x/e.txt", "no"),
        ] {
            _ = try write(text, "folder/" + name)
        }
        #expect(try documents(settings { $0.plainTexts = [directory.file("folder") + "/"] }) == ["1", "2", "3"])
        expectRefusal(
            settings { $0.texts = [directory.file("folder")] }, "folder: holds no file that ends in .jsonl, .jsonl.gz")
    }

    // MARK: What is no text

    @Test func badTextIsNamedWithItsLine() throws {
        let lines = try write(Array("good\r\nalso\r\n".utf8) + [0x61, 0xFF] + Array("\n".utf8), "bad.txt")
        for kind in TextDocuments.allCases {
            expectRefusal(
                settings {
                    $0.plainTexts = [lines]
                    $0.textDocuments = kind
                }, "bad.txt:3: is not UTF-8 text")
        }
        let json = try write(
            "{\"text\": \"a\"}\n{\"text\": \"\\udc00\"}\n{\"text\": \"b\"}\n{\"texts\": \"c\"}\n", "bad.jsonl")
        expectRefusal(settings { $0.texts = [json] }, "bad.jsonl:2: is not a JSON object: half a character")
        expectRefusal(settings { $0.texts = [json] }, "bad.jsonl:4: \"text\" is missing")
        #expect(
            try documents(
                settings {
                    $0.texts = [json]
                    $0.skipBad = 2
                }) == ["a", "b"])
    }

    /// With pictures, or a tokenizer to be trained, texts are looked at before the long work; the result is the same.
    @Test func aTrainedTokenizerFindsTheSameProblems() throws {
        let path = try write("{\"text\": \"red circle, blue circle\"}\n{\"text\": 7}\n", "bad.jsonl")
        var trained = settings { $0.texts = [path] }
        trained.tokenizerPath = nil
        trained.pieces = 270
        expectRefusal(trained, "bad.jsonl:2: \"text\" is a number")
        trained.skipBad = 1
        #expect(try documents(trained) == ["red circle, blue circle"])
    }

    // MARK: Parquet

    @Test func parquetTextsAreRead() throws {
        let written = try #require(ParquetFileTests.files.first { $0.name == "pages and groups" })
        let path = try write(written.file, "some.parquet")
        let column = try #require(written.columns.first { $0.name == "maybe" })
        let expected = column.values.compactMap { value -> String? in
            guard case .bytes(let bytes) = value, !bytes.isEmpty else { return nil }
            return String(decoding: bytes, as: UTF8.self)
        }
        let settings = settings {
            $0.parquets = [path]
            $0.textKey = "maybe"
        }
        let report = try settings.build(at: directory.file("out"))
        #expect(report.emptyTexts == column.values.count - expected.count)
        #expect(try documents(settings) == expected)
        var other = settings
        other.textKey = "body"
        expectRefusal(other, "some.parquet: has no column body; it has text, maybe")
        other.textKey = "small"
        expectRefusal(other, "some.parquet: column small: is no text")
        let binary = try #require(ParquetFileTests.files.first { $0.name == "plain" })
        _ = try write(binary.file, "some.parquet")
        other.textKey = "binary"
        expectRefusal(other, "column binary, row ")
    }
}
