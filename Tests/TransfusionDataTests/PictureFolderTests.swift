import Foundation
import Testing
import _TestUtilities

@testable import TransfusionData

/// The ways in which a folder says its captions.
@Suite struct PictureFolderTests {
    let directory: TemporaryDirectory

    init() throws {
        directory = try TemporaryDirectory()
        try FileManager.default.createDirectory(
            atPath: directory.file("p/sub"), withIntermediateDirectories: true)
        for (number, name) in ["a.png", "b.png", "sub/c.png"].enumerated() {
            let picture = Picture(width: 9, height: 9, filled: SIMD3(UInt8(number) * 80, 7, 9))
            try Files.write(PNG.encode(rgb: picture.rgb, width: 9, height: 9), to: directory.file("p/" + name))
        }
    }

    func write(_ text: String, _ name: String) throws {
        try Files.write(Array(text.utf8), to: directory.file("p/" + name))
    }

    func pairs(_ change: (inout DatasetImport) -> Void = { _ in }) throws -> [String] {
        var settings = DatasetImport()
        settings.folders = [directory.file("p")]
        settings.size = 4
        settings.validationEvery = 0
        settings.tokenizerPath = Fixtures.path("tokenizer/small.model")
        change(&settings)
        let out = directory.file("out\(Int.random(in: 0..<1 << 40))")
        _ = try settings.build(at: out)
        let dataset = try PackedDataset(out)
        let keys = try dataset.keys()
        return try keys.indices.map { "\(keys[$0]): \(try dataset.captionText(dataset.pair($0)))" }
    }

    static let expected = ["a.png: red, \"so\" red", "a.png: one more", "b.png: two\nlines", "sub/c.png: blue"]

    @Test func aTableIsRead() throws {
        try write(
            "\u{FEFF}id,text,file_name\r\n1,\"red, \"\"so\"\" red\",a.png\r\n2,\"two\nlines\",b.png\r\n\r\n3,blue,./sub/c.png\n4,one more,a.png",
            "metadata.csv")
        #expect(try pairs() == Self.expected)
    }

    @Test func linesWithListsOfCaptionsAreRead() throws {
        try write(
            "{\"file_name\": \"a.png\", \"prompt\": [\"red, \\\"so\\\" red\", \"one more\"]}\n"
                + "{\"file_name\": \"b.png\", \"prompt\": \"not this\", \"caption\": \"two\\nlines\"}\n"
                + "{\"caption\": null, \"prompt\": \"blue\", \"file_name\": \"sub/c.png\"}\n", "metadata.jsonl")
        #expect { try pairs() } throws: { "\($0)".contains("metadata.jsonl:3: \"caption\" is null and not a text") }
        try write(
            "{\"file_name\": \"a.png\", \"what\": [\"red, \\\"so\\\" red\", \"one more\"], \"text\": 7}\n"
                + "{\"file_name\": \"b.png\", \"text\": \"no\", \"what\": \"two\\nlines\"}\n"
                + "{\"what\": \"blue\", \"file_name\": \"sub/c.png\"}\n", "metadata.jsonl")
        #expect(try pairs { $0.captionKey = "what" } == Self.expected)
        #expect { try pairs { $0.captionKey = "why" } } throws: {
            "\($0)".contains("metadata.jsonl:1: \"why\" is missing")
        }
        try write("{\"file_name\": \"a.png\", \"text\": [\"a\", 1]}\n", "metadata.jsonl")
        #expect { try pairs() } throws: { "\($0)".contains("metadata.jsonl:1: \"text\" is a list and not a text") }
    }

    @Test func textFilesBesideThePicturesAreRead() throws {
        for (name, text) in [("a.txt", "\u{FEFF} red\n"), ("sub/c.txt", "\n blue\n line \n\n"), ("d.txt", "nothing")] {
            try write(text, name)
        }
        #expect(try pairs() == ["a.png: red", "sub/c.png: blue\n line"])
        try write("", "b.jpg")
        try Files.write([0xFF], to: directory.file("p/b.txt"))
        let error = #expect(throws: BadInputError.self) { try pairs() }
        #expect(error?.lines.count == 3)
        #expect(error?.lines.contains { $0.hasSuffix("b.txt: is not UTF-8 text") } == true)
        #expect(try pairs { $0.skipBad = 2 }.count == 2)
    }

    @Test(arguments: [
        ("file,text\na.png,x\n", "metadata.csv:1: no column is called \"file_name\""),
        ("file_name,what\na.png,x\n", "metadata.csv:1: \"text\" is missing"),
        ("file_name,text\na.png\n", "metadata.csv:2: has 1 fields, the first line 2"),
        ("file_name,text\n\na.png,\"x\nb.png,y\n", "metadata.csv:3: a quote is not closed"),
        ("file_name,text\na.png,\"x\"y\n", "metadata.csv:2: a quote closes before the end"),
        ("file_name,text\na.png,x\"y\n", "metadata.csv:2: a quote inside of a field"),
        ("file_name,text\n../p/a.png,x\n", "metadata.csv:2: ../p/a.png leaves the folder"),
        ("file_name,text\n,x\n", "metadata.csv:2: \"\" is no name of a file"),
        ("", "metadata.csv: is empty"), ("file_name,text\n", "metadata.csv: names no picture"),
    ])
    func aBadTableIsRefusedWithItsLine(_ table: String, _ message: String) throws {
        try write(table, "metadata.csv")
        #expect { try pairs() } throws: { "\($0)".contains(message) }
    }

    @Test func twoListsAreOneTooMany() throws {
        try write("file_name,text\na.png,x\n", "metadata.csv")
        try write("{\"file_name\": \"a.png\", \"text\": \"x\"}\n", "metadata.jsonl")
        #expect { try pairs() } throws: { "\($0)".contains("p: has metadata.jsonl and metadata.csv") }
    }

    /// Whatever is in a table, rows come out or are refused, and the reader comes to its end.
    @Test func damagedTablesAreReadOrRefused() throws {
        let table = Array("id,text,file_name\r\n1,\"red, \"\"so\"\" red\",a.png\r\n2,\"two\nlines\",b.png\r\n".utf8)
        var generator = Mutations(seed: 6)
        for _ in 0..<Mutations.count(default: 5000) {
            let bytes = generator.mutated(table)
            bytes.withUnsafeBytes { bytes in
                var rows = CSVRows(bytes, name: "t.csv")
                var turns = 0
                while turns <= bytes.count {
                    do throws(DataError) {
                        guard let row = try rows.next() else { break }
                        #expect(!row.fields.isEmpty)
                    } catch {
                        #expect(error.description.hasPrefix("t.csv:"))
                    }
                    turns += 1
                }
                #expect(turns <= bytes.count)
            }
        }
    }
}
