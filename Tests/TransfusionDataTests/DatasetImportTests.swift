import Foundation
import Testing
import _TestUtilities

@testable import TransfusionData

@Suite struct DatasetImportTests {
    let directory: TemporaryDirectory

    init() throws {
        directory = try TemporaryDirectory()
        try FileManager.default.createDirectory(
            atPath: directory.file("pictures/sub"), withIntermediateDirectories: true)
        for (name, colour) in [("a.png", SIMD3<UInt8>(255, 0, 0)), ("sub/b.png", SIMD3(0, 0, 255))] {
            let picture = Picture(width: 20, height: 12, filled: colour)
            let bytes = try PNG.encode(rgb: picture.rgb, width: 20, height: 12)
            try Files.write(bytes, to: directory.file("pictures/" + name))
        }
        try Files.write(Array("no picture".utf8), to: directory.file("pictures/c.jpg"))
        try Files.write([], to: directory.file("pictures/unnamed.png"))
        try write(
            "{\"file_name\": \"a.png\", \"text\": \"a red field\"}\n\n{\"file_name\": \"sub/b.png\", \"text\": \"blue\"}\n",
            "pictures/metadata.jsonl")
        try write(
            (0..<120).map { "{\"text\": \"line \($0) of a text\", \"url\": null}\n" }.joined() + "{\"text\": \"\"}",
            "text.jsonl")
    }

    func write(_ text: String, _ name: String) throws {
        try Files.write(Array(text.utf8), to: directory.file(name))
    }

    var settings: DatasetImport {
        var settings = DatasetImport()
        settings.folders = [directory.file("pictures")]
        settings.texts = [directory.file("text.jsonl")]
        settings.size = 8
        settings.pieces = 290
        return settings
    }

    @Test func picturesAndTextsAreImported() throws {
        let report = try settings.build(at: directory.file("out"))
        #expect(report.pairs == ["train": 2, "validation": 0])
        #expect(report.documents == ["train": 118, "validation": 2])
        #expect(report.emptyTexts == 1)
        #expect(report.picturesWithoutCaption == 2)
        let dataset = try PackedDataset(directory.file("out"))
        #expect(try dataset.keys() == ["a.png", "sub/b.png"])
        #expect(try dataset.captionText(dataset.pair(0)) == "a red field")
        #expect(try dataset.picture(1) == Picture(width: 8, height: 8, filled: SIMD3(0, 0, 255)))
        #expect(try dataset.tokenizer.decode(dataset.document(1)) == "line 1 of a text")
        #expect(PackedDataset.verify(directory.file("out")).isEmpty)
    }

