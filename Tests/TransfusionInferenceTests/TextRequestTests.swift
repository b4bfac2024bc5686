import Foundation
import Testing
import TransfusionConfig
import TransfusionCore
import TransfusionData
import _TestUtilities

@testable import TransfusionInference

struct TextRequestTests {
    private let model: ModelOnDisk
    private let directory: _TestUtilities.TemporaryDirectory

    init() throws {
        model = try ModelOnDisk()
        directory = try TemporaryDirectory()
    }

    private var loaded: LoadedModel.Request {
        var request = LoadedModel.Request(checkpoint: model.path)
        request.precision = .f32
        request.threads = 1
        return request
    }

    @Test func textWithAPictureInIt() throws {
        var request = TextRequest(model: loaded, prompts: .one("red circle"))
        request.text.maximumTokens = 6
        request.text.temperature = 1
        request.image.steps = 2
        request.maximumImages = 1
        request.beginsWithImage = true
        request.output = directory.file("story")
        let found = try request.run()
        #expect(found.count == 1)
        #expect(found[0].parts.first == .init(image: "000000.png"))
        #expect(found[0].readable.hasPrefix("red circle[000000.png]"))
        #expect(Files.exists(directory.file("story/000000.png")))
        #expect(Files.exists(directory.file("story/prompts.jsonl")))
    }

    /// Several texts share each pass through the model, and become what they become alone.
    @Test(arguments: [0.0, 0.9]) func textsSideBySideAreThoseOfOneByOne(_ temperature: Double) throws {
        let prompts = ["red circle", "a", "the blue square is", "green", "red", "yellow star"]
        try prompts.joined(separator: "\n").write(toFile: directory.file("six.txt"), atomically: true, encoding: .utf8)
        var request = TextRequest(model: loaded, prompts: .file(directory.file("six.txt")))
        request.text.maximumTokens = 12
        request.text.temperature = temperature
        request.text.stops = ["e"]
        request.seed = 3
        var work = TextRequest.Work()
        let together = try request.run(report: { work = $0 })
        #expect(together.map(\.prompt) == prompts && together.map(\.seed) == [3, 4, 5, 6, 7, 8])
        var tokens = 0
        for (index, prompt) in prompts.enumerated() {
            request.prompts = .one(prompt)
            request.seed = 3 + index
            let alone = try request.run(report: { tokens += $0.tokens })
            #expect(alone == [together[index]])
        }
        #expect(tokens == work.tokens && tokens > 12)
    }

    @Test func promptsOfAFileHaveSeedsOfTheirOwn() throws {
        try "red\nred\n".write(toFile: directory.file("prompts.txt"), atomically: true, encoding: .utf8)
        var request = TextRequest(model: loaded, prompts: .file(directory.file("prompts.txt")))
        request.text.maximumTokens = 20
        request.text.temperature = 2
        request.seed = 4
        let found = try request.run()
        #expect(found.map(\.seed) == [4, 5])
        #expect(found[0].parts != found[1].parts)
        #expect(try request.run() == found)
        request.prompts = .one("red")
        request.seed = 5
        #expect(try request.run()[0].parts == found[1].parts)
    }

    @Test func aStopTextEndsTheContinuationAndIsNoPartOfIt() throws {
        var request = TextRequest(model: loaded, prompts: .one("red circle"))
        request.text.maximumTokens = 24
        let whole = try #require(try request.run()[0].parts.first?.text)
        let middle = whole.index(whole.startIndex, offsetBy: whole.count / 2)
        let stop = String(whole[middle...].prefix(2))
        request.text.stops = ["never", stop]
        var streamed = "", work = TextRequest.Work()
        let found = try request.run(stream: { streamed += $0 }) { work = $0 }
        let expected = TextStream.cut(whole, before: [stop])
        #expect(expected.count < whole.count && found[0].parts == [.init(text: expected)], "\(whole)")
        #expect(streamed == "red circle\(expected)\n")
        #expect((1..<24).contains(work.tokens) && work.seconds > 0)
        // Without stop texts all of it is streamed.
        request.text.stops = []
        streamed = ""
        _ = try request.run(stream: { streamed += $0 })
        #expect(streamed == "red circle\(whole)\n")
    }

    @Test func textGoesOnWhereThePromptEnds() throws {
        let tokenizer = try Tokenizer(path: model.file("tokenizer.model"))
        let prompt = try Prompt("red circle", tokenizer)
        let more = try tokenizer.encode("of white")
        let parts = try TextRequest.readable([.text(more)], after: prompt, tokenizer) { _ in "" }
        #expect(parts == [.init(text: " of white")])
        let empty = try TextRequest.readable([.text(more)], after: Prompt("", tokenizer), tokenizer) { _ in "" }
        #expect(empty == [.init(text: "of white")])
    }

