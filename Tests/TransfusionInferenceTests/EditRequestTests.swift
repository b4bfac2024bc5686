import Foundation
import Testing
import TransfusionConfig
import TransfusionCore
import TransfusionData
import TransfusionModels
import _TestUtilities

@testable import TransfusionInference

struct EditRequestTests {
    private let model: ModelOnDisk
    private let directory: _TestUtilities.TemporaryDirectory

    init() throws {
        model = try ModelOnDisk()
        directory = try TemporaryDirectory()
        for (name, colour) in [("red", SIMD3<UInt8>(200, 0, 0)), ("blue", SIMD3(0, 0, 200))] {
            let picture = Picture(width: 16, height: 8, filled: colour)
            try Data(PNG.encode(rgb: picture.rgb, width: 16, height: 8))
                .write(to: URL(filePath: directory.file(name + ".png")))
        }
    }

    private func request(_ edits: EditRequest.Edits, _ output: String) -> EditRequest {
        var modelRequest = LoadedModel.Request(checkpoint: model.path)
        modelRequest.precision = .f32
        modelRequest.threads = 1
        var request = EditRequest(model: modelRequest, edits: edits, output: directory.file(output))
        request.settings.steps = 3
        request.settings.clipsImage = true
        return request
    }

    private func picture(_ name: String) throws -> Picture { try PictureFile.read(directory.file(name)) }

    @Test func oneEditBecomesOneFileThatSaysHowItWasMade() throws {
        let image = directory.file("red.png")
        var request = request(.one(image: image, instruction: "make it blue"), "out.png")
        request.seed = 11
        let report = try request.run()
        #expect(report.pictures.map(\.file) == ["out.png"] && report.sheet == nil)
        #expect(report.pictures[0].source == image)
        let bytes = try Files.read(directory.file("out.png"), limit: 1 << 20)
        let texts = Dictionary(uniqueKeysWithValues: PNG.text(of: bytes).map { ($0.keyword, $0.text) })
        let parameters = try #require(texts["parameters"])
        #expect(parameters.hasPrefix("make it blue\n") && parameters.hasSuffix("Image CFG scale: 1.5"))
        // It depends on the picture.
        var other = request
        other.edits = .one(image: directory.file("blue.png"), instruction: "make it blue")
        other.output = directory.file("other.png")
        _ = try other.run()
        #expect(try picture("other.png") != picture("out.png"))
    }

    @Test func aListBecomesADirectoryWithSourcesAndTargets() throws {
        try """
        {"source": "red.png", "instruction": "make it blue", "target": "blue.png"}
        {"source": "blue.png", "instruction": "make it red"}
        """.write(toFile: directory.file("list.jsonl"), atomically: true, encoding: .utf8)
        let report = try request(.file(directory.file("list.jsonl")), "out").run()
        #expect(report.pictures.map(\.prompt) == ["make it blue", "make it red"])
        #expect(report.pictures.map(\.source) == ["sources/000000.png", "sources/000001.png"])
        #expect(report.pictures.map(\.target) == ["targets/000000.png", nil])
        #expect(report.sheet == directory.file("out/sheet.png"))
        #expect(try picture("out/sources/000000.png") == Picture(width: 8, height: 8, filled: SIMD3(200, 0, 0)))
        #expect(try picture("out/targets/000000.png") == Picture(width: 8, height: 8, filled: SIMD3(0, 0, 200)))
        // The first is what the same edit gives by itself.
        _ = try request(.one(image: directory.file("red.png"), instruction: "make it blue"), "alone.png").run()
        let difference = zip(try picture("out/000000.png").rgb, try picture("alone.png").rgb)
            .map { abs(Int($0) - Int($1)) }.max()
        #expect(difference ?? 255 <= 1)
    }

    @Test func theEditsOfADataSetAreDrawnAndItsOtherPairsAreNot() throws {
        let path = directory.file("set")
        let writer = try DatasetWriter(
            try UnfinishedDirectory(path), image: .init(channels: 3, height: 8, width: 8, element: .u8),
            tokenizer: try Tokenizer(path: model.file("tokenizer.model")), description: "test")
        let images = try [[200, 0, 0], [0, 0, 200]].map { colour in
            try writer.add(image: colour.flatMap { [UInt8](repeating: $0, count: 64) })
        }
        writer.beginSplit("train")
        try writer.addPair(key: "a", caption: "red circle", image: images[0])
        writer.beginSplit("held_out")
        try writer.addPair(key: "b", caption: "make it blue", image: images[1], original: images[0])
        try writer.addPair(key: "c", caption: "make it red", image: images[0], original: images[1])
        _ = try writer.finish()

        let report = try request(.dataset(path, split: "held_out", limit: nil), "out").run()
        #expect(report.pictures.map(\.prompt) == ["make it blue", "make it red"])
        #expect(report.pictures.map(\.heldOut) == [true, true])
        #expect(try picture("out/sources/000001.png") == picture("out/targets/000000.png"))
        #expect(try request(.dataset(path, split: "held_out", limit: 1), "one").run().pictures.count == 1)
        #expect {
            try request(.dataset(path, split: "train", limit: nil), "none").run()
        } throws: { "\($0)".contains("has no edits in its split \"train\"") }
        // Pictures are drawn for the pairs that are no edits.
        var images2 = ImageRequest(
            model: request(.file(""), "").model, prompts: .dataset(path, limit: nil), output: directory.file("pairs"))
        images2.settings.steps = 1
        #expect(try images2.run().pictures.map(\.prompt) == ["red circle"])
    }

    @Test func whatCannotBeDrawnIsALine() throws {
        func refusal(_ edits: EditRequest.Edits, _ output: String, guidance: Double = 1) -> String {
            var request = request(edits, output)
            request.settings.originalGuidanceScale = guidance
            do { return "\(try request.run())" } catch { return "\(error)" }
        }
        let red = EditRequest.Edits.one(image: directory.file("red.png"), instruction: "x")
        #expect(refusal(red, "x.png", guidance: .nan).contains("image-guidance"))
        #expect(refusal(red, "x.jpg").contains("written as PNG"))
        #expect(refusal(.one(image: "/no/such.png", instruction: "x"), "x.png").contains("/no/such.png"))
        try "{\"source\": \"red.png\"}\n".write(
            toFile: directory.file("list.jsonl"), atomically: true, encoding: .utf8)
        #expect(refusal(.file(directory.file("list.jsonl")), "x").contains("list.jsonl:1: \"instruction\" is missing"))
        #expect(refusal(.file(directory.file("list.jsonl")), "x.png").contains("is missing"))
        #expect(!Files.exists(directory.file("x")) && !Files.exists(directory.file("x.png")))
    }
}