    /// JPEG and WebP beside PNG, turned, and brought to their size as asked for: as Pillow does it.
    @Test(arguments: Picture.Fit.allCases) func picturesOfEveryFormatGetTheWantedSize(_ fit: Picture.Fit) throws {
        let value = try #require(PictureKindTests.cases()["jpeg exif 8 lanczos 5"])
        try Files.write(#require(value.file), to: directory.file("pictures/a.png"))
        try write("{\"file_name\": \"a.png\", \"text\": \"x\"}", "pictures/metadata.jsonl")
        var settings = settings
        settings.size = 5
        settings.fit = fit
        settings.filter = .lanczos
        _ = try settings.build(at: directory.file("out"))
        #expect(try PackedDataset(directory.file("out")).picture(0) == value.pictures[fit.rawValue])
    }

    @Test(arguments: [
        ("{\"file_name\": \"no.png\", \"text\": \"x\"}", "metadata.jsonl:1: there is no file no.png"),
        ("{\"file_name\": \"../text.jsonl\", \"text\": \"x\"}", "metadata.jsonl:1: ../text.jsonl leaves"),
        ("{\"file_name\": \"a.png\", \"text\": 7}", "metadata.jsonl:1: \"text\" is a number"),
        ("\n{\"file_name\": \"a.png\"}", "metadata.jsonl:2: \"text\" is missing"),
        ("nonsense", "metadata.jsonl:1: is not a JSON object"), ("", "metadata.jsonl: names no picture"),
        ("{\"file_name\": \"c.jpg\", \"text\": \"x\"}", "c.jpg: is no PNG, JPEG, WebP or GIF picture"),
        ("{\"file_name\": \"unnamed.png\", \"text\": \"x\"}", "unnamed.png: is no PNG, JPEG, WebP or GIF picture"),
    ])
    func badMetadataIsRefusedWithItsLine(_ metadata: String, _ message: String) throws {
        try write(metadata, "pictures/metadata.jsonl")
        #expect { try settings.build(at: directory.file("out")) } throws: { "\($0)".contains(message) }
        #expect(!Files.exists(directory.file("out")))
        let left = try FileManager.default.contentsOfDirectory(atPath: directory.path)
        #expect(left.sorted() == ["pictures", "text.jsonl"])
    }

    @Test func whatTheTokenizerCannotLearnIsTold() throws {
        let run = String(repeating: "=", count: 40_000)
        try write("{\"text\": \"\(run)\"}\r\n{\"text\": \"a word\\u0000\"}\r\n", "text.jsonl")
        var settings = settings
        settings.pieces = 4096
        let report = try settings.build(at: directory.file("out"))
        #expect(report.documents["train"] == 2)
        #expect(report.tokenizerNotes.first?.hasPrefix("one run of more than 1024 letters") == true)
        #expect(report.tokenizerNotes.last?.hasSuffix("4096 were asked for") == true)
        let dataset = try PackedDataset(directory.file("out"))
        #expect(try dataset.tokenizer.decode(dataset.document(0)) == run)
    }

    @Test(arguments: ["{\"text\": \"\\ud800\"}", "{\"text\": \"\u{0}\"}", "{\"text\": 7}"])
    func aLineThatIsNoTextIsNamed(_ line: String) throws {
        try write("{\"text\": \"good\"}\n" + line, "text.jsonl")
        #expect { try settings.build(at: directory.file("out")) } throws: { "\($0)".contains("text.jsonl:2: ") }
    }

    /// With a given tokenizer and with one to be trained.
    @Test(arguments: [true, false]) func nothingToTrainOnIsRefused(_ hasTokenizer: Bool) throws {
        var settings = settings
        settings.folders = []
        if hasTokenizer { settings.tokenizerPath = Fixtures.path("tokenizer/small.model") }
        for text in ["", "{\"text\": \"\"}\n"] + (hasTokenizer ? [] : ["{\"text\": \" \\n\"}\n"]) {
            try write(text, "text.jsonl")
            #expect { try settings.build(at: directory.file("out")) } throws: {
                "\($0)".contains("text.jsonl: no text in it to train on")
            }
        }
        let left = try FileManager.default.contentsOfDirectory(atPath: directory.path)
        #expect(left.sorted() == ["pictures", "text.jsonl"])
    }

    /// Two folders with five different pictures in eight files, three captions each, in an order that mixes them.
    func makeFolders() throws {
        for folder in ["one", "two"] {
            try FileManager.default.createDirectory(
                atPath: directory.file(folder), withIntermediateDirectories: true)
            for number in 0..<4 {
                let colour = UInt8(folder == "one" ? number : number + 1) * 50
                let picture = Picture(width: 12, height: 12, filled: SIMD3(colour, 0, 99))
                let bytes = try PNG.encode(
                    rgb: picture.rgb, width: 12, height: 12, text: [("made in", "\(folder) \(number)")])
                try Files.write(bytes, to: directory.file("\(folder)/\(number).png"))
            }
            let lines = (0..<12).map {
                "{\"file_name\": \"\($0 % 2 == 0 ? "./" : "")\($0 % 4).png\", \"text\": \"caption \($0 / 4) in \(folder)\"}\n"
            }
            try write(lines.joined(), folder + "/metadata.jsonl")
        }
    }

