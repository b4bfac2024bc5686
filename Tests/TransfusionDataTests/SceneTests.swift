import Foundation
import Testing
import TransfusionCore
import _TestUtilities

@testable import TransfusionData

/// Scenes of shapes: their captions, their pictures, and what is found in them.
@Suite struct SceneTests {
    /// Of all kinds.
    private static let descriptions = (0..<300).map { index in
        var choices = SceneChoices(seed: 77, index: index)
        return SceneDescription(kind: index, &choices)
    }

    @Test func captionsSayWhatTheScenesAre() {
        typealias Group = SceneDescription.Group
        #expect(SceneDescription("two red circles")?.groups == [Group(.circle, count: 2, colour: .red)])
        #expect(SceneDescription("an orange diamond")?.groups == [Group(.diamond, colour: .orange)])
        #expect(SceneDescription("a circle and a square")?.groups == [Group(.circle), Group(.square)])
        #expect(
            SceneDescription("a red circle left of a blue square")?.groups == [
                Group(.square, colour: .blue),
                Group(.circle, colour: .red, position: .init(.leftOf, of: 0)),
            ])
        for description in Self.descriptions {
            #expect(SceneDescription(description.caption) == description, "\(description.caption)")
        }
        let tags = ["single_object", "two_object", "counting", "colors", "position", "color_attr"]
        #expect(Set(Self.descriptions.map(\.tag)) == Set(tags))
        for caption in [
            "", "red circle", "a cat", "a pink circle", "two circle", "five circles", "a red circle left of",
            "a circle and ",
            "a circle left of a square left of a diamond", "the circle", "a red blue circle",
        ] {
            #expect(SceneDescription(caption) == nil, "\(caption)")
        }
    }

    @Test(arguments: [(32, 300), (47, 90), (96, 30)]) func everySceneIsFoundAndRight(size: Int, count: Int) {
        for (index, description) in Self.descriptions.prefix(count).enumerated() {
            let scene = Scene(description, size: size, seed: 1, index: index)
            let found = SceneFinder.objects(in: scene.picture)
            #expect(found.count == scene.objects.count, "\(description.caption)")
            #expect(scene.objects.allSatisfy(found.contains), "\(description.caption): \(found)")
            #expect(description.rightAspects(of: found) == description.aspects, "\(description.caption)")
        }
    }

    /// A picture of something else is wrong in what differs, and right in everything else.
    @Test func whatIsWrongIsFoundToBe() throws {
        var changed: [SceneAspects: Int] = [:]
        func expect(_ description: SceneDescription, drawn: SceneDescription, index: Int, wrong: SceneAspects) {
            let found = SceneFinder.objects(in: Scene(drawn, size: 32, seed: 2, index: index).picture)
            #expect(
                description.rightAspects(of: found) == description.aspects.subtracting(wrong),
                "\(description.caption), drawn as \(drawn.caption)")
            changed[wrong, default: 0] += 1
        }
        for (index, description) in Self.descriptions.enumerated() {
            var other = description
            if description.groups.reduce(0, { $0 + $1.count }) < 4, !description.aspects.contains(.position) {
                other.groups[0].count += 1
                expect(description, drawn: other, index: index, wrong: .count)
            }
            other = description
            if description.aspects.contains(.colour) {
                other.groups[0].colour = SceneColour.allCases.first { colour in
                    !description.groups.contains { $0.colour == colour }
                }
                expect(description, drawn: other, index: index, wrong: .colour)
            }
            other = description
            if let position = description.groups.last?.position {
                let opposite: SceneRelation =
                    switch position.relation {
                    case .leftOf: .rightOf
                    case .rightOf: .leftOf
                    case .above: .below
                    case .below: .above
                    }
                other.groups[1].position?.relation = opposite
                expect(description, drawn: other, index: index, wrong: .position)
            }
            other = description
            if description.groups.count == 1 {
                other.groups[0].shape = SceneShape.allCases.first { $0 != description.groups[0].shape } ?? .circle
                // What is not there has no colour either, and what is there was not asked for.
                expect(
                    description, drawn: other, index: index,
                    wrong: description.aspects.intersection([.presence, .count, .colour]))
            }
        }
        #expect(changed.values.allSatisfy { $0 >= 40 } && changed.count == 5, "\(changed)")
        // Colours that changed places: each is there, and each is wrong.
        let pair = try #require(SceneDescription("a red circle and a blue square"))
        let swapped = try #require(SceneDescription("a blue circle and a red square"))
        expect(pair, drawn: swapped, index: 0, wrong: .colour)
        let three = try #require(SceneDescription("two red circles and a blue circle"))
        let others = try #require(SceneDescription("two blue circles and a red circle"))
        expect(three, drawn: others, index: 0, wrong: .colour)
        let emptiness = SceneFinder.objects(in: Picture(width: 32, height: 32))
        #expect(emptiness.isEmpty && pair.rightAspects(of: emptiness) == [])
    }

    @Test func noiseAndSpecksChangeNothing() {
        for (index, description) in Self.descriptions.prefix(120).enumerated() {
            var picture = Scene(description, size: 32, seed: 3, index: index).picture
            let random = Philox(seed: 5, purpose: .noise, index: index)
            for place in picture.rgb.indices {
                let value = Int(picture.rgb[place]) + random.integer(below: 61, at: place) - 30
                picture.rgb[place] = UInt8(max(0, min(255, value)))
            }
            picture[0, 0] = SIMD3(0, 0, 0)
            picture[31, 31] = SIMD3(250, 0, 0)
            let found = SceneFinder.objects(in: picture)
            #expect(description.rightAspects(of: found) == description.aspects, "\(description.caption)")
        }
        // A bar is an object, and no shape.
        var bar = Picture(width: 32, height: 32)
        bar.draw(Picture(width: 20, height: 4, filled: SIMD3(220, 30, 40)), x: 5, y: 5)
        #expect(SceneFinder.objects(in: bar).map(\.shape) == [nil])
    }

    @Test func dataSetsHoldCaptionsOutAndSayTheTruth() throws {
        let directory = try TemporaryDirectory()
        var settings = SceneDataset()
        settings.scenes = 300
        settings.pieces = 340
        settings.wordNetDirectory = try EmojiTests.wordNet(in: directory)
        let report = try settings.build(at: directory.file("scenes"))
        #expect(report.pairs == ["train": 300, "validation": 8, "held_out": 24])
        #expect(report.documents == ["train": 236, "validation": 4, "held_out": 0])
        #expect(PackedDataset.verify(directory.file("scenes")).isEmpty)
        let dataset = try PackedDataset(directory.file("scenes"))
        var captions: [String: [String]] = [:], aspects: SceneAspects = []
        for split in dataset.manifest.splits {
            for index in split.pairRange {
                let pair = try dataset.pair(index), caption = try dataset.captionText(pair)
                let description = try #require(SceneDescription(caption), "\(caption)")
                let found = SceneFinder.objects(in: try dataset.picture(pair.image))
                #expect(description.rightAspects(of: found) == description.aspects, "\(caption)")
                captions[split.name, default: []].append(caption)
                if split.name == "held_out" { aspects.formUnion(description.aspects) }
            }
        }
        let heldOut = try #require(captions["held_out"])
        #expect(Set(heldOut).count == 24 && aspects == [.presence, .count, .colour, .position])
        for split in ["train", "validation"] { #expect(Set(heldOut).isDisjoint(with: captions[split] ?? heldOut)) }
        #expect(try settings.build(at: directory.file("again")).digest == report.digest)
        settings.size = 31
        #expect { try settings.build(at: directory.file("small")) } throws: { "\($0)".contains("--size: 31") }
        settings.size = 32
        settings.scenes = 0
        #expect { try settings.build(at: directory.file("none")) } throws: { "\($0)".contains("--scenes: 0") }
    }
}
