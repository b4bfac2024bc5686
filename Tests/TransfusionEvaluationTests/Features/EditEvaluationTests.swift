import Foundation
import Testing
import TransfusionConfig
import TransfusionCore
import TransfusionData
import TransfusionParallel
import _TestUtilities

@testable import TransfusionEvaluation

/// Edits of pictures that are made by hand, so that every number is known.
@Suite struct EditEvaluationTests {
    private let directory: TemporaryDirectory

    private static let colours = [
        "red": SIMD3<UInt8>(210, 40, 40), "blue": SIMD3(40, 40, 210), "green": SIMD3(40, 160, 40),
    ]

    init() throws {
        directory = try TemporaryDirectory()
        try write([
            ("red", "make it blue", "blue", "blue"), ("blue", "make it red", "red", "blue"),
            ("red", "make it green", "green", "green"),
        ])
    }

    /// A square of 4 × 4 on white, and a grey spot outside of it.
    private func picture(_ colour: String, spot: UInt8 = 255) -> Picture {
        var picture = Picture(width: 8, height: 8)
        picture.draw(Picture(width: 4, height: 4, filled: Self.colours[colour] ?? SIMD3()), x: 2, y: 2)
        picture.draw(Picture(width: 1, height: 1, filled: SIMD3(repeating: spot)), x: 0, y: 0)
        return picture
    }

    private func write(_ edits: [(source: String, prompt: String, target: String, drawn: String)]) throws {
        for folder in ["", "/sources", "/targets"] {
            try FileManager.default.createDirectory(
                atPath: directory.path + folder, withIntermediateDirectories: true)
        }
        var lines = ""
        for (index, edit) in edits.enumerated() {
            for (name, picture) in [
                ("\(index).png", picture(edit.drawn, spot: index == 0 ? 153 : 255)),
                ("sources/\(index).png", picture(edit.source)), ("targets/\(index).png", picture(edit.target)),
            ] {
                try Data(PNG.encode(rgb: picture.rgb, width: 8, height: 8)).write(
                    to: URL(filePath: directory.file(name)))
            }
            lines +=
                #"{"file": "\#(index).png", "prompt": "\#(edit.prompt)", "source": "sources/\#(index).png", "#
                + #""target": "targets/\#(index).png"}"# + "\n"
        }
        try Data(lines.utf8).write(to: URL(filePath: directory.file("prompts.jsonl")))
    }

    @Test func distancesAndColoursAreThoseOfThePictures() throws {
        let evaluation = EditEvaluation(pictures: directory.path)
        let report = try evaluation.run()
        #expect(report.edits == 3 && report.colours == 3 && report.rightColours == 2)
        // The spot is 102 of 255 off in each channel, in one of the 48 pixels outside and of all 64.
        let spot = 102.0 / 255
        #expect(abs(try #require(report.l1Outside) - spot / 48 / 3) < 1e-12)
        // 16 of 64 pixels; red and blue differ by 170 in two channels, red and green by 170 and 120.
        let recoloured = 16.0 / 64 * 340 / (3 * 255)
        #expect(abs(report.l1 - (spot / 64 + recoloured) / 3) < 1e-12)
        #expect(abs(report.l1OfSource - (2 * recoloured + 16.0 / 64 * 290 / (3 * 255)) / 3) < 1e-12)
        #expect(report.featureDistance == nil && report.network == nil)
        #expect(try ThreadGroup.run(ranks: 2) { try evaluation.run($0, ranksOnHost: 2) } == [report, report])
    }

    @Test func coloursAreThoseOfADataSetWhereOneIsNamed() throws {
        let set = try DatasetWriter(
            try UnfinishedDirectory(directory.file("set")),
            image: .init(channels: 3, height: 8, width: 8, element: .u8),
            tokenizer: try Tokenizer(path: Fixtures.path("tokenizer/small.model")), description: "test")
        set.beginSplit("train")
        // In this data set blue is what is red elsewhere.
        for (name, colour) in [("blue", "red"), ("red", "blue"), ("green", "green")] {
            let image = try set.add(image: picture(colour).planes)
            try set.addPair(key: name, caption: name + " circle", image: image)
        }
        _ = try set.finish()
        var evaluation = EditEvaluation(pictures: directory.path)
        evaluation.data = directory.file("set")
        #expect(try evaluation.run().rightColours == 2)
        try write([("red", "make it blue", "blue", "blue")])
        #expect(try evaluation.run().rightColours == 0)
    }

    @Test func instructionsOfOtherKindsHaveNoColour() throws {
        try write([("red", "make it winter", "blue", "blue")])
        let report = try EditEvaluation(pictures: directory.path).run()
        #expect(report.colours == nil && report.rightColours == nil && report.edits == 1)
    }

    @Test func whatCannotBeMeasuredIsALine() throws {
        func problem(_ lines: String?) throws -> String {
            let list = directory.file("prompts.jsonl")
            try FileManager.default.removeItem(atPath: list)
            if let lines { try Data(lines.utf8).write(to: URL(filePath: list)) }
            do { return "\(try EditEvaluation(pictures: directory.path).run())" } catch { return "\(error)" }
        }
        let line = #"{"file": "0.png", "prompt": "x", "source": "sources/0.png", "target": "targets/0.png"}"#
        #expect(
            try problem(line.replacing(#", "target": "targets/0.png""#, with: "")).contains("\"target\" is missing"))
        #expect(try problem(line.replacing("targets/0", with: "../0")).contains("leaves the folder"))
        #expect(try problem(line.replacing("targets/0", with: "targets/9")).contains("targets/9.png"))
        let small = Picture(width: 4, height: 4)
        try Data(PNG.encode(rgb: small.rgb, width: 4, height: 4)).write(to: URL(filePath: directory.file("small.png")))
        #expect(try problem(line.replacing("targets/0", with: "small")).contains("different sizes"))
        #expect(try problem("nonsense").contains("prompts.jsonl:1: is no JSON object"))
        try FileManager.default.createDirectory(
            atPath: directory.path, withIntermediateDirectories: true)
        #expect(try problem(nil).contains("has no prompts.jsonl"))
    }
}
