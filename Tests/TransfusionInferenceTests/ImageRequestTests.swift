import Foundation
import Testing
import TransfusionConfig
import TransfusionCore
import TransfusionData
import TransfusionModels
import _TestUtilities

@testable import TransfusionInference

struct ImageRequestTests {
    private let model: ModelOnDisk
    private let directory: _TestUtilities.TemporaryDirectory

    init() throws {
        model = try ModelOnDisk()
        directory = try TemporaryDirectory()
    }

    private func request(_ prompts: ImageRequest.Prompts, _ output: String) -> ImageRequest {
        var modelRequest = LoadedModel.Request(checkpoint: model.path)
        modelRequest.precision = .f32
        modelRequest.threads = 1
        var request = ImageRequest(model: modelRequest, prompts: prompts, output: directory.file(output))
        request.settings.steps = 3
        request.settings.clipsImage = true
        return request
    }

    private func png(_ path: String) throws -> [UInt8] { try Files.read(path, limit: 1 << 20) }

    @Test func onePromptBecomesOneFileThatSaysHowItWasMade() throws {
        var request = request(.one("red circle"), "circle.png")
        request.seed = 11
        request.settings.method = .ddim(eta: 0.5)
        let report = try request.run()
        #expect(report.pictures.map(\.file) == ["circle.png"])
        let bytes = try png(directory.file("circle.png"))
        let picture = try PNG.decode(bytes)
        #expect((picture.width, picture.height) == (8, 8))
        let texts = Dictionary(uniqueKeysWithValues: PNG.text(of: bytes).map { ($0.keyword, $0.text) })
        let parameters = try #require(texts["parameters"])
        #expect(
            parameters.hasPrefix("red circle\nSteps: 3, Sampler: DDIM, CFG scale: 3.0, Seed: 11, Size: 8x8, Model: "))
        let json = try #require(texts["transfusion"])
        let fields = try #require(
            try JSONSerialization.jsonObject(with: Data(json.utf8)) as? [String: Any])
        #expect(fields["prompt"] as? String == "red circle")
        #expect(fields["seed"] as? Int == 11)
        #expect(fields["eta"] as? Double == 0.5)
        #expect(fields["clip"] as? Bool == true)
    }

    @Test func whatIsForImageTokensIsRefused() throws {
        for (name, change) in [
            ("image-temperature", { $0.temperature = 1 }), ("image-top-p", { $0.topP = 1 }),
        ] as [(String, (inout ImageSettings) -> Void)] {
            var request = request(.one("red circle"), "circle.png")
            change(&request.settings)
            #expect { try request.run() } throws: { ($0 as? SettingError)?.setting == name }
        }
    }

    @Test func capitalsMakeAFileToo() throws {
        #expect(try request(.one("red"), "RED.PNG").run().pictures.map(\.file) == ["RED.PNG"])
        #expect(PNG.isPNG(try png(directory.file("RED.PNG"))))
    }

    @Test func fileOfPromptsBecomesADirectory() throws {
        try "red circle\n\n  blue heart \nred circle\n".write(
            toFile: directory.file("prompts.txt"), atomically: true, encoding: .utf8)
        var request = request(.file(directory.file("prompts.txt")), "pictures")
        request.seed = 5
        request.makesGrid = true
        let report = try request.run()
        let names = try FileManager.default.contentsOfDirectory(atPath: directory.file("pictures"))
        #expect(names.sorted() == ["000000.png", "000001.png", "000002.png", "grid.png", "prompts.jsonl"])
        #expect(report.pictures.map(\.prompt) == ["red circle", "blue heart", "red circle"])
        #expect(report.pictures.map(\.seed) == [5, 6, 7])
        #expect(report.sheet == directory.file("pictures/grid.png"))
        #expect(report.trainedColours == nil)
        let lines = try Files.readText(directory.file("pictures/prompts.jsonl")).split(separator: "\n")
        #expect(lines.first == #"{"file":"000000.png","prompt":"red circle","seed":5}"#)
        // The third picture is what the seed 7 gives by itself.
        var alone = self.request(.one("red circle"), "alone.png")
        alone.seed = 7
        _ = try alone.run()
        let third = try PNG.decode(try png(directory.file("pictures/000002.png")))
        let single = try PNG.decode(try png(directory.file("alone.png")))
        let largest = zip(third.rgb, single.rgb).map { abs(Int($0) - Int($1)) }.max() ?? 255
        #expect(largest <= 1)
        #expect(third != (try PNG.decode(try png(directory.file("pictures/000000.png")))))
    }

    @Test func dataSetBecomesASheetWithHeldOutPromptsMarked() throws {
        let path = directory.file("shapes")
        let writer = try DatasetWriter(
            try UnfinishedDirectory(path), image: .init(channels: 3, height: 8, width: 8, element: .u8),
            tokenizer: try Tokenizer(path: model.file("tokenizer.model")), description: "test")
        func add(_ caption: String, _ colour: [UInt8]) throws {
            let image = try writer.add(image: colour.flatMap { [UInt8](repeating: $0, count: 64) })
            try writer.addPair(key: caption, caption: caption, image: image)
        }
        writer.beginSplit("train")
        try add("red circle", [200, 0, 0])
        try add("blue heart", [0, 0, 200])
        try add("red circle", [190, 0, 0])
        writer.beginSplit("held_out")
        try add("blue circle", [0, 0, 210])
        _ = try writer.finish()

        let report = try request(.dataset(path, limit: nil), "pictures").run()
        #expect(report.pictures.map(\.prompt) == ["red circle", "blue heart", "blue circle"])
        #expect(report.pictures.map(\.heldOut) == [false, false, true])
        #expect(report.pictures.map(\.expectedColour) == ["red", "blue", "blue"])
        #expect(report.trainedColours?.total == 2)
        #expect(report.heldOutColours?.total == 1)
        #expect(Files.exists(directory.file("pictures/sheet.png")))
        let lines = try Files.readText(directory.file("pictures/prompts.jsonl")).split(separator: "\n")
        #expect(lines.last?.contains(#""held_out":true"#) == true)
        #expect(try request(.dataset(path, limit: 1), "fewer").run().pictures.count == 2)

        let other = try ModelOnDisk { $0.imageWidth = 12 }
        var wrong = request(.dataset(path, limit: nil), "none")
        wrong.model.checkpoint = other.path
        let failure = #expect(throws: CommandFailure.self) { try wrong.run() }
        #expect(failure?.description.contains("8 × 8 × 3") == true)
        #expect(!Files.exists(directory.file("none")))
    }

    @Test func colourShareCountsPromptsThatNameAColour() {
        func record(_ expected: String?, _ found: String?) -> PictureRecord {
            PictureRecord(prompt: "", seed: 0, expectedColour: expected, colour: found)
        }
        let share = ImageRequest.ColourShare([
            record("red", "red"), record("red", "blue"), record("blue", nil), record(nil, "red"),
            record("blue", "blue"),
        ])
        #expect(share?.right == 2 && share?.total == 4)
        #expect(share?.description == "2 of 4 (50.0 %)")
        #expect(ImageRequest.ColourShare([record(nil, "red")]) == nil)
    }

    @Test func wrongRequestsAreRefusedBeforeAnythingIsWritten() throws {
        func failure(_ change: (inout ImageRequest) -> Void) throws -> String {
            var request = request(.one("red"), "new.png")
            change(&request)
            let failure = #expect(throws: (any Error).self) { try request.run() }
            #expect(!Files.exists(directory.file("new.png")))
            return failure.map { "\($0)" } ?? ""
        }
        #expect(try failure { $0.settings.steps = 0 }.contains("steps: "))
        #expect(try failure { $0.makesGrid = true }.contains("grid: "))
        #expect(try failure { $0.prompts = .file("/no/such/file") }.contains("need a directory"))
        #expect(
            try failure {
                $0.prompts = .file("/no/such/file")
                $0.output = directory.file("dir")
            }.contains("/no/such/file"))
        let long = String(repeating: "word ", count: 5000)
        #expect(try failure { $0.prompts = .one(long) }.contains("shorten the prompt"))
        #expect(
            try failure { $0.output = directory.path + "/missing/../../../../proc/x.png" }.contains("another place"))
        // Before the model is loaded: there is none.
        for (output, message) in [
            ("nowhere/x/new.png", "there is no directory \(directory.file("nowhere/x"))"),
            ("new.jpg", "ends in .png"), ("new.JPEG", "ends in .png"),
        ] {
            let found = try failure {
                $0.output = directory.file(output)
                $0.model.checkpoint = "/no/such/run"
            }
            #expect(found.contains(message), "\(found)")
            #expect(!Files.exists(directory.file(output)))
        }
        #expect(try failure { $0.model.threads = 0 }.contains("threads: "))
        let latents = try ModelOnDisk { $0.imageChannels = 8 }
        #expect(try failure { $0.model.checkpoint = latents.path }.contains("8 channels"))
        let vocabulary = try ModelOnDisk { $0.vocabulary = 410 }
        #expect(try failure { $0.model.checkpoint = vocabulary.path }.contains("410 tokens"))

        try Data("kept".utf8).write(to: URL(filePath: directory.file("old.png")))
        var onto = request(.one("red"), "old.png")
        onto.seed = 1
        #expect(throws: CommandFailure.self) { try onto.run() }
        #expect(try png(directory.file("old.png")) == Array("kept".utf8))
    }
}
