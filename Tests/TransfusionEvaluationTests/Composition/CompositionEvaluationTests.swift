import Foundation
import Testing
import TransfusionConfig
import TransfusionCore
import TransfusionData
import TransfusionInference
import TransfusionParallel
import TransfusionSupport
import _TestUtilities

@testable import TransfusionEvaluation

/// Composition of pictures that are known, and of what a small model draws.
@Suite struct CompositionEvaluationTests {
    private let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    private func write(_ text: String, to name: String) throws -> String {
        try Data(text.utf8).write(to: URL(filePath: directory.file(name)))
        return directory.file(name)
    }

    /// A folder with a picture of `drawn` for each `prompt`.
    private func folder(_ pairs: [(prompt: String, drawn: String)]) throws -> String {
        var lines = ""
        for (index, pair) in pairs.enumerated() {
            let scene = Scene(try #require(SceneDescription(pair.drawn)), size: 32, seed: 9, index: index).picture
            try Data(PNG.encode(rgb: scene.rgb, width: 32, height: 32)).write(
                to: URL(filePath: directory.file("\(index).png")))
            lines += #"{"file": "\#(index).png", "prompt": "\#(pair.prompt)"}"# + "\n"
        }
        _ = try write(lines, to: "prompts.jsonl")
        return directory.path
    }

    @Test func picturesAreJudgedByTheirPrompts() throws {
        let folder = try folder([
            ("two red circles", "two red circles"), ("two red circles", "three red circles"),
            ("a blue square", "a green square"), ("a diamond", "a triangle"), ("a cat", "a diamond"),
            ("a red circle left of a blue square", "a red circle left of a blue square"),
            ("a red circle left of a blue square", "a red circle right of a blue square"),
        ])
        let evaluation = CompositionEvaluation(.folder(folder))
        let report = try evaluation.run()
        #expect(report.prompts == 7 && report.pictures == 7 && report.unscored == 1)
        #expect(report.presence == .init(right: 5, total: 6) && report.count == .init(right: 4, total: 6))
        #expect(report.colour == .init(right: 4, total: 5) && report.position == .init(right: 1, total: 2))
        #expect(report.all == .init(right: 2, total: 6) && report.all?.accuracy == 2.0 / 6)
        #expect(try ThreadGroup.run(ranks: 2) { try evaluation.run($0, ranksOnHost: 2) } == [report, report])
    }

    private static let metadata = """
        {"tag": "counting", "include": [{"class": "circle", "count": 2, "color": "red"}], "prompt": "a photo of two red circles"}
        {"tag": "position", "include": [{"class": "square", "count": 1}, {"class": "circle", "count": 1, "position": ["left of", 0]}], "prompt": "a circle left of a square"}
        {"tag": "single_object", "include": [{"class": "bench", "count": 1}], "prompt": "a photo of a bench"}

        """

    @Test func aModelsPicturesAreDrawnJudgedAndKept() throws {
        let model = try ModelOnDisk()
        var request = LoadedModel.Request(checkpoint: model.path)
        request.precision = .f32
        request.threads = 1
        var drawing = CompositionDrawing(
            model: request, prompts: .file(try write(Self.metadata, to: "metadata.jsonl")))
        drawing.settings.steps = 2
        drawing.samples = 5
        drawing.seed = 3
        func report(ranks: Int, _ name: String) throws -> CompositionEvaluation.Report {
            drawing.output = directory.file(name)
            let evaluation = CompositionEvaluation(.drawn(drawing))
            let reports = try ThreadGroup.run(ranks: ranks) { try evaluation.run($0, ranksOnHost: ranks) }
            #expect(Set(try reports.map { try JSONText.line($0) }).count == 1)
            return reports[0]
        }
        let alone = try report(ranks: 1, "one"), shared = try report(ranks: 2, "two")
        #expect(alone == shared && alone.pictures == 15 && alone.unscored == 5 && alone.position?.total == 5)
        for prompt in 0..<3 {
            let place = "0000\(prompt)"
            let line = try String(contentsOfFile: directory.file("one/\(place)/metadata.jsonl"), encoding: .utf8)
            let lines = Self.metadata.split(separator: "\n")
            func object(_ text: String) throws -> NSDictionary? {
                try JSONSerialization.jsonObject(with: Data(text.utf8)) as? NSDictionary
            }
            #expect(try object(line) == object(String(lines[prompt])))
            for sample in 0..<5 {
                let name = "\(place)/samples/0000\(sample).png"
                let bytes = try Data(contentsOf: URL(filePath: directory.file("one/\(name)")))
                #expect(try bytes == Data(contentsOf: URL(filePath: directory.file("two/\(name)"))))
            }
        }
        // What was kept is judged as it was when it was drawn.
        #expect(try CompositionEvaluation(.folder(directory.file("one"))).run() == alone)
        // And drawn as `tf-sample image` draws it.
        var image = ImageRequest(
            model: request, prompts: .one("a photo of two red circles"), output: directory.file("same.png"))
        image.settings = drawing.settings
        image.seed = 4
        _ = try image.run()
        #expect(
            try PictureFile.read(directory.file("same.png"))
                == PictureFile.read(directory.file("one/00000/samples/00001.png")))
        drawing.limit = 1
        #expect(try report(ranks: 1, "three").pictures == 5)
    }

