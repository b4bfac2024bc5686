import Foundation
import Testing
import TransfusionConfig
import TransfusionData
import TransfusionInference
import TransfusionModels
import TransfusionParallel
import _TestUtilities

@testable import TransfusionEvaluation

/// The suite on a small model: what it measures, and what it does not do twice.
@Suite struct SuiteEvaluationTests {
    private let directory: TemporaryDirectory
    private let model: ModelOnDisk
    private let captions = [
        "a red circle", "two blue squares", "a circle and a square", "a green diamond", "three black triangles",
        "a red circle left of a blue square", "a yellow square", "a purple circle", "a triangle", "an orange circle",
    ]

    init() throws {
        directory = try TemporaryDirectory()
        model = try ModelOnDisk()
        let writer = try DatasetWriter(
            try UnfinishedDirectory(directory.file("set")),
            image: .init(channels: 3, height: 8, width: 8, element: .u8),
            tokenizer: try Tokenizer(path: Fixtures.path("tokenizer/small.model")), description: "test")
        writer.beginSplit("validation")
        for (number, caption) in captions.enumerated() {
            let image = try writer.add(image: (0..<192).map { UInt8(($0 * (number + 3)) % 256) })
            try writer.addPair(key: "\(number)", caption: caption, image: image)
            if number == 0 { try writer.addPair(key: "again", caption: "one red circle", image: image) }
        }
        for number in 0..<3 { try writer.addDocument("text \(number) is the quality of being white") }
        _ = try writer.finish()
        try FileManager.default.copyItem(
            atPath: Fixtures.path("texts/documents.jsonl"), toPath: directory.file("pages.jsonl"))
    }

    private func suite(_ output: String) -> SuiteEvaluation {
        var request = LoadedModel.Request(checkpoint: model.path)
        request.precision = .f32
        request.threads = 1
        var suite = SuiteEvaluation(model: request)
        suite.output = directory.file(output)
        suite.data = directory.file("set")
        suite.settings.steps = 2
        suite.captionTokens = 6
        return suite
    }

    private func contents(_ name: String) throws -> Data { try Data(contentsOf: URL(filePath: directory.file(name))) }

    /// Runs it alone, and gives what it said it does.
    private func said(_ suite: SuiteEvaluation) throws -> (report: SuiteReport, lines: [String]) {
        var lines: [String] = []
        let report = try suite.run(say: { lines.append($0) })
        return (try #require(report), lines)
    }

    @Test func allMeasuresAreThoseOfTheirOwnCommandsOnAnyNumberOfRanks() throws {
        var suite = suite("one")
        suite.texts = [directory.file("pages.jsonl")]
        suite.context = 24
        suite.tasks = [Fixtures.path("texts/questions.jsonl")]
        suite.clip = Fixtures.path("clip_model")
        suite.features = .random
        let (report, lines) = try said(suite)
        #expect(lines.count == 8 && lines[0] == "[1/8] pictures", "\(lines)")
        #expect(report.leftOut.isEmpty && report.pictures == 10)
        #expect(
            report.table.map(\.measure) == [
                "perplexity", "accuracy", "CIDEr", "Fréchet distance, random features", "CLIP score", "composition",
            ])
        var perplexity = PerplexityEvaluation(model: suite.model, files: suite.texts)
        perplexity.context = 24
        #expect(try report.table[0].value == perplexity.run().tokenPerplexity)
        let cider = try CaptionEvaluation(
            references: directory.file("one/references.json"), candidates: directory.file("one/captions.json")
        ).run()
        #expect(report.table[2].value == 100 * cider.scores.cider && cider.references == 11)
        let drawn = CompositionEvaluation(.folder(directory.file("one/pictures")))
        #expect(try report.table[5].value == 100 * #require(drawn.run().all).accuracy)
        // Captions are those of `tf-sample caption`.
        var request = CaptionRequest(model: suite.model, pictures: [directory.file("one/real/000003.png")])
        request.text.maximumTokens = 6
        let caption = try #require(try request.run().first?.caption)
        let list = try #require(
            try JSONSerialization.jsonObject(with: contents("one/captions.json")) as? [[String: Any]])
        #expect(list.count == 10 && list[3]["caption"] as? String == caption)

