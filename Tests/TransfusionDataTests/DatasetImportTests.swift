import Foundation
import Testing
import _TestUtilities

@testable import TransfusionData

@Suite struct DatasetImportTests {
    let directory: TemporaryDirectory

    init() throws {
        directory = try TemporaryDirectory()
        try FileManager.default.createDirectory(
            atPath: directory.file("pictures/sub"), withIntermediateDirectories: true)
        for (name, colour) in [("a.png", SIMD3<UInt8>(255, 0, 0)), ("sub/b.png", SIMD3(0, 0, 255))] {
            let picture = Picture(width: 20, height: 12, filled: colour)
            let bytes = try PNG.encode(rgb: picture.rgb, width: 20, height: 12)
            try Files.write(bytes, to: directory.file("pictures/" + name))
        }
        try Files.write(Array("no picture".utf8), to: directory.file("pictures/c.jpg"))
        try Files.write([], to: directory.file("pictures/unnamed.png"))
        try write(
            "{\"file_name\": \"a.png\", \"text\": \"a red field\"}\n\n{\"file_name\": \"sub/b.png\", \"text\": \"blue\"}\n",
            "pictures/metadata.jsonl")
        try write(
            (0..<120).map { "{\"text\": \"line \($0) of a text\", \"url\": null}\n" }.joined() + "{\"text\": \"\"}",
            "text.jsonl")
    }

    func write(_ text: String, _ name: String) throws {
        try Files.write(Array(text.utf8), to: directory.file(name))
    }

    var settings: DatasetImport {
        var settings = DatasetImport()
        settings.folders = [directory.file("pictures")]
        settings.texts = [directory.file("text.jsonl")]
        settings.size = 8
        settings.pieces = 290
        return settings
    }

    @Test func picturesAndTextsAreImported() throws {
        let report = try settings.build(at: directory.file("out"))
        #expect(report.pairs == ["train": 2, "validation": 0])
        #expect(report.documents == ["train": 118, "validation": 2])
        #expect(report.emptyTexts == 1)
        #expect(report.filesWithoutCaption == 1)
        let dataset = try PackedDataset(directory.file("out"))
        #expect(try dataset.keys() == ["a.png", "sub/b.png"])
        #expect(try dataset.captionText(dataset.pair(0)) == "a red field")
        #expect(try dataset.picture(1) == Picture(width: 8, height: 8, filled: SIMD3(0, 0, 255)))
        #expect(try dataset.tokenizer.decode(dataset.document(1)) == "line 1 of a text")
        #expect(PackedDataset.verify(directory.file("out")).isEmpty)
    }

    @Test(arguments: [
        ("{\"file_name\": \"no.png\", \"text\": \"x\"}", "metadata.jsonl:1: there is no file no.png"),
        ("{\"file_name\": \"../text.jsonl\", \"text\": \"x\"}", "metadata.jsonl:1: ../text.jsonl leaves"),
        ("\n{\"file_name\": \"a.png\"}", "metadata.jsonl:2: \"text\" is missing"),
        ("nonsense", "metadata.jsonl:1: is not a JSON object"), ("", "metadata.jsonl: names no picture"),
        ("{\"file_name\": \"c.jpg\", \"text\": \"x\"}", "c.jpg: is not a PNG picture"),
        ("{\"file_name\": \"unnamed.png\", \"text\": \"x\"}", "unnamed.png: is not a PNG picture"),
    ])
    func badMetadataIsRefusedWithItsLine(_ metadata: String, _ message: String) throws {
        try write(metadata, "pictures/metadata.jsonl")
        #expect { try settings.build(at: directory.file("out")) } throws: { "\($0)".contains(message) }
        #expect(!Files.exists(directory.file("out")))
        let left = try FileManager.default.contentsOfDirectory(atPath: directory.path)
        #expect(left.sorted() == ["pictures", "text.jsonl"])
    }

    @Test func whatTheTokenizerCannotLearnIsTold() throws {
        let run = String(repeating: "=", count: 40_000)
        try write("{\"text\": \"\(run)\"}\r\n{\"text\": \"a word\\u0000\"}\r\n", "text.jsonl")
        var settings = settings
        settings.pieces = 4096
        let report = try settings.build(at: directory.file("out"))
        #expect(report.documents["train"] == 2)
        #expect(report.tokenizerNotes.count == 2)
        #expect(report.tokenizerNotes.first?.hasPrefix("one run of more than 1024 letters") == true)
        let dataset = try PackedDataset(directory.file("out"))
        #expect(try dataset.tokenizer.decode(dataset.document(0)) == run)
    }

    @Test(arguments: ["{\"text\": \"\\ud800\"}", "{\"text\": \"\u{0}\"}", "{\"text\": 7}"])
    func aLineThatIsNoTextIsNamed(_ line: String) throws {
        try write("{\"text\": \"good\"}\n" + line, "text.jsonl")
        #expect { try settings.build(at: directory.file("out")) } throws: { "\($0)".contains("text.jsonl:2: ") }
    }

    /// With a given tokenizer and with one to be trained.
    @Test(arguments: [true, false]) func nothingToTrainOnIsRefused(_ hasTokenizer: Bool) throws {
        var settings = settings
        settings.folders = []
        if hasTokenizer { settings.tokenizerPath = Fixtures.path("tokenizer/small.model") }
        for text in ["", "{\"text\": \"\"}\n"] + (hasTokenizer ? [] : ["{\"text\": \" \\n\"}\n"]) {
            try write(text, "text.jsonl")
            #expect { try settings.build(at: directory.file("out")) } throws: {
                "\($0)".contains("text.jsonl: no text in it to train on")
            }
        }
        let left = try FileManager.default.contentsOfDirectory(atPath: directory.path)
        #expect(left.sorted() == ["pictures", "text.jsonl"])
    }

    @Test func settingsThatCannotWorkAreWrongUse() throws {
        func refusal(_ change: (inout DatasetImport) -> Void) -> DataError? {
            var settings = settings
            change(&settings)
            return #expect(throws: DataError.self) { try settings.build(at: directory.file("out")) }
        }
        for (refusal, option) in [
            (refusal { $0.size = 0 }, "--size"), (refusal { $0.validationEvery = -1 }, "--validation-every"),
            (refusal { $0.validationEvery = 1 }, "--validation-every"), (refusal { $0.pieces = 7 }, "--pieces"),
        ] {
            #expect(refusal?.isWrongUse == true && refusal?.description.contains(option) == true)
        }
        #expect(refusal { $0.texts = ["/nowhere.jsonl"] }?.isWrongUse == false)
    }

    @Test func missingSourcesAreNamed() throws {
        var settings = settings
        settings.folders = [directory.path]
        #expect { try settings.build(at: directory.file("out")) } throws: {
            "\($0)".contains("metadata.jsonl: is missing")
        }
        settings.folders = []
        settings.texts = ["/nowhere.jsonl"]
        #expect { try settings.build(at: directory.file("out")) } throws: { "\($0)".hasPrefix("/nowhere.jsonl: ") }
        settings.texts = []
        #expect { try settings.build(at: directory.file("out")) } throws: { "\($0)".contains("--folder") }
    }
}