    @Test func aPictureIsStoredOnceAndAllItsCaptionsLieInOneSplit() throws {
        try makeFolders()
        var settings = settings
        settings.folders = [directory.file("one") + "/", directory.file("two")]
        settings.validationEvery = 3
        let report = try settings.build(at: directory.file("out"))
        #expect(report.images == 5)
        let dataset = try PackedDataset(directory.file("out"))
        #expect(dataset.manifest.images == 5 && dataset.manifest.pairs == 24)
        var images: [String: Set<Int>] = [:]
        for split in ["train", "validation"] {
            images[split] = try Set(dataset.split(split).pairRange.map { try dataset.pair($0).image })
        }
        // The third of five. Two files show it, with three captions each.
        #expect(images == ["train": [0, 1, 3, 4], "validation": [2]])
        #expect(report.pairs == ["train": 18, "validation": 6])
        for index in 0..<5 {
            #expect(try dataset.picture(index) == Picture(width: 8, height: 8, filled: SIMD3(UInt8(index) * 50, 0, 99)))
        }
        // Each pair says which file it is, of which folder.
        let keys = try dataset.keys()
        #expect(Set(keys) == Set((0..<4).flatMap { ["one/\($0).png", "two/\($0).png"] }))
        for index in 0..<24 {
            let pair = try dataset.pair(index)
            let parts = keys[index].split(separator: "/")
            #expect(try dataset.captionText(pair).hasSuffix(" in \(parts[0])"))
            #expect(parts[1] == "\(pair.image - (parts[0] == "one" ? 0 : 1)).png")
        }
        #expect(PackedDataset.verify(directory.file("out")).isEmpty)
    }