    @Test func captionsOfADataSetAreDrawnOnce() throws {
        let model = try ModelOnDisk()
        let writer = try DatasetWriter(
            try UnfinishedDirectory(directory.file("set")),
            image: .init(channels: 3, height: 8, width: 8, element: .u8),
            tokenizer: try Tokenizer(path: Fixtures.path("tokenizer/small.model")), description: "test")
        writer.beginSplit("held_out")
        for (number, caption) in ["a circle", "two red squares", "a circle", "something else"].enumerated() {
            let image = try writer.add(image: [UInt8](repeating: UInt8(number), count: 192))
            try writer.addPair(key: "\(number)", caption: caption, image: image)
        }
        _ = try writer.finish()
        var request = LoadedModel.Request(checkpoint: model.path)
        request.threads = 1
        var drawing = CompositionDrawing(model: request, prompts: .dataset(directory.file("set"), split: "held_out"))
        drawing.settings.steps = 1
        let report = try CompositionEvaluation(.drawn(drawing)).run()
        #expect(report.prompts == 3 && report.unscored == 1 && report.colour?.total == 1 && report.position == nil)
        drawing.prompts = .dataset(directory.file("set"), split: "other")
        #expect { try CompositionEvaluation(.drawn(drawing)).run() } throws: { "\($0)".contains("no split \"other\"") }
    }

    @Test func whatCannotBeMeasuredIsALine() throws {
        func problem(_ evaluation: CompositionEvaluation) -> String {
            do { return "\(try evaluation.run())" } catch { return "\(error)" }
        }
        #expect(problem(.init(.folder(directory.path))).contains("holds neither prompts.jsonl nor directories 00000"))
        #expect(problem(.init(.folder(directory.file("none")))).contains("cannot be listed"))
        #expect(problem(.init(.folder(try folder([("a cat", "a circle")])))).contains("GenEval's own scorer"))
        try FileManager.default.removeItem(atPath: directory.file("0.png"))
        _ = try write(#"{"file": "0.png", "prompt": "a circle"}"#, to: "prompts.jsonl")
        #expect(problem(.init(.folder(directory.path))).contains("0.png"))
        _ = try write(#"{"file": "../0.png", "prompt": "a circle"}"#, to: "prompts.jsonl")
        #expect(problem(.init(.folder(directory.path))).contains("must be the name of a picture"))
        let model = try ModelOnDisk()
        func drawing(_ prompts: String) throws -> CompositionDrawing {
            CompositionDrawing(
                model: .init(checkpoint: model.path), prompts: .file(try write(prompts, to: "list.jsonl")))
        }
        #expect(problem(.init(.drawn(try drawing(#"{"prompt": "x"}"#)))).contains("list.jsonl:1: \"prompt\" and"))
        let bench = #"{"include": [{"class": "bench", "count": 1}], "prompt": "a bench"}"#
        #expect(problem(.init(.drawn(try drawing(bench)))).contains("none of the prompts is of a scene"))
        var taken = try drawing(bench)
        taken.output = directory.path
        #expect(problem(.init(.drawn(taken))).contains("exists already"))
        taken.output = nil
        taken.samples = 0
        #expect(problem(.init(.drawn(taken))).contains("samples"))
    }
}
