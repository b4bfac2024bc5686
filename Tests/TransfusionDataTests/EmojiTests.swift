import Foundation
import Testing
import _TestUtilities

@testable import TransfusionData

@Suite struct EmojiTests {
    /// A little WordNet, so that tests need not read the large one.
    static func wordNet(in directory: TemporaryDirectory) throws -> String {
        let path = directory.file("wordnet")
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        for (number, kind) in ["noun", "verb", "adj", "adv"].enumerated() {
            var lines = ["  1 This software and database is being provided to you\n"]
            for index in 0..<60 {
                lines.append(
                    "0000\(index) 03 n 02 owl_\(kind) 0 bird_of_\(index)(p) 1 000 | the quality of being \(number) or \(index)  \n"
                )
            }
            try lines.joined().write(toFile: path + "/data." + kind, atomically: true, encoding: .utf8)
        }
        return path
    }

    static func settings(_ subset: EmojiDataset.Subset, in directory: TemporaryDirectory) throws -> EmojiDataset {
        var settings = EmojiDataset(subset: subset)
        settings.pieces = 340
        settings.wordNetDirectory = try wordNet(in: directory)
        return settings
    }

    @Test func namesSayColourAndShape() {
        #expect(ShapeName("red circle").map { [$0.colour, $0.shape] } == ["red", "circle"])
        #expect(ShapeName("black medium-small square").map { [$0.colour, $0.shape] } == ["black", "square"])
        #expect(ShapeName("light blue heart")?.colour == "light blue")
        #expect(ShapeName("large orange diamond")?.colour == "orange")
        for name in ["heart", "broken heart", "hollow red circle", "circled M", "redcircle", "red  "] {
            #expect(ShapeName(name) == nil)
        }
    }

    @Test func definitionsAreReadAsWordsAndGloss() {
        let line: Substring =
            "01621127 05 n 02 owl 0 bird_of_Minerva 0 002 @ 01604330 n 0000 | nocturnal bird of prey; \"a\"  "
        #expect(WordNet.text(of: line) == "owl, bird of Minerva: nocturnal bird of prey; \"a\"")
        for damaged in ["", "a b", "0 0 n zz owl 0 | gloss", "0 0 n 09 owl 0 | gloss", "0 0 n 01 owl 0 |  "] {
            #expect(WordNet.text(of: damaged[...]) == nil)
        }
    }

    @Test func everyEmojiHasAGlyphAndEverySkinToneABase() throws {
        let list = try EmojiList()
        let font = try EmojiFont()
        #expect(list.emoji.count > 3500)
        var missing: [String] = []
        for emoji in list.emoji {
            if font.glyph(of: emoji.scalars) == nil { missing.append(emoji.name) }
            let base = list.base(of: emoji)
            if emoji.hasSkinTone, base.map({ list.emoji[$0].hasSkinTone }) ?? true {
                missing.append("base of " + emoji.name)
            }
        }
        #expect(missing == [])
        // A sequence is its own picture, not that of its first part.
        let waving = try #require(list.emoji.first { $0.name == "waving hand: dark skin tone" })
        #expect(font.picture(of: waving.scalars) != font.picture(of: Array(waving.scalars.prefix(1))))
        #expect(font.picture(of: [0x1F1E9, 0x1F1EA]) != font.picture(of: [0x1F1EB, 0x1F1F7]))
        #expect(font.picture(of: [0x41, 0x42]) == nil)
        #expect(font.picture(of: []) == nil)
    }

    @Test func damagedGlyphTablesAreNoCrash() throws {
        let table = try #require(FontFace(EmojiFont.defaultPath, package: "").table("GSUB"))
        for count in [0, 1, 9, 10, 40, 300, table.count / 2] { _ = GlyphLigatures(Array(table.prefix(count))) }
        for place in stride(from: 0, to: 400, by: 3) {
            var damaged = Array(table.prefix(20_000))
            damaged[place] = 0xFF
            _ = GlyphLigatures(damaged)
        }
        #expect(GlyphLigatures(Array(table.prefix(9))).glyph(for: [1, 2]) == nil)
    }

    @Test func shapesAreBuiltWithSomeHeldOutAndAllColoursAreRight() throws {
        let directory = try TemporaryDirectory()
        let report = try Self.settings(.shapes, in: directory).build(at: directory.file("shapes"))
        #expect(report.pairs["train"] == 39)
        #expect(report.pairs["held_out"] == 3)
        #expect(report.withoutPicture.isEmpty)
        #expect(report.documents == ["train": 236, "validation": 4, "held_out": 0])
        #expect(PackedDataset.verify(directory.file("shapes")).isEmpty)

        let dataset = try PackedDataset(directory.file("shapes"))
        let heldOut = try dataset.split("held_out").pairRange.map { try dataset.captionText(dataset.pair($0)) }
        #expect(Set(heldOut) == Set(EmojiDataset.defaultHeldOut))
        let colours = try #require(try DominantColour(dataset: dataset))
        var wrong: [String] = []
        for index in 0..<dataset.manifest.pairs {
            let pair = try dataset.pair(index)
            let caption = try dataset.captionText(pair)
            let named = colours.name(of: try dataset.picture(pair.image))
            if named != ShapeName(caption)?.colour { wrong.append("\(caption): \(named ?? "none")") }
        }
        #expect(wrong == [])
        #expect(colours.name(of: Picture(width: 8, height: 8)) == nil)
        // Built again, it is the same data set.
        let again = try Self.settings(.shapes, in: directory).build(at: directory.file("again"))
        #expect(again.digest == report.digest)
    }