    @Test func foldersOfOneNameAreToldApartByTheirPaths() throws {
        try makeFolders()
        try FileManager.default.createDirectory(atPath: directory.file("x"), withIntermediateDirectories: true)
        try FileManager.default.moveItem(atPath: directory.file("two"), toPath: directory.file("x/one"))
        var settings = settings
        settings.folders = [directory.file("one"), directory.file("x/one")]
        _ = try settings.build(at: directory.file("out"))
        let keys = try Set(PackedDataset(directory.file("out")).keys())
        #expect(keys.count == 8 && keys.contains(directory.file("one/0.png")))
        #expect(keys.contains(directory.file("x/one/0.png")))
        settings.folders = [directory.file("one"), directory.file("one/")]
        #expect { try settings.build(at: directory.file("again")) } throws: {
            ($0 as? DataError)?.isWrongUse == true && "\($0)".contains("is given twice")
        }
    }

    @Test func ofEqualKeysTheLastCountsAndAByteOrderMarkIsNoText() throws {
        try write(
            "\u{FEFF}{\"file_name\": \"no.png\", \"text\": \"x\", \"text\": \"red\", \"file_name\": \"a.png\"}\r\n",
            "pictures/metadata.jsonl")
        try write("\u{FEFF}{\"text\": \"first\", \"text\": \"last\"}\n{\"text\": \"\u{FEFF}kept\"}\n", "text.jsonl")
        var settings = settings
        settings.tokenizerPath = Fixtures.path("tokenizer/small.model")
        _ = try settings.build(at: directory.file("out"))
        let dataset = try PackedDataset(directory.file("out"))
        #expect(try dataset.captionText(dataset.pair(0)) == "red")
        #expect(try dataset.tokenizer.decode(dataset.document(0)) == "last")
        #expect(try dataset.tokenizer.decode(dataset.document(1)) == "\u{FEFF}kept")
        try write("\u{FEFF}a\n", "plain.txt")
        #expect(try Files.readText(directory.file("plain.txt")) == "a\n")
    }

    @Test func picturesWithoutACaptionAreCountedInAllFolders() throws {
        try FileManager.default.createDirectory(
            atPath: directory.file("pictures/sub/deep"), withIntermediateDirectories: true)
        for name in ["sub/b2.PNG", "sub/deep/c.png", "sub/deep/d.txt"] { try write("", "pictures/" + name) }
        // A link back is not followed.
        try FileManager.default.createSymbolicLink(
            atPath: directory.file("pictures/sub/loop"), withDestinationPath: directory.file("pictures"))
        #expect(try settings.build(at: directory.file("out")).picturesWithoutCaption == 4)
    }

    /// A header that promises too many pixels, a file that is cut off, another format, damaged pixels, and others.
    func makeBadPictures() throws {
        let whole = try PNG.encode(rgb: PictureTests.pattern(40, 40).rgb, width: 40, height: 40)
        var huge = whole
        huge[16] = 0x10
        huge.replaceSubrange(29..<33, with: PictureTests.bigEndian(Int(PNG.checksum(Array(huge[12..<29])))))
        var damaged = whole
        damaged[damaged.count - 40] ^= 0xFF
        let files: [(String, [UInt8])] = [
            ("huge.png", huge), ("cut.png", Array(whole.prefix(whole.count / 2))), ("empty.png", []),
            ("damaged.png", damaged), ("good.png", whole),
        ]
        for (name, bytes) in files { try Files.write(bytes, to: directory.file("pictures/" + name)) }
        var lines = (files.map(\.0) + ["c.jpg", "none.png", "../a.png", "huge.png"]).map {
            "{\"file_name\": \"\($0)\", \"text\": \"a caption\"}"
        }
        lines += ["{\"file_name\": \"a.png\"}", "owl"]
        try write(lines.joined(separator: "\n"), "pictures/metadata.jsonl")
        try write("{\"text\": \"good\"}\n{\"text\": null}\n", "text.jsonl")
    }

    @Test func allThatIsBadIsNamedAtOnce() throws {
        try makeBadPictures()
        let error = #expect(throws: BadInputError.self) { try settings.build(at: directory.file("out")) }
        let lines = try #require(error?.lines)
        for problem in [
            "huge.png: has 268435496 × 40 pixels, more than", "cut.png: cannot be read: the file is cut off",
            "empty.png: is no PNG", "c.jpg: is no PNG", "metadata.jsonl:7: there is no file none.png",
            "metadata.jsonl:8: ../a.png leaves the folder", "metadata.jsonl:10: \"text\" is missing",
            "metadata.jsonl:11: is not a JSON object", "text.jsonl:2: \"text\" is null",
        ] {
            #expect(lines.count { $0.contains(problem) } == 1, "\(problem)")
        }
        #expect(lines.count == 10 && lines[9].hasPrefix("9 pictures or lines cannot be used; "))
        #expect(lines[9].hasSuffix("--skip-bad 9"))
        #expect(
            try FileManager.default.contentsOfDirectory(atPath: directory.path).sorted() == ["pictures", "text.jsonl"])
    }

    @Test func soMuchAsIsAllowedIsLeftOutAndNamed() throws {
        try makeBadPictures()
        var settings = settings
        settings.tokenizerPath = Fixtures.path("tokenizer/small.model")
        // The tenth shows only when its pixels are read.
        settings.skipBad = 9
        let error = #expect(throws: BadInputError.self) { try settings.build(at: directory.file("out")) }
        #expect(error?.lines.count == 11 && error?.lines[9].contains("damaged.png: cannot be read: ") == true)
        settings.skipBad = 10
        let report = try settings.build(at: directory.file("out"))
        #expect(report.skipped.count == 10 && report.pairs == ["train": 1])
        #expect(report.documents == ["train": 1])
        #expect(try PackedDataset(directory.file("out")).keys() == ["good.png"])
    }

    @Test func aLongListOfProblemsEndsWithTheirNumber() throws {
        let lines = (0..<80).map { "{\"file_name\": \"\($0).png\", \"text\": \"x\"}" }
        try write(lines.joined(separator: "\n"), "pictures/metadata.jsonl")
        let error = #expect(throws: BadInputError.self) { try settings.build(at: directory.file("out")) }
        #expect(error?.lines.count == 52 && error?.lines[50] == "… and 30 more")
    }

    @Test func settingsThatCannotWorkAreWrongUse() throws {
        func refusal(_ change: (inout DatasetImport) -> Void) -> DataError? {
            var settings = settings
            change(&settings)
            return #expect(throws: DataError.self) { try settings.build(at: directory.file("out")) }
        }
        for (refusal, option) in [
            (refusal { $0.size = 0 }, "--size"), (refusal { $0.validationEvery = -1 }, "--validation-every"),
            (refusal { $0.validationEvery = 1 }, "--validation-every"), (refusal { $0.skipBad = -1 }, "--skip-bad"),
            (refusal { $0.pieces = 7 }, "--pieces"),
        ] {
            #expect(refusal?.isWrongUse == true && refusal?.description.contains(option) == true)
        }
        #expect(refusal { $0.texts = ["/nowhere.jsonl"] }?.isWrongUse == false)
    }

    @Test func missingSourcesAreNamed() throws {
        var settings = settings
        settings.folders = [directory.path]
        #expect { try settings.build(at: directory.file("out")) } throws: {
            "\($0)".contains("has no metadata.jsonl, no metadata.csv and no picture with a .txt")
        }
        settings.folders = []
        settings.texts = ["/nowhere.jsonl"]
        #expect { try settings.build(at: directory.file("out")) } throws: { "\($0)".hasPrefix("/nowhere.jsonl: ") }
        settings.texts = []
        #expect { try settings.build(at: directory.file("out")) } throws: { "\($0)".contains("--folder") }
    }
}
