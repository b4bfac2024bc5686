import Foundation
import Testing
import _TestUtilities

@testable import TransfusionData

/// Edits that `tf-data import --edits` reads.
@Suite struct EditImportTests {
    private let directory: TemporaryDirectory

    init() throws {
        directory = try TemporaryDirectory()
        for name in [
            "list/a", "list/b", "list/c", "folders/0/17_0", "folders/0/17_1", "folders/0/9_0", "folders/0/9_1",
        ] {
            try picture(name)
        }
        try write(
            #"{"caption": "a hill", "edit": "make it winter", "output": "a hill in winter"}"#, "folders/0/prompt.json")
        try write(
            """
            {"source": "a.png", "instruction": "make it blue", "target": "b.png"}
            {"source": "b.png", "instruction": "turn it around", "target": "c.png", "turn": 2}
            {"source": "a.png", "instruction": "make it round", "target": "c.png"}
            """, "list/edits.jsonl")
        try write((0..<90).map { "{\"text\": \"line \($0) of a text\"}\n" }.joined(), "text.jsonl")
    }

    private func write(_ text: String, _ name: String) throws {
        try Files.write(Array(text.utf8), to: directory.file(name))
    }

    /// A picture that no other is like.
    private func picture(_ name: String) throws {
        let path = directory.file(name + ".png")
        try FileManager.default.createDirectory(
            atPath: (path as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
        let colour = name.utf8.reduce(into: SIMD3<UInt8>()) { $0 = SIMD3($0.y, $0.z, $0.x &* 31 &+ $1) }
        let picture = Picture(width: 8, height: 8, filled: colour)
        try Files.write(try PNG.encode(rgb: picture.rgb, width: 8, height: 8), to: path)
    }

    private func imported(_ edits: String..., set: (inout DatasetImport) -> Void = { _ in }) throws -> [String] {
        var settings = DatasetImport()
        settings.edits = edits.map(directory.file)
        settings.texts = [directory.file("text.jsonl")]
        settings.size = 8
        settings.pieces = 290
        settings.validationEvery = 0
        set(&settings)
        _ = try settings.build(at: directory.file("out"))
        let dataset = try PackedDataset(directory.file("out"))
        #expect(PackedDataset.verify(dataset.path).isEmpty)
        return try (0..<dataset.manifest.pairs).map { index in
            let pair = try dataset.pair(index)
            return "\(pair.original.map(String.init) ?? "nothing") → \(pair.image): \(try dataset.captionText(pair))"
        }
    }

    @Test func aListAndTheFolderThatHasItAreRead() throws {
        let expected = ["0 → 1: make it blue", "1 → 2: turn it around", "0 → 2: make it round"]
        #expect(try imported("list/edits.jsonl") == expected)
        try FileManager.default.removeItem(atPath: directory.file("out"))
        // Copies of pictures are no copies of edits.
        #expect(try imported("list") { $0.deduplicate = true } == expected)
    }

    @Test func foldersOfInstructPix2PixAreRead() throws {
        #expect(try imported("folders") == ["0 → 1: make it winter", "2 → 3: make it winter"])
    }

    /// What comes of a picture goes where the picture is.
    @Test func chainsOfEditsAreNotTornApart() throws {
        for number in 0..<12 {
            for part in 0..<3 { try picture("chains/\(number)-\(part)") }
        }
        let lines = (0..<12).flatMap { number in
            (0..<2).map { part in
                #"{"source": "\#(number)-\#(part).png", "instruction": "x", "target": "\#(number)-\#(part + 1).png"}"#
            }
        }
        try write(lines.joined(separator: "\n"), "chains/edits.jsonl")
        _ = try imported("chains") { $0.validationEvery = 4 }
        let dataset = try PackedDataset(directory.file("out"))
        #expect(dataset.manifest.splits.map(\.edits) == [18, 6])
        let images = try dataset.manifest.splits.map { split in
            Set(
                try split.pairRange.flatMap { index in
                    let pair = try dataset.pair(index)
                    return [pair.image, try #require(pair.original)]
                })
        }
        #expect(images[0].isDisjoint(with: images[1]))
    }

    @Test(arguments: [
        (#"{"source": "no.png", "instruction": "x", "target": "b.png"}"#, "edits.jsonl:1: there is no file no.png"),
        (#"{"source": "a.png", "instruction": "x", "target": "../text.jsonl"}"#, "edits.jsonl:1: ../text.jsonl leaves"),
        (#"{"source": "a.png", "target": "b.png"}"#, "edits.jsonl:1: \"instruction\" is missing"),
        (#"{"source": "a.png", "instruction": 1, "target": "b.png"}"#, "edits.jsonl:1: \"instruction\" is a number"),
        ("nonsense", "edits.jsonl:1: is not a JSON object"), ("", "names no edit"),
    ])
    func whatCannotBeUsedIsNamed(_ line: String, _ message: String) throws {
        try write(line, "list/edits.jsonl")
        #expect { try imported("list") } throws: { "\($0)".contains(message) }
    }

    @Test func aBadEditIsLeftOutAlone() throws {
        try write(
            """
            {"source": "a.png", "instruction": "make it blue", "target": "missing.png"}
            {"source": "a.png", "instruction": "make it round", "target": "c.png"}
            """, "list/edits.jsonl")
        #expect(try imported("list") { $0.skipBad = 1 } == ["0 → 1: make it round"])
        try FileManager.default.removeItem(atPath: directory.file("folders/0/9_1.png"))
        try FileManager.default.removeItem(atPath: directory.file("out"))
        #expect { try imported("folders") } throws: { "\($0)".contains("prompt.json: there is no file 0/9_1.png") }
    }

    /// What pyarrow wrote of the three pictures (`Tests/Fixtures/parquet_edits.py`), in each of the forms that are found.
    @Test(arguments: ["magicbrush", "instructpix2pix"]) func parquetIsRead(_ name: String) throws {
        let edits = try imported(set: {
            $0.edits = [Fixtures.path("parquet_edits/\(name).parquet")]
            $0.texts = [directory.file("text.jsonl")]
        })
        #expect(edits == ["0 → 1: make it blue", "1 → 2: turn it around"])
        let dataset = try PackedDataset(directory.file("out"))
        let colours = try (0..<3).map { try dataset.picture($0)[3, 3] }
        #expect(colours == [SIMD3(255, 0, 0), SIMD3(0, 0, 255), SIMD3(0, 255, 0)])
        #expect(
            try dataset.keys() == ["\(name).parquet/1", "\(name).parquet/2"])
    }

    @Test func parquetWithoutItsColumnsIsRefused() throws {
        #expect {
            try imported(set: { $0.edits = [Fixtures.path("parquet_edits/other.parquet")] })
        } throws: { "\($0)".contains("other.parquet: has no column instruction") }
    }
}
