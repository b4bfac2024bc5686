import Foundation
import Testing
import TransfusionConfig
import TransfusionCore
import TransfusionData
import TransfusionParallel
import _TestUtilities

@testable import TransfusionEvaluation

/// A small CLIP model of random weights, beside what transformers computes with it (`Tests/Fixtures/clip_model.py`).
@Suite struct ClipScoreEvaluationTests {
    private struct Case: Decodable {
        let text: String
        let height: Int
        let width: Int
        let ids: [Int32]
        /// Vectors of unit length.
        let image: [Double]
        let words: [Double]
        let score: Double
    }

    private let directory: TemporaryDirectory
    private let cases: [Case]
    private let path = Fixtures.path("clip_model")

    init() throws {
        directory = try TemporaryDirectory()
        cases = try JSONDecoder().decode(
            [Case].self, from: Data(contentsOf: URL(filePath: Fixtures.path("clip_model/expected.json"))))
    }

    private func picture(_ index: Int) -> Picture {
        let (height, width) = (cases[index].height, cases[index].width)
        var rgb: [UInt8] = []
        for y in 0..<height {
            for x in 0..<width {
                for c in 0..<3 { rgb.append(UInt8((y * (3 + index) + x * (5 + 2 * index) + c * 40) & 255)) }
            }
        }
        return Picture(width: width, height: height, rgb: rgb)
    }

    private func difference(_ a: [Double], _ b: [Double]) -> Double {
        a.count == b.count ? zip(a, b).map { abs($0 - $1) }.max() ?? 0 : .infinity
    }

    @Test func tokensAndVectorsAreThoseOfTransformers() throws {
        let model = try CLIPModel(path, threads: 1)
        let texts = cases.map { model.tokens($0.text) }
        for (text, expected) in zip(texts, cases) { #expect(text.ids == expected.ids, "\(expected.text)") }
        #expect(texts.map(\.isCut) == cases.map { $0.text.count > 200 || $0.text.contains("日") })
        let words = try model.embeddings(of: texts.map(\.ids))
        let images = try model.embeddings(of: cases.indices.map(picture))
        for (index, expected) in cases.enumerated() {
            #expect(difference(words[index], expected.words) < 1e-5, "\(expected.text)")
            #expect(difference(images[index], expected.image) < 1e-5, "\(expected.text)")
        }
    }

    private func writePictures(_ lines: String? = nil) throws -> String {
        let folder = directory.file("pictures")
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        var rows: [String] = []
        for index in cases.indices {
            let picture = picture(index)
            try Data(PNG.encode(rgb: picture.rgb, width: picture.width, height: picture.height))
                .write(to: URL(filePath: folder + "/\(index).png"))
            let row = ["file": "\(index).png", "prompt": cases[index].text]
            rows.append(String(decoding: try JSONEncoder().encode(row), as: UTF8.self))
        }
        try Data((lines ?? rows.joined(separator: "\n")).utf8).write(to: URL(filePath: folder + "/prompts.jsonl"))
        return folder
    }

    @Test func theScoreIsTheMeanAndTheSameOnAllRanks() throws {
        let evaluation = ClipScoreEvaluation(pictures: try writePictures(), model: path)
        let report = try evaluation.run()
        let mean = cases.map(\.score).reduce(0, +) / Double(cases.count)
        #expect(abs(100 * report.cosine - mean) < 1e-4 && report.clipScore == max(0, 100 * report.cosine))
        #expect(report.pairs == cases.count && report.cutPrompts == 2)
        #expect(try ThreadGroup.run(ranks: 2) { try evaluation.run($0, ranksOnHost: 2) } == [report, report])
    }

    /// A copy of the model with a changed file.
    private func model(_ file: String, _ change: (String) -> String?) throws -> String {
        let copy = directory.file("model")
        try? FileManager.default.removeItem(atPath: copy)
        try FileManager.default.copyItem(atPath: path, toPath: copy)
        let text = try String(contentsOfFile: copy + "/" + file, encoding: .utf8)
        try FileManager.default.removeItem(atPath: copy + "/" + file)
        if let changed = change(text) { try Data(changed.utf8).write(to: URL(filePath: copy + "/" + file)) }
        return copy
    }

    private func problem(_ pictures: String, _ model: String) -> String {
        do {
            return "\(try ClipScoreEvaluation(pictures: pictures, model: model).run())"
        } catch {
            return "\(error)"
        }
    }

    @Test func whatIsNoModelIsALine() throws {
        let pictures = try writePictures()
        for (file, says, change) in [
            (
                "config.json", "hidden_act is 'gelu', and only 'quick_gelu'",
                { $0.replacingOccurrences(of: "quick_gelu", with: "gelu") }
            ),
            (
                "config.json", "of the type 'siglip', not 'clip'",
                { $0.replacingOccurrences(of: "\"clip\"", with: "\"siglip\"") }
            ),
            (
                "config.json", "tensor visual_projection.weight has the shape [16, 32], not [17, 32]",
                {
                    $0.replacingOccurrences(
                        of: "\"projection_dim\": 16,\n  \"text", with: "\"projection_dim\": 17,\n  \"text")
                }
            ),
            ("config.json", "config.json", { _ in nil }),
            ("merges.txt", "has neither vocab.json with merges.txt", { _ in nil }),
            (
                "vocab.json", "it has no token <|endoftext|>",
                { $0.replacingOccurrences(of: "<|endoftext|>", with: "x") }
            ),
            ("merges.txt", "which is no pair of pieces", { $0 + "abc\n" }),
        ] as [(String, String, (String) -> String?)] {
            #expect(problem(pictures, try model(file, change)).contains(says), "\(says)")
        }
        #expect(problem(pictures, "/no/such").contains("/no/such: is no directory"))
        #expect(problem(path, path).contains("has no prompts.jsonl"))
        for (line, says) in [
            (#"{"file": "0.png"}"#, #":1: "file" and "prompt" must be texts"#),
            (#"{"file": "../0.png", "prompt": "a"}"#, "beside it"),
            (#"{"file": "77.png", "prompt": "a"}"#, "77.png"),
        ] {
            #expect(problem(try writePictures(line), path).contains(says))
        }
    }
}