    @Test func wrongRequestsAreRefused() throws {
        func failure(_ change: (inout TextRequest) -> Void) throws -> String {
            var request = TextRequest(model: loaded, prompts: .one("red"))
            change(&request)
            return #expect(throws: (any Error).self) { try request.run() }.map { "\($0)" } ?? ""
        }
        #expect(try failure { $0.text.topP = 0 }.contains("top-p: "))
        #expect(try failure { $0.text.maximumTokens = 0 }.contains("max-tokens: "))
        #expect(try failure { $0.text.maximumTokens = TextSettings.mostTokens + 1 }.contains("max-tokens: "))
        #expect(try failure { $0.maximumImages = 1 }.contains("out"))
        let place = try TemporaryDirectory()
        #expect(try failure { $0.output = place.file("x.png") }.contains("images: "))
        #expect(
            try failure {
                $0.output = place.file("x.png")
                $0.maximumImages = 1
            }.contains("x.png: pictures in texts need a directory"))
        #expect(try FileManager.default.contentsOfDirectory(atPath: place.path).isEmpty)
        #expect(try failure { $0.maximumImages = -1 }.contains("images: "))
        #expect(try failure { $0.beginsWithImage = true }.contains("images: "))
        #expect(try failure { $0.prompts = .one(String(repeating: "word ", count: 5000)) }.contains("shorten"))
    }

    @Test func pictureIsCutToTheModelsProportions() throws {
        // Left half red, right half blue; the middle square of a wide picture is half of each.
        var wide = Picture(width: 32, height: 16, filled: SIMD3(255, 0, 0))
        wide.draw(Picture(width: 16, height: 16, filled: SIMD3(0, 0, 255)), x: 16, y: 0)
        let image = PictureCoder(pixelsOf: model.configuration).image(of: wide)
        #expect(image.count == 3 * 64)
        #expect((image[0], image[7], image[128], image[135]) == (1, -1, -1, 1))

        let exact = Picture(width: 8, height: 8, filled: SIMD3(0, 51, 255))
        let same = PictureCoder(pixelsOf: model.configuration).image(of: exact)
        #expect((same[0], same[64], same[128]) == (-1, 51 / 127.5 - 1, 1))
        let line = PictureCoder(pixelsOf: model.configuration).image(
            of: Picture(width: 1000, height: 1))
        #expect(line.allSatisfy { $0 == 1 })
    }

    @Test func captionsComeInTheOrderOfTheFiles() throws {
        let picture = Picture(width: 20, height: 30, filled: SIMD3(1, 2, 3))
        for name in ["a.png", "b.png"] { try PictureDirectory.write(picture, to: directory.file(name)) }
        var request = CaptionRequest(model: loaded, pictures: [directory.file("b.png"), directory.file("a.png")])
        request.text.maximumTokens = 5
        let captions = try request.run()
        #expect(captions.map(\.file) == request.pictures)
        #expect(captions[0].caption == captions[1].caption)
        // All that cannot be read is named.
        request.pictures += [model.file("config.json"), "/no/such.png"]
        let failure = #expect(throws: CommandFailure.self) { try request.run() }
        #expect(failure?.lines.count == 2 && failure?.lines[1].hasPrefix("/no/such.png: ") == true)
    }

    @Test func aByteOrderMarkIsNoPartOfThePrompts() throws {
        try Data("\u{FEFF}red circle\r\n\r\n blue \n".utf8).write(to: URL(filePath: directory.file("prompts.txt")))
        #expect(try PromptFile.lines(directory.file("prompts.txt")) == ["red circle", "blue"])
    }

    @Test func trainingDrawsItsPrompts() throws {
        let small = SmallModel()
        var configuration = try RunConfiguration(
            yaml: "name: x\nmodel: {preset: tiny}\ndata: {path: d}\nschedule: {steps: 1, warmup_steps: 1}\n"
                + "batch: {global_sequences: 1}",
            file: "x.yaml")
        configuration.samples.prompts = ["re", "red circle"]
        configuration.samples.diffusionSteps = 2
        // The small model has fewer tokens than the tokenizer; letters have low ids.
        let tokenizer = try Tokenizer(path: model.file("tokenizer.model"))
        let loaded = try LoadedModel(loaded)
        let samples = try TrainingSamples(configuration, tokenizer: tokenizer)
        let drawn = try samples.draw(
            loaded.generator.model, small.context, contextLength: 64, step: 17, into: RunDirectory(directory.path))
        #expect(drawn.count == 2)
        let again = try samples.draw(
            loaded.generator.model, small.context, contextLength: 64, step: 17, into: RunDirectory(directory.path))
        #expect(drawn.map(\.png) == again.map(\.png))
        let names = try FileManager.default.contentsOfDirectory(atPath: directory.file("samples/step-00000017"))
        #expect(names.sorted() == ["000000.png", "000001.png", "grid.png", "prompts.jsonl"])
    }
}