        var shared = suite
        shared.output = directory.file("two")
        let other = shared
        let reports = try ThreadGroup.run(ranks: 2, timeout: .seconds(400)) { try other.run($0, ranksOnHost: 2) }
        #expect(reports == [report, nil])
        let pictures = captions.indices.flatMap { ["pictures/00000\($0).png", "real/00000\($0).png"] }
        for name in ["report.json", "report.md", "sheet.png", "pictures/prompts.jsonl"] + pictures {
            #expect(try contents("one/" + name) == contents("two/" + name), "\(name)")
        }
        let page = String(decoding: try contents("one/report.md"), as: UTF8.self)
        #expect(page.contains("| I → T | captions | CIDEr |") && page.contains("![](sheet.png)"))
    }

    @Test func whatIsDoneIsNotDoneAgain() throws {
        var suite = suite("out")
        suite.texts = [directory.file("pages.jsonl")]
        suite.context = 24
        let first = try said(suite)
        #expect(first.report.leftOut.map(\.measure) == ["Fréchet distance", "CLIP score", "ranked answers"])
        let again = try said(suite)
        #expect(again.report == first.report)
        #expect(again.lines == first.lines.map { $0 + ": is done already" }, "\(again.lines)")

        // Of a text that has changed.
        try FileManager.default.removeItem(atPath: directory.file("pages.jsonl"))
        try Data(#"{"text": "a red circle"}"#.utf8).write(to: URL(filePath: directory.file("pages.jsonl")))
        let changed = try said(suite)
        #expect(changed.lines.filter { !$0.hasSuffix("already") } == ["[5/5] perplexity-pages"])
        #expect(changed.report.table[0] != first.report.table[0])
        #expect(changed.report.table.dropFirst() == first.report.table.dropFirst())

        // Stopped while pictures were drawn: those of whole groups stay, and the result is the same.
        let picture = try contents("out/pictures/000002.png")
        for name in ["parts/pictures.json", "pictures/000002.png", "pictures/prompts.jsonl"] {
            try FileManager.default.removeItem(atPath: directory.file("out/" + name))
        }
        try Data("kept".utf8).write(to: URL(filePath: directory.file("out/pictures/000009.png")))
        #expect { try said(suite) } throws: { "\($0)".contains("000009.png") }
        #expect(try contents("out/pictures/000009.png") == Data("kept".utf8))
        #expect(try contents("out/pictures/000002.png") == picture)

        // Other pictures are drawn anew, and what does not look at them stays.
        suite.seed = 5
        let other = try said(suite)
        #expect(
            other.lines.filter { !$0.hasSuffix("already") } == ["[1/5] pictures", "[4/5] composition"], "\(other.lines)"
        )
        #expect(try contents("out/pictures/000002.png") != picture)
        #expect(try PictureFile.read(directory.file("out/pictures/000009.png")).width == 8)
    }

    @Test func whatIsMissingIsLeftOutAndSaid() throws {
        var suite = suite("few")
        suite.limit = 1
        suite.features = .random
        var report = try said(suite).report
        #expect(report.pictures == 1 && report.leftOut.first?.reason == "one picture is too few")
        // The texts of the split, when no others are given.
        #expect(report.table.first?.benchmark == "validation" && report.table.first?.measure == "perplexity")

        let textOnly = try ModelOnDisk { $0 = $0.withoutImages }
        suite = self.suite("texts")
        suite.model.checkpoint = textOnly.path
        report = try said(suite).report
        #expect(report.pictures == nil && report.table.map(\.measure) == ["perplexity"])
        #expect(Set(report.leftOut.dropLast().map(\.reason)) == ["the model has no images"])
        #expect(!Files.exists(directory.file("texts/sheet.png")))
    }

    @Test func whatCannotBeDoneIsALine() throws {
        func problem(_ change: (inout SuiteEvaluation) -> Void) -> String {
            var suite = suite("bad")
            change(&suite)
            do { return "\(String(describing: try suite.run()))" } catch { return "\(error)" }
        }
        #expect(problem { $0.output = nil }.contains("out: is needed for a model that is of no run"))
        #expect(problem { $0.texts = ["/no/such.txt"] }.contains("/no/such.txt: is not there"))
        #expect(problem { $0.tasks = ["/a/x.jsonl"] }.contains("/a/x.jsonl: is not there"))
        #expect(problem { $0.data = "/no/set" }.contains("/no/set"))
        #expect(problem { $0.split = "test" }.contains("no split \"test\""))
        #expect(problem { $0.settings.steps = 0 }.contains("steps"))
        let pages = directory.file("pages.jsonl")
        #expect(problem { $0.texts = [pages, pages] }.contains("are all called 'pages'"))
        #expect(problem { $0.output = directory.path }.contains("holds other things than a suite"))
        #expect(problem { $0.captionTokens = 0 }.contains("max-tokens"))
    }
}