    @Test func editsOfShapesShowEachOtherColour() throws {
        let directory = try TemporaryDirectory()
        var settings = try Self.settings(.shapes, in: directory)
        settings.hasEdits = true
        let report = try settings.build(at: directory.file("edits"))
        let dataset = try PackedDataset(directory.file("edits"))
        let colours = try #require(try DominantColour(dataset: dataset)), keys = try dataset.keys()
        var held: Set<Int> = [], trained: Set<Int> = [], seen: Set<[Int]> = []
        for split in dataset.manifest.splits {
            #expect(report.edits[split.name] == split.edits ?? 0)
            for index in split.pairRange {
                let pair = try dataset.pair(index), caption = try dataset.captionText(pair)
                let images = [pair.original, pair.image].compactMap(\.self)
                if split.name == "held_out" { held.insert(pair.image) } else { trained.formUnion(images) }
                guard let original = pair.original else { continue }
                #expect(seen.insert([original, pair.image]).inserted)
                // The colour that is asked for is that of the target, and not of the original.
                let asked = ShapeName.colour(askedBy: caption)
                let shown = try [pair.image, original].map { colours.name(of: try dataset.picture($0)) }
                #expect(asked != nil && asked == shown[0] && asked != shown[1], "\(keys[index])")
                if split.name == "held_out" {
                    #expect(EmojiDataset.defaultHeldOut.contains { keys[index].contains($0) }, "\(keys[index])")
                }
            }
        }
        #expect(seen.count > 200 && (report.edits["validation"] ?? 0) > 20)
        let unseen = EmojiDataset.defaultHeldOut.count
        #expect(held.subtracting(trained).count == unseen)
        #expect(PackedDataset.verify(dataset.path).isEmpty)
    }

    @Test func skinTonesAreEditsOfTheirBase() throws {
        let directory = try TemporaryDirectory()
        var settings = try Self.settings(.all, in: directory)
        settings.size = 8
        settings.hasEdits = true
        let report = try settings.build(at: directory.file("all"))
        let dataset = try PackedDataset(directory.file("all"))
        let index = try #require(try dataset.keys().firstIndex(of: "waving hand → waving hand: medium skin tone"))
        let pair = try dataset.pair(index), base = try #require(try dataset.keys().firstIndex(of: "1F44B"))
        #expect(try dataset.captionText(pair) == "give it a medium skin tone")
        #expect(pair.original == (try dataset.pair(base).image))
        #expect((report.edits["train"] ?? 0) > 500 && (report.edits["validation"] ?? 0) > 0)
        #expect(report.edits["variants"] == 0)
    }

    @Test func facesKeepSkinTonesApart() throws {
        let directory = try TemporaryDirectory()
        var settings = try Self.settings(.faces, in: directory)
        settings.size = 8
        let report = try settings.build(at: directory.file("faces"))
        #expect((report.pairs["train"] ?? 0) > 80)
        #expect(report.pairs["validation"] == 2)
        #expect(report.pairs["held_out"] == nil)
        #expect(report.variantsWithoutBase == 0)
    }

    /// Flags of islands are those of the states that they belong to.
    @Test func emojiThatLookAlikeAreStoredOnceAndGoTogether() throws {
        let directory = try TemporaryDirectory()
        var settings = try Self.settings(.all, in: directory)
        settings.size = 8
        settings.heldOut = ["flag: Norway"]
        let report = try settings.build(at: directory.file("all"))
        let dataset = try PackedDataset(directory.file("all"))
        var splitOf: [Int: String] = [:]
        for name in ["train", "validation", "held_out"] {
            for index in try dataset.split(name).pairRange {
                let pair = try dataset.pair(index)
                let image = pair.image, caption = try dataset.captionText(pair)
                #expect((splitOf[image] ?? name) == name, "\(caption)")
                splitOf[image] = name
            }
        }
        #expect(splitOf.count < report.pairs.values.reduce(0, +))
        let heldOut = try dataset.split("held_out").pairRange.map { try dataset.captionText(dataset.pair($0)) }
        #expect(Set(heldOut) == ["flag: Norway", "flag: Bouvet Island", "flag: Svalbard & Jan Mayen"])
        #expect(PackedDataset.verify(directory.file("all")).isEmpty)
    }

    @Test func whatIsMissingIsNamed() throws {
        let directory = try TemporaryDirectory()
        let changes: [(String, (inout EmojiDataset) -> Void)] = [
            ("fonts-noto-color-emoji", { $0.fontPath = "/nowhere.ttf" }),
            ("unicode-data", { $0.namesPath = "/nowhere" }),
            ("wordnet-base", { $0.wordNetDirectory = "/nowhere" }), ("--size", { $0.size = 4 }),
            ("\"red owl\"", { $0.heldOut = ["red owl"] }), ("CBDT", { $0.fontPath = LabelFont.defaultPath }),
            ("259", { $0.pieces = 100 }),
        ]
        for (word, change) in changes {
            var settings = try Self.settings(.shapes, in: directory)
            change(&settings)
            #expect("\(word)") { try settings.build(at: directory.file("out")) } throws: { "\($0)".contains(word) }
        }
        #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path) == ["wordnet"])
    }
}
